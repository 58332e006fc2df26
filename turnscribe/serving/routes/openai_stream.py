"""One transcription as OpenAI's events, sent while it is decoded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TypeAlias

from fastapi.responses import Response, StreamingResponse
from starlette.requests import Request as HttpRequest

from turnscribe.listener import Listener
from turnscribe.serving.bodies import Body
from turnscribe.serving.caller import caller_of
from turnscribe.serving.openai_answer import TranscriptEvents, event
from turnscribe.serving.openai_form import TranscriptionForm
from turnscribe.serving.problems import ClientGone, openai_error
from turnscribe.serving.service import Service, disconnected, result_of
from turnscribe.transcript import Chunk

KEEP_ALIVE_S = 10.0  # between two comments of a stream in which nothing happens: gateways end silent ones

Further: TypeAlias = "asyncio.Queue[Sequence[Chunk] | None]"  # `None`: there is no more


class TranscriptionStream:
    """Submits the form's request and follows it; `body` is the worker's from then on."""

    def __init__(self, service: Service, http_request: HttpRequest, body: Body, form: TranscriptionForm) -> None:
        self._service, self._form = service, form
        self._loop = asyncio.get_running_loop()
        self._further: Further = asyncio.Queue()
        caller = caller_of(http_request.scope)
        self._submission = service.submit(body, form.request, Listener(on_chunks=self._add), caller)
        self._submission.future.add_done_callback(partial(_end_of, self._loop, self._further))
        self._gone = asyncio.create_task(disconnected(http_request))

    async def response(self) -> Response:
        """Once there is a first chunk or an end: what goes wrong before that is raised, so that it has a status."""
        try:
            first = await self._next(self._service.settings.request_timeout_s)
            if first is None:
                result_of(self._submission)
        except TimeoutError:
            self._end()
            raise self._service.deadline_exceeded() from None
        except BaseException:
            self._end()
            raise
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._events(first), media_type="text/event-stream", headers=headers)

    async def _events(self, chunks: Sequence[Chunk] | None) -> AsyncIterator[str]:
        events = TranscriptEvents()
        try:
            while chunks is not None:
                for delta in events.deltas(chunks):
                    yield delta
                try:
                    chunks = await self._next(KEEP_ALIVE_S)
                except TimeoutError:
                    chunks = ()
                    yield ": still at it\n\n"
            transcript = result_of(self._submission)
            for last in await asyncio.to_thread(lambda: list(events.last(transcript, self._form))):
                yield last
        except ClientGone:
            return
        except Exception as error:
            yield event(openai_error(self._service.problem_of(error)))
        finally:
            self._end()

    async def _next(self, seconds: float) -> Sequence[Chunk] | None:
        """Further chunks; `None` when there are no more. Raises `TimeoutError`, or `ClientGone`."""
        further = asyncio.create_task(self._further.get())
        try:
            await asyncio.wait({further, self._gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if further.done():
                return further.result()
            raise ClientGone("The client left.") if self._gone.done() else TimeoutError
        finally:
            further.cancel()

    def _add(self, chunks: Sequence[Chunk] | None) -> None:
        """Called in the worker's thread."""
        self._loop.call_soon_threadsafe(self._further.put_nowait, chunks)

    def _end(self) -> None:
        self._gone.cancel()
        self._submission.stop()


def _end_of(loop: asyncio.AbstractEventLoop, further: Further, _: object) -> None:
    """Without the stream: its future keeps this function, and the stream keeps the future."""
    loop.call_soon_threadsafe(further.put_nowait, None)
