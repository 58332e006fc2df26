"""What all routes share: the pipeline, the workers, the metrics, the traces.

Hands requests to the models and ends them when nobody waits for them any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from starlette.requests import Request as HttpRequest

from turnscribe.errors import BadAudio, Cancelled, TurnscribeError
from turnscribe.inputs.read import read_input, read_text
from turnscribe.listener import SILENT, Listener, ShouldStop
from turnscribe.pipeline import Transcriber
from turnscribe.request import Request
from turnscribe.serving.bodies import Body, contents
from turnscribe.serving.caller import NOBODY, Caller, caller_of
from turnscribe.serving.json_body import LongText
from turnscribe.serving.loading import PipelineLoader
from turnscribe.serving.metrics import Metrics
from turnscribe.serving.problems import Busy, ClientGone, DeadlineExceeded, Problem, problem_of, reason
from turnscribe.serving.tracing.spans import NO_TRACING, Tracing, stage_spans
from turnscribe.serving.usage import Kind
from turnscribe.serving.workers import QueueFull, Submission, Work, Workers
from turnscribe.settings import ServerSettings
from turnscribe.transcript import Transcript

log = logging.getLogger("turnscribe.server")

Result = TypeVar("Result")
ParseParameters: TypeAlias = Callable[[object], Request]  # raises `BadParameters`


class Service:
    """The pipeline of `loader` for the requests that `parse` understands."""

    def __init__(
        self,
        loader: PipelineLoader,
        settings: ServerSettings,
        parse: ParseParameters,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.loader, self.settings, self.parse, self.tracing = loader, settings, parse, tracing
        self.metrics = Metrics(settings.keys)
        self._uploads = {True: 0, False: 0}  # requests whose bodies are coming in: for the queue, and jobs
        self.workers = Workers(running=settings.max_concurrent_requests, waiting=settings.max_queued_requests)
        self.metrics.gauge("requests_running", "Requests on the models.", lambda: self.workers.running)
        self.metrics.gauge("requests_waiting", "Requests in the queue.", lambda: self.workers.waiting)
        self.metrics.gauge("uploads", "Requests whose bodies are coming in.", lambda: sum(self._uploads.values()))
        self.metrics.devices(lambda: loader.device_states)

    def close(self, seconds: float) -> bool:
        """Finish what was taken on, within so many seconds; whether that was so."""
        self.loader.close()
        return self.workers.close(seconds)

    @property
    def is_ready(self) -> bool:
        return self.loader.is_ready

    @property
    def pipeline(self) -> Transcriber:
        """Raises `Busy` while it is loading."""
        return self.loader.pipeline

    def check_ready(self) -> None:
        """Before a body is read. Raises `Busy` while the models are loading."""
        _ = self.pipeline

    @contextmanager
    def room_for_body(self, *, in_queue: bool = True) -> Iterator[None]:
        """While a body is read. Raises `Busy` where its request could not be taken on, or too many come in at once.

        `in_queue` says that the request gets a place in the queue, which is free for it then.
        """
        self.check_ready()
        if not in_queue and self._uploads[False] >= self.workers.room:
            raise Busy("Too many jobs are being uploaded: try again later.", retry_after_s=10)
        if in_queue and self._uploads[True] + self.workers.taken >= self.workers.room:
            raise _queue_full(self.workers.retry_after_s)
        self._uploads[in_queue] += 1
        try:
            yield
        finally:
            self._uploads[in_queue] -= 1

    async def answer(
        self, http_request: HttpRequest, body: Body, request: Request, render: Callable[[Transcript], Result]
    ) -> Result:
        """What `render` makes of the transcript, unless the time is over or the client leaves before."""

        caller = caller_of(http_request.scope)

        def transcribe_and_render(should_stop: ShouldStop) -> Result:
            return render(self._transcribe_body(body, request, Listener(should_stop=should_stop), caller))

        submission = self._submit(body, transcribe_and_render, caller)
        result = asyncio.wrap_future(submission.future)
        gone = asyncio.create_task(disconnected(http_request))
        both: set[asyncio.Future[Any]] = {result, gone}
        try:
            await asyncio.wait(both, timeout=self.settings.request_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not result.done() and not gone.done():
                raise self.deadline_exceeded()
            return result_of(submission)
        finally:
            gone.cancel()
            submission.stop()

    def submit(
        self, body: Body, request: Request, listener: Listener = SILENT, caller: Caller = NOBODY
    ) -> Submission[Transcript | Problem]:
        """Take a request on, which has `body` from now on. Raises `Busy` where the queue is full."""

        def transcribe(should_stop: ShouldStop) -> Transcript:
            return self._transcribe_body(body, request, replace(listener, should_stop=should_stop), caller)

        return self._submit(body, transcribe, caller)

    def problem_of(self, error: BaseException) -> Problem:
        """What ended a request, as an answer; the log has what is our own fault."""
        if isinstance(error, Cancelled):
            return self.deadline_exceeded()
        if not isinstance(error, Exception):
            return ClientGone("The client left.")
        if not isinstance(error, Problem | TurnscribeError):
            log.error("a request failed: %s", reason(error))
        return problem_of(error)

    def deadline_exceeded(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"The request took over {self.settings.request_timeout_s:g} s: send a shorter recording, or use /v1/jobs."
        )

    def transcribe(
        self,
        audio: bytes,
        request: Request,
        listener: Listener = SILENT,
        caller: Caller = NOBODY,
        kind: Kind = "request",
    ) -> Transcript:
        """A recording's transcript, counted, with a span for each stage; in the calling thread."""
        with stage_spans(self.tracing, caller.traceparent, listener) as listening:
            transcript = self.pipeline.transcribe(audio, request, listening)
        self.metrics.count_transcript(transcript)
        self.metrics.usage.count_audio(caller.key, kind, transcript.duration)
        return transcript

    def fetch(self, inputs: object) -> bytes:
        """The bytes that base64, a `data:` URL or an https URL mean, as the operator allows."""
        return self._read(read_input, inputs)

    def _read(self, read: Callable[..., bytes], inputs: object) -> bytes:
        pipeline = self.pipeline
        return read(inputs, limits=pipeline.limits, allow_urls=pipeline.settings.allow_url_inputs)

    def _submit(
        self, body: Body, call: Callable[[ShouldStop], Result], caller: Caller
    ) -> Submission[Result | Problem]:
        queued = self.tracing.begin("queue", caller.traceparent)

        def call_in_turn(should_stop: ShouldStop) -> Result:
            queued.end()
            return call(should_stop)

        def release() -> None:
            queued.end()
            body.close()

        work: Work[Result | Problem] = Work(call_in_turn, self.problem_of, release)
        try:
            submission = self.workers.submit(work, seconds=self.settings.request_timeout_s)
        except QueueFull as full:
            queued.end(failed=True)
            raise _queue_full(full.retry_after_s) from None
        body.hand_over()
        return submission

    def _transcribe_body(self, body: Body, request: Request, listener: Listener, caller: Caller) -> Transcript:
        return self.transcribe(self._recording_in(body), request, listener, caller)

    def _recording_in(self, body: Body) -> bytes:
        if body.file is not None:
            if audio := contents(body.file):
                return audio
        elif isinstance(body.inputs, LongText):
            return self._read(read_text, body.inputs.blocks())
        elif body.inputs is not None and body.inputs != "":
            return self.fetch(body.inputs)
        raise BadAudio("inputs is missing: send the audio as base64 in inputs, as the body, or as a form's file.")


def result_of(submission: Submission[Result | Problem]) -> Result:
    """The result of a submission that is over. Raises its `Problem`, `ClientGone` where nobody waits for it."""
    if not submission.future.done() or submission.future.cancelled():
        raise ClientGone("The client left.")
    result = submission.future.result()
    if isinstance(result, Problem):
        raise problem_of(result)
    return result


def _queue_full(retry_after_s: int) -> Busy:
    message = "The queue is full: try again later, or send the recording to /v1/jobs."
    return Busy(message, retry_after_s=retry_after_s)


async def disconnected(http_request: HttpRequest) -> None:
    """Returns when the client has left; the body has been read by now."""
    while (await http_request.receive())["type"] != "http.disconnect":
        pass
