"""What all routes share: the handler once it is loaded and warm, the workers, the metrics.

Turns a request into work for the models and ends that work when nobody waits for it any more. Knows no route.
"""

from __future__ import annotations

import asyncio
import io
import logging
import threading
import wave
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from starlette.requests import Request

from turnscribe.asr.protocol import OnChunks
from turnscribe.errors import BadAudio, Cancelled, TurnscribeError
from turnscribe.inputs.limits import Limits
from turnscribe.inputs.read import read_input
from turnscribe.serving.bodies import Body
from turnscribe.serving.metrics import Metrics
from turnscribe.serving.problems import Busy, ClientGone, Problem, TookTooLong, problem_of
from turnscribe.serving.workers import Full, Ticket, Workers
from turnscribe.stages import Progress, ShouldStop
from turnscribe.transcript import Transcript

log = logging.getLogger("turnscribe.server")

Result = TypeVar("Result")


class Handler(Protocol):
    """`handler.EndpointHandler`, as far as it is used here."""

    settings: Any
    asr: Any
    diarizer: Any

    @property
    def limits(self) -> Limits: ...

    def transcribe(
        self,
        audio: bytes,
        config: Any,
        *,
        on_progress: Progress | None = None,
        on_chunks: OnChunks | None = None,
        should_stop: ShouldStop | None = None,
        known_speakers: Mapping[str, bytes] | None = None,
    ) -> Transcript: ...


class Service:
    """`load()` makes the handler, `parse` is `config.parse_config`, `settings` a `config.ServerSettings`."""

    def __init__(self, load: Callable[[], Handler], parse: Callable[[Mapping[str, Any]], Any], settings: Any) -> None:
        self._load, self.parse, self.settings = load, parse, settings
        self.handler: Handler | None = None  # once it is warm
        self._closing = False
        self.metrics = Metrics()
        self.workers = Workers(running=settings.max_concurrent_requests, waiting=settings.max_queued_requests)
        self.metrics.gauge("requests_running", "Requests on the models.", lambda: self.workers.running)
        self.metrics.gauge("requests_waiting", "Requests in the queue.", lambda: self.workers.waiting)

    def start(self, on_ready: Callable[[], None], on_failure: Callable[[], None]) -> None:
        """Load and warm up, in a thread."""

        def load() -> None:
            try:
                handler = self._load()
                handler.transcribe(_hum(), self.parse({}))  # what is compiled or allocated late, is now
            except Exception as error:
                known = isinstance(error, TurnscribeError)
                log.error("the models could not be loaded: %s", error, exc_info=not known)
                on_failure()
                return
            if not self._closing:
                self.handler = handler
                on_ready()
                log.info("ready")

        threading.Thread(target=load, name="load", daemon=True).start()

    def close(self) -> None:
        """Finish what was taken on; what is still loading is left to end with the process."""
        self._closing = True
        self.workers.close()

    @property
    def ready(self) -> Handler:
        """The handler. Raises `Busy` while it is loading."""
        if self.handler is None:
            raise Busy("The models are loading: try again soon.", retry_after_s=10)
        return self.handler

    def admit(self) -> Handler:
        """The handler, for a request whose body has not been read. Raises `Busy` where it could not be taken on."""
        if self.workers.is_full:
            raise self._busy(self.workers.retry_after_s)
        return self.ready

    async def run(self, request: Request, body: Body, work: Callable[[ShouldStop], Result]) -> Result:
        """`work` on `body` among the workers, until it is done, its time is over or the client has left."""
        ticket = self.submit(body, work)
        future = asyncio.wrap_future(ticket.future)
        gone = asyncio.create_task(disconnected(request))
        both: set[asyncio.Future[Any]] = {future, gone}
        try:
            await asyncio.wait(both, timeout=self.settings.request_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                return future.result()
            raise ClientGone("The client left.") if gone.done() else self.took_too_long()
        except Problem:
            raise
        except Exception as error:
            raise self.problem(error) from error
        finally:
            gone.cancel()
            ticket.stop()

    def submit(self, body: Body, work: Callable[[ShouldStop], Result]) -> Ticket[Result]:
        """Take `work` on, which has `body` from now on. Raises `Busy` where the queue is full."""
        try:
            ticket = self.workers.submit(work, seconds=self.settings.request_timeout_s)
        except Full as full:
            raise self._busy(full.retry_after_s) from None
        body.taken = True
        ticket.future.add_done_callback(lambda _: body.close())
        return ticket

    def problem(self, error: BaseException | None) -> Problem:
        """What ended a piece of work, as an answer; the log has what is our own fault."""
        if isinstance(error, Cancelled):
            return self.took_too_long()
        if not isinstance(error, Exception):
            return ClientGone("The client left.")
        if not isinstance(error, Problem | TurnscribeError):
            log.error("a request failed: %s", type(error).__name__)
        return problem_of(error)

    def transcribe(self, body: Body, config: Any, should_stop: ShouldStop, **more: Any) -> Transcript:
        """A body's recording, read and transcribed; in a worker's thread."""
        inputs = body.inputs()
        if inputs is None or (isinstance(inputs, bytes | str) and not inputs):
            raise BadAudio("inputs is missing: send the audio as base64 in inputs, as the body, or as a form's file.")
        # An upload is the file itself; what JSON holds is base64 or a URL.
        return self.transcribed(
            inputs if body.file else self.fetched(inputs), config, should_stop=should_stop, **more
        )

    def transcribed(self, audio: bytes, config: Any, **more: Any) -> Transcript:
        """A recording's transcript, counted."""
        transcript = self.ready.transcribe(audio, config, **more)
        self.metrics.transcribed(transcript)
        return transcript

    def fetched(self, inputs: object) -> bytes:
        """The bytes that base64, a `data:` URL or an https URL mean, as the operator allows."""
        handler = self.ready
        return read_input(inputs, limits=handler.limits, allow_urls=handler.settings.allow_url_inputs)

    def _busy(self, retry_after_s: int) -> Busy:
        said = "The queue is full: try again later, or send the recording to /v1/jobs."
        return Busy(said, retry_after_s=retry_after_s)

    def took_too_long(self) -> TookTooLong:
        return TookTooLong(
            f"The request took over {self.settings.request_timeout_s:g} s: send a shorter recording, or use /v1/jobs."
        )


async def disconnected(request: Request) -> None:
    """Returns when the client has left; the body has been read by now."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _hum() -> bytes:
    """A second of a quiet tone, as a wav file."""
    samples = (1000 * np.sin(np.arange(16_000) * (2 * np.pi * 220 / 16_000))).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()
