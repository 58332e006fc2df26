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
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from turnscribe.files import disk_is_full
from turnscribe.live.ear import PipelineEar
from turnscribe.live.events import LiveEvent
from turnscribe.live.intake import Intake
from turnscribe.live.session import LiveSession
from turnscribe.live.spool import Spool, recovered
from turnscribe.serving.jobs.runner import JobRunner
from turnscribe.serving.jobs.store import JobStore
from turnscribe.serving.problems import Busy, DiskFull, InternalError, Malformed, NotFound, Problem, reason
from turnscribe.serving.realtime import protocol
from turnscribe.serving.realtime.options import SessionFields, audio_format, changed, live_options, parameters
from turnscribe.serving.service import Service
from turnscribe.speech.detector import SpeechDetector, load_speech_detector
from turnscribe.speech.streaming import StreamingDetector

log = logging.getLogger("turnscribe.server")

RESUMABLE_S = 60.0  # after a connection broke
KEPT_EVENTS = 5000  # for a client that comes back
REMEMBERED = 1000  # sessions that are over
LARGE = 2**18  # bytes of audio that are not taken in the loop's thread
AUDIO, PARAMETERS = ".live", ".live.json"  # files of a session that is not over


class Session:
    """One client's, over one or more connections. All but the work is done in the loop's thread."""

    def __init__(self, sessions: Sessions, similarity: float | None) -> None:
        self.id = f"sess_{secrets.token_urlsafe(18)}"
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
            live_options(self.fields, sessions.service.parse, similarity),
            self._tell,
            spool=Spool(sessions.folder / f"{self.id}{AUDIO}"),
        )
        self._sessions, self._similarity = sessions, similarity
        self._loop = asyncio.get_running_loop()
        self._intake = Intake(audio_format(self.fields))
        self._received = 0  # bytes of audio
        self._due = asyncio.Event()
        self._ended = False
        self._worker = asyncio.create_task(self._work())

    # What a client asks for ---------------------------------------------------------------------------

    def update(self, changes: object) -> None:
        """Raises `Problem` or `RequestError`; nothing is changed then."""
        fields, warnings = changed(self.fields, changes)
        options = live_options(fields, self._sessions.service.parse, self._similarity)
        format = audio_format(fields)
        if format != self._intake.format:
            if self._received:
                raise Malformed("The format cannot change once there is audio: start another session.")
            self._intake = Intake(format)
        self.fields = fields
        self._sessions.note(self)
        self.live.change(options)
        self.add(self.described("session.updated", warnings=warnings))
        self._due.set()

    async def append(self, data: bytes) -> None:
        """Raises `Problem` where the session is as long as it may be, or the audio cannot be kept."""
        if self._ended:
            return
        if self._intake.format.seconds(self._received + len(data)) > self._sessions.longest_s:
            raise Malformed(f"The session has {self._sessions.longest_s:g} s of audio, which is all it may have.")
        if len(data) > LARGE:
            await asyncio.to_thread(self._keep, data)
        else:
            self._keep(data)
        self._received += len(data)
        self._due.set()

    def commit(self, cause: str | None) -> None:
        self.live.commit(cause)
        self._due.set()

    def clear(self) -> None:
        self.live.clear()
        self._due.set()

    def end(self) -> None:
        """No more comes: it is over once all is heard."""
        if not self._ended:
            self._ended = True
            try:
                self._keep(None)
            except Problem as problem:
                self.add(protocol.error(problem))
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
        received = round(self._intake.format.seconds(self._received) * 1000)
        return protocol.session(kind, self.id, self.fields, expires_at=self.expires_at, received_ms=received, **own)

    def add(self, event: dict[str, Any]) -> None:
        """An event for the client, now or when it comes back."""
        self.events.append({"event_id": protocol.new_event_id(), **event})
        self.told += 1
        self.changed.set()

    # What is done -------------------------------------------------------------------------------------

    def _keep(self, data: bytes | None) -> None:
        """`None` is the end."""
        try:
            self.live.append(self._intake.end() if data is None else self._intake.take(data))
        except OSError as error:
            if disk_is_full(error):
                raise DiskFull("The server's disk is full: try again later, or tell its operator.") from error
            raise

    def _tell(self, event: LiveEvent) -> None:
        """Called in the worker's thread."""
        for told in protocol.told(event):
            self._loop.call_soon_threadsafe(self.add, told)

    async def _work(self) -> None:
        try:
            while not self.live.over:
                await self._due.wait()
                self._due.clear()
                while not self.live.over and await self._sessions.run(self.live.work):
                    pass
        except Exception as error:
            log.error("a live session failed: %s", reason(error))
            self.add(protocol.error(InternalError("The session failed; what it told stays true.")))
        finally:
            self._ended = True
            await self._sessions.keep(self)
            self.over = True
            self.changed.set()


class Sessions:
    """All of a server, at most `most` at a time. Their audio is in the folder of the jobs."""

    def __init__(self, service: Service, store: JobStore, runner: JobRunner) -> None:
        settings = service.settings
        self.service, self.longest_s, self._most = service, settings.max_live_seconds, settings.max_live_sessions
        self.folder, self._store, self._runner = store.folder, store, runner
        self._threads = ThreadPoolExecutor(self._most, thread_name_prefix="live")
        self._sessions: dict[str, Session] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ended: dict[str, str | None] = {}  # the jobs of sessions that are over
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

    async def begin(self) -> Session:
        """Raises `Busy`."""
        self.service.check_ready()
        if self._ending:
            raise Busy("The server is ending: try again soon.", retry_after_s=5)
        if len(self._sessions) >= self._most:
            raise Busy(f"There are {self._most} live sessions, which is all there may be.", retry_after_s=30)
        session = Session(self, self.service.pipeline.voice_similarity)
        self._sessions[session.id] = session
        return session

    def find(self, id: str) -> Session | None:
        """One that is not over, for whoever comes back to it."""
        session = self._sessions.get(id)
        if session is not None:
            self._stop_timer(id)
        return session

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
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def note(self, session: Session) -> None:
        """What its job is to be told, on disk: this process may end at any time."""
        given = json.dumps(_given(session.fields) if session.fields.turnscribe.keep else None)
        (self.folder / f"{session.id}{PARAMETERS}").write_text(given)

    async def keep(self, session: Session) -> None:
        """A session that is over, as a job; its client is told."""
        job = None
        spool = session.live.spool
        if session.fields.turnscribe.keep and spool.samples:
            job = await asyncio.to_thread(self._job, spool.wav(), _given(session.fields))
        spool.close()
        (self.folder / f"{session.id}{PARAMETERS}").unlink(missing_ok=True)
        self._sessions.pop(session.id, None)
        self._stop_timer(session.id)
        self._ended[session.id] = job
        if len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]
        session.add(protocol.closed(job))

    async def end(self, seconds: float) -> None:
        """The server ends: all sessions are, are told so, and are kept; what is not heard in time is in the job."""
        self._ending = True
        sessions = list(self._sessions.values())
        for session in sessions:
            session.end()
        if sessions:
            waiting = [asyncio.create_task(session.wait()) for session in sessions]
            await asyncio.wait(waiting, timeout=seconds)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*(session.give_up() for session in sessions if not session.over))
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _recover(self) -> None:
        """What a server that did not end in order has left behind, as jobs."""
        for path in self.folder.glob(f"*{AUDIO}"):
            noted = path.with_suffix(PARAMETERS)
            try:
                given = json.loads(noted.read_text()) if noted.exists() else {}
                file = None if given is None else recovered(path)
                if file is not None:
                    with file:
                        self._job(file, given)
                path.unlink()
                noted.unlink(missing_ok=True)
            except (OSError, ValueError) as error:
                log.error("a live session's audio could not be kept, it stays in %s: %s", path.name, reason(error))

    def _job(self, file: IO[bytes], given: dict[str, Any]) -> str:
        name = time.strftime("live %Y-%m-%d %H.%M.%S.wav", time.gmtime())
        job = self._store.add(file, name=name, url=None, parameters=given, webhook=None)
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
