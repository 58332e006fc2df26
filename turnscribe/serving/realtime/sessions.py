"""Which sessions there are: each works in a thread while there is something to do, outlives a broken connection for a
while, and is kept as a job in the end.

Audio that has come is on disk, in the folder of the jobs, so it outlives the server too: what one that was killed
left behind, the next one keeps as jobs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from turnscribe.files import disk_is_full
from turnscribe.live.container import ContainerFormat
from turnscribe.live.ear import PipelineEar
from turnscribe.live.events import Failed, LiveEvent, Segment
from turnscribe.live.intake import intake_of
from turnscribe.live.session import LiveSession
from turnscribe.live.spool import Spool, recovered
from turnscribe.live.told import note, noted
from turnscribe.serving.caller import NOBODY, Caller
from turnscribe.serving.jobs.runner import JobRunner
from turnscribe.serving.jobs.store import JobStore
from turnscribe.serving.problems import (
    Busy,
    DiskFull,
    InternalError,
    Malformed,
    NotFound,
    Problem,
    problem_of,
    reason,
)
from turnscribe.serving.realtime import protocol
from turnscribe.serving.realtime.options import (
    SessionFields,
    audio_format,
    changed,
    further_known_speakers,
    live_options,
    parameters,
)
from turnscribe.serving.service import Service
from turnscribe.speech.detector import SpeechDetector, load_speech_detector
from turnscribe.speech.streaming import StreamingDetector
from turnscribe.transcript import Turn
from turnscribe.waveform import SAMPLE_RATE

log = logging.getLogger("turnscribe.server")

LAST_WORDS_S = 1.0  # for the last events of a session, when the server ends
RESUMABLE_S = 60.0  # after a connection broke
KEPT_EVENTS = 5000  # for a client that comes back
REMEMBERED = 1000  # sessions that are over
AT_ONCE = 2**16  # bytes of audio that are taken without a look at what else there is to do
MOST_ORDERS = 1000  # that wait
EXPIRES_AFTER_S = 60.0  # beside the audio that a session may have
BYTES_A_SECOND = 32_000  # of the recording that is kept
AUDIO, PARAMETERS, TOLD = ".live", ".live.json", ".live.told"  # files of a session that is not over


class Session:
    """One client's, over one or more connections. All but the work is done in the loop's thread."""

    def __init__(self, sessions: Sessions, similarity: float | None, caller: Caller) -> None:
        self.id = f"sess_{secrets.token_urlsafe(18)}"
        self.caller = caller  # whoever began it
        self.fields = SessionFields()
        self.expires_at = int(time.time() + sessions.longest_s)
        self.connections = 0  # that it has had; the last one is its
        self.events: deque[dict[str, Any]] = deque(maxlen=KEPT_EVENTS)
        self.told = 0  # events in all
        self.changed = asyncio.Event()  # there are events, another connection, or it is over
        self.over = False
        self.live = LiveSession(
            PipelineEar(sessions.service.pipeline),
            StreamingDetector(sessions.detector),
            live_options(self.fields, sessions.service.parse, similarity, {}),
            self._tell,
            spool=Spool(sessions.folder / f"{self.id}{AUDIO}"),
        )
        self._sessions, self._similarity = sessions, similarity
        self._usage = sessions.service.metrics.usage
        self._loop = asyncio.get_running_loop()
        self._intake = intake_of(audio_format(self.fields))
        self._keeping = threading.Lock()  # a container's bytes are decoded in another thread
        self._people: Mapping[str, NDArray[np.float32]] = {}  # known voices
        self._received = 0  # bytes of audio
        self._surplus = 0  # bytes that came and that a client which came back is not told of: it sends them again
        self._due = asyncio.Event()
        self._ended = False
        self._ending: asyncio.Task[None] | None = None  # a container's last samples are on their way
        self._expiry = self._loop.call_later(sessions.longest_s + EXPIRES_AFTER_S, self.end)
        self._worker = asyncio.create_task(self._work())

    @property
    def ended(self) -> bool:
        """No more comes."""
        return self._ended

    # What a client asks for ---------------------------------------------------------------------------

    async def update(self, changes: object) -> None:
        """Raises `Problem` or `RequestError`; nothing is changed then."""
        self._check_orders()
        fields, warnings = changed(self.fields, changes)
        service, people = self._sessions.service, self._people
        if (files := further_known_speakers(self.fields, fields)) is not None:
            people = await asyncio.to_thread(service.pipeline.known_voices, files)
            fields.turnscribe.known_speaker_references = None
        options = live_options(fields, service.parse, self._similarity, people)
        format = audio_format(fields)
        if format != self._intake.format and self._received:
            raise Malformed("The format cannot change once there is audio: start another session.")
        self._sessions.note(self.id, fields)
        if format != self._intake.format:
            self._intake = intake_of(format)
        self.fields, self._people = fields, people
        self.live.change(options)
        self.add(self.described("session.updated", warnings=warnings))
        self._due.set()

    async def append(self, data: bytes) -> None:
        """Raises `Problem` where the session is as long as it may be, or the audio cannot be kept."""
        known = min(self._surplus, len(data))
        self._surplus -= known
        data = data[known:]
        self._check_length(len(data))
        for start in range(0, len(data), AT_ONCE):
            if self._ended:
                return
            piece = data[start : start + AT_ONCE]
            if isinstance(self._intake.format, ContainerFormat):
                await asyncio.to_thread(self._keep, piece)
                self._check_length(0)  # it is known only now
            else:
                self._keep(piece)
            self._due.set()
            await asyncio.sleep(0)

    def commit(self, cause: str | None) -> None:
        """Raises `Malformed` where too much waits."""
        self._check_orders()
        self.live.commit(cause)
        self._due.set()

    def clear(self) -> None:
        """Raises `Malformed` where too much waits."""
        self._check_orders()
        self.live.clear()
        self._due.set()

    async def go_on(self) -> dict[str, Any]:
        """For a client that comes back: `session.resumed`, with the whole milliseconds of its audio that have come.

        What came beyond is sent again, and is not taken twice. Of a container the bytes that have come are told.
        """
        format = self._intake.format
        if isinstance(format, ContainerFormat):
            await asyncio.to_thread(self._kept)
        else:
            self._surplus = self._received - self._received_ms * format.sample_rate * format.sample_bytes // 1000
        return self.described("session.resumed")

    def end(self) -> None:
        """No more comes: it is over once all is heard."""
        if not self._ended:
            self._ended = True
            self._expiry.cancel()
            if isinstance(self._intake.format, ContainerFormat):
                self._ending = self._loop.create_task(self._end_container())
                return
            try:
                self._keep(None)
            except (Problem, OSError) as error:
                self.add(protocol.error(problem_of(error)))
            self.live.end()
            self._due.set()

    async def wait(self) -> None:
        """Until it is over."""
        await asyncio.shield(self._worker)

    async def give_up(self) -> None:
        """It is over, whatever is not heard yet: it is kept."""
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)

    def described(self, kind: str, **own: Any) -> dict[str, Any]:
        """The whole session, as `session.created` and others tell it."""
        own["received_ms"] = self._received_ms
        if isinstance(self._intake.format, ContainerFormat):
            own["received_bytes"] = self._received
        return protocol.session(kind, self.id, self.fields, expires_at=self.expires_at, **own)

    def add(self, event: dict[str, Any]) -> None:
        """An event for the client, now or when it comes back."""
        self.events.append({"event_id": protocol.new_event_id(self.told), **event})
        self.told += 1
        self.changed.set()

    # What is done -------------------------------------------------------------------------------------

    @property
    def _received_ms(self) -> int:
        """Whole milliseconds of audio that have come."""
        return int(self._seconds() * 1000)

    def _seconds(self, further: int = 0) -> float:
        """Of audio that has come, and what so many bytes more would be, where that is known."""
        format = self._intake.format
        if isinstance(format, ContainerFormat):
            return self.live.spool.samples / SAMPLE_RATE
        return format.seconds(self._received + further)

    def _check_length(self, further: int) -> None:
        if not self._ended and self._seconds(further) > self._sessions.longest_s:
            self.end()
            raise Malformed(f"The session has {self._sessions.longest_s:g} s of audio, which is all it may have.")

    def _check_orders(self) -> None:
        if self.live.waiting >= MOST_ORDERS:
            raise Malformed(f"{MOST_ORDERS} events wait for their turn: send more when some are answered.")

    def _keep(self, data: bytes | None) -> None:
        """`None` is the end."""
        with self._keeping:
            before = self.live.spool.samples
            try:
                self.live.append(self._intake.end() if data is None else self._intake.take(data))
            except OSError as error:
                if disk_is_full(error):
                    raise DiskFull("The server's disk is full: try again later, or tell its operator.") from error
                raise
            self._received += len(data or b"")
            seconds = (self.live.spool.samples - before) / SAMPLE_RATE
            self._usage.count_audio(self.caller.key, "live", seconds)

    async def _end_container(self) -> None:
        try:
            await asyncio.to_thread(self._keep, None)  # it may still be at what came before
        except ValueError:
            return  # it was given up meanwhile
        except (Problem, OSError) as error:
            self.add(protocol.error(problem_of(error)))
        self.live.end()
        self._due.set()

    def _kept(self) -> None:
        """Wait until nothing is being kept: a connection that broke may have left something."""
        with self._keeping:
            pass

    def _tell(self, event: LiveEvent) -> None:
        """Called in the worker's thread."""
        if isinstance(event, Failed):
            self._usage.count_error(self.caller.key, "live")
        if isinstance(event, Segment) and event.speaker is not None:
            self._sessions.note_told(self.id, event)
        for told in protocol.told(event):
            self._loop.call_soon_threadsafe(self.add, told)

    async def _know_voices(self) -> None:
        """Those of the operator's folder."""
        service = self._sessions.service
        if self._similarity is None or service.pipeline.settings.voices_folder is None:
            return
        self._people = {**await asyncio.to_thread(service.pipeline.known_voices, {}), **self._people}
        self.live.change(live_options(self.fields, service.parse, self._similarity, self._people))

    async def _work(self) -> None:
        try:
            await self._know_voices()
            while not self.live.over:
                await self._due.wait()
                self._due.clear()
                while not self.live.over and await self._sessions.run(self.live.work):
                    pass
        except Exception as error:
            log.error("a live session failed: %s", reason(error))
            self._usage.count_error(self.caller.key, "live")
            self.add(protocol.error(InternalError("The session failed; what it told stays true.")))
        finally:
            self._ended = True
            self._expiry.cancel()
            self._intake.close()
            await self._sessions.keep(self)


class Sessions:
    """All of a server, at most `most` at a time. Their audio is in the folder of the jobs."""

    def __init__(self, service: Service, store: JobStore, runner: JobRunner) -> None:
        settings, limits = service.settings, service.loader.settings.limits
        # the job of a longer one would be refused
        self.longest_s = min(settings.max_live_seconds, limits.max_seconds, limits.max_bytes / BYTES_A_SECOND - 1)
        self.service, self._most = service, settings.max_live_sessions
        self.folder, self._store, self._runner = store.folder, store, runner
        self._threads = ThreadPoolExecutor(self._most, thread_name_prefix="live")
        self._sessions: dict[str, Session] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ended: dict[str, str | None] = {}  # the jobs of sessions that are over
        self._recent: dict[str, Session] = {}  # that are over, and whose last events may not have been read
        self._connections: set[asyncio.Task[None]] = set()
        self._working: set[asyncio.Future[bool]] = set()
        self._detector: SpeechDetector | None = None
        self._ending = False
        service.metrics.gauge("live_sessions", "Live sessions.", lambda: len(self._sessions))
        service.metrics.gauge(
            "live_seconds_behind",
            "Seconds of audio that the live session furthest behind has not listened to.",
            lambda: max((session.live.seconds_behind for session in tuple(self._sessions.values())), default=0.0),
        )
        self._recover()

    @property
    def detector(self) -> SpeechDetector:
        if self._detector is None:
            self._detector = load_speech_detector()
        return self._detector

    async def begin(self, caller: Caller = NOBODY) -> Session:
        """Raises `Busy`."""
        self.service.check_ready()
        if self._detector is None:
            await asyncio.to_thread(lambda: self.detector)
        if self._ending:
            raise Busy("The server is ending: try again soon.", retry_after_s=5)
        if len(self._sessions) >= self._most:
            raise Busy(f"There are {self._most} live sessions, which is all there may be.", retry_after_s=30)
        if self._store.count("queued") >= self.service.settings.max_queued_jobs:
            raise Busy("Too many jobs are waiting, and a session becomes one: try again later.", retry_after_s=60)
        session = Session(self, self.service.pipeline.voice_similarity, caller)
        self._sessions[session.id] = session
        return session

    def find(self, id: str) -> Session | None:
        """One that is not over, or was a moment ago, for whoever comes back to it."""
        session = self._sessions.get(id)
        if session is not None:
            self._stop_timer(id)
        return session or self._recent.get(id)

    def connected(self, task: asyncio.Task[None]) -> None:
        """A connection, for which the end of the server waits."""
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    def job_of(self, id: str) -> str | None:
        """Of a session that is over. Raises `NotFound` where there was none, or long ago."""
        if id not in self._ended:
            raise NotFound("There is no such session: it never was, or is long over. Start another one.")
        return self._ended[id]

    def left(self, session: Session) -> None:
        """Its connection broke: it is ended unless the client comes back."""
        self._stop_timer(session.id)
        if not session.over:
            loop = asyncio.get_running_loop()
            self._timers[session.id] = loop.call_later(RESUMABLE_S, session.end)

    async def run(self, work: Callable[[], bool]) -> bool:
        working = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._working.add(working)
        working.add_done_callback(self._working.discard)
        return await working

    def note(self, id: str, fields: SessionFields) -> None:
        """What its job is to be told, on disk: this process may end at any time."""
        given = json.dumps(_given(fields) if fields.turnscribe.keep else None)
        (self.folder / f"{id}{PARAMETERS}").write_text(given)

    def note_told(self, id: str, segment: Segment) -> None:
        """Who spoke, on disk as well; a disk that is full costs the names of a job after a kill, and no more."""
        try:
            note(self.folder / f"{id}{TOLD}", segment)
        except OSError as error:
            log.error("who speaks in a live session could not be noted: %s", reason(error))

    async def keep(self, session: Session) -> None:
        """A session that is over, as a job; its client is told. What cannot be kept now, the next server keeps."""
        job, failed = None, False
        spool = session.live.spool
        try:
            if session.fields.turnscribe.keep and spool.samples:
                job = await asyncio.to_thread(self._job_of, session)
        except Exception as error:
            failed = True
            log.error("a live session's audio could not be kept, it stays in %s: %s", spool.path.name, reason(error))
            session.add(protocol.error(problem_of(error)))
        spool.close(keep=failed)
        if not failed:
            for suffix in (PARAMETERS, TOLD):
                (self.folder / f"{session.id}{suffix}").unlink(missing_ok=True)
        self._sessions.pop(session.id, None)
        self._stop_timer(session.id)
        self._recent[session.id] = session
        asyncio.get_running_loop().call_later(RESUMABLE_S, self._recent.pop, session.id, None)
        self._ended[session.id] = job
        if len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]
        session.over = True
        session.add(protocol.closed(job))

    async def end(self, seconds: float) -> bool:
        """The server ends: all sessions are, are told so, and are kept; what is not heard in time is in the job.

        Whether the models have let go of all of them.
        """
        self._ending = True
        until = time.monotonic() + seconds
        sessions = list(self._sessions.values())
        for session in sessions:
            session.end()
        if sessions:
            waiting = [asyncio.create_task(session.wait()) for session in sessions]
            await asyncio.wait(waiting, timeout=seconds)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*(session.give_up() for session in sessions if not session.over))
        if self._connections:  # their last events are on the way
            await asyncio.wait(self._connections, timeout=max(until - time.monotonic(), LAST_WORDS_S))
        self._threads.shutdown(wait=False, cancel_futures=True)
        return not self._working

    def _recover(self) -> None:
        """What a server that did not end in order has left behind, as jobs."""
        for path in self.folder.glob(f"*{AUDIO}"):
            parameters, told = path.with_suffix(PARAMETERS), path.with_suffix(TOLD)
            try:
                given = json.loads(parameters.read_text()) if parameters.exists() else {}
                file = None if given is None else recovered(path)
                if file is not None:
                    with file:
                        self._job(file, given, noted(told))
                for left in (path, parameters, told):
                    left.unlink(missing_ok=True)
            except Exception as error:  # a full disk, a locked database
                log.error("a live session's audio could not be kept, it stays in %s: %s", path.name, reason(error))

    def _job_of(self, session: Session) -> str:
        with session.live.spool.wav() as file:
            return self._job(file, _given(session.fields), session.live.told, session.caller)

    def _job(self, file: IO[bytes], given: dict[str, Any], told: Sequence[Turn] = (), caller: Caller = NOBODY) -> str:
        name = time.strftime("live %Y-%m-%d %H.%M.%S.wav", time.gmtime())
        job = self._store.add(file, name=name, url=None, parameters=given, webhook=None, told=told, caller=caller)
        self._runner.wake()
        return job.id

    def _stop_timer(self, id: str) -> None:
        if (timer := self._timers.pop(id, None)) is not None:
            timer.cancel()


def _given(fields: SessionFields) -> dict[str, Any]:
    """The parameters of its job."""
    own = fields.turnscribe
    given = {"max_speakers": own.max_speakers} if own.speakers and own.max_speakers else {}
    return {**parameters(fields), **given, **({} if own.speakers else {"diarize": False}), "timestamps": "word"}
