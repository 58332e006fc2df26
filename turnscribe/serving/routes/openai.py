"""`/v1/audio/transcriptions`, `/v1/audio/translations` and `/v1/models`, also below `/api`: OpenAI's routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from turnscribe.serving import documents, openai
from turnscribe.serving.bodies import Body, read_form
from turnscribe.serving.openai import MEDIA_TYPES, Asked, Events
from turnscribe.serving.problems import ClientGone, as_openai
from turnscribe.serving.service import Service, disconnected
from turnscribe.serving.workers import Ticket
from turnscribe.stages import ShouldStop
from turnscribe.transcript import Chunk, Transcript

KEEP_ALIVE_S = 10.0  # between two comments of a stream in which nothing happens: gateways end silent ones


def add_openai_routes(app: FastAPI, service: Service) -> None:
    async def transcriptions(request: Request) -> Response:
        """Text in the language it was spoken in."""
        return await _transcription(service, request, "transcribe")

    async def translations(request: Request) -> Response:
        """Text in English."""
        return await _transcription(service, request, "translate")

    async def models() -> Response:
        """The one that is loaded, and what it can do."""
        return JSONResponse({"object": "list", "data": [_model(service)]})

    async def model(id: str) -> Response:
        """The one that is loaded, whatever it is called: it answers to every name."""
        return JSONResponse(_model(service))

    for prefix in ("/v1", "/api/v1"):
        for path, route in (("transcriptions", transcriptions), ("translations", translations)):
            app.post(f"{prefix}/audio/{path}", openapi_extra=documents.TRANSCRIPTION)(route)
        app.get(f"{prefix}/models")(models)
        app.get(f"{prefix}/models/{{id:path}}")(model)


async def _transcription(service: Service, request: Request, task: str) -> Response:
    service.admit()
    body = await read_form(request, service.settings.spool_bytes)
    try:
        wanted = openai.asked(body.fields, task=task)
        config = service.parse(wanted.parameters)
        if wanted.stream:
            return await _Stream(service, request, body, wanted, config).response()

        def work(should_stop: ShouldStop) -> Response:
            transcript = service.transcribe(body, config, should_stop, known_speakers=wanted.known_speakers)
            words = config.timestamps == "word"
            made = openai.body(transcript, wanted, words=words, name=Path(body.name).stem)
            if isinstance(made, str):
                return Response(made, media_type=MEDIA_TYPES[wanted.response_format])
            return JSONResponse(made)

        return await service.run(request, body, work)
    finally:
        body.release()


class _Stream:
    """One transcription as events, while it is decoded."""

    def __init__(self, service: Service, request: Request, body: Body, wanted: Asked, config: Any) -> None:
        self.service, self.wanted = service, wanted
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[Sequence[Chunk] | None] = asyncio.Queue()  # `None`: there is no more
        self._ticket: Ticket[Transcript] = service.submit(
            body,
            lambda stop: service.transcribe(
                body, config, stop, known_speakers=wanted.known_speakers, on_chunks=self._tell
            ),
        )
        self._ticket.future.add_done_callback(lambda _: self._tell(None))
        self._gone = asyncio.create_task(disconnected(request))

    async def response(self) -> Response:
        """Once there is some news: what is wrong until then is raised, and so gets a status of its own."""
        future = self._ticket.future
        try:
            first = await self._next(self.service.settings.request_timeout_s)
            if first is None and future.exception() is not None:
                raise self.service.problem(future.exception())
        except TimeoutError:
            self._end()
            raise self.service.took_too_long() from None
        except BaseException:
            self._end()
            raise
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._events(first), media_type="text/event-stream", headers=headers)

    async def _events(self, chunks: Sequence[Chunk] | None) -> AsyncIterator[str]:
        made = Events()
        try:
            while chunks is not None:
                for event in made.deltas(chunks):
                    yield event
                try:
                    chunks = await self._next(KEEP_ALIVE_S)
                except TimeoutError:
                    chunks = ()
                    yield ": still at it\n\n"
            transcript = self._ticket.future.result()
            for event in await asyncio.to_thread(lambda: list(made.last(transcript, self.wanted))):
                yield event
        except ClientGone:
            return
        except Exception as error:
            yield openai.event(as_openai(self.service.problem(error)))
        finally:
            self._end()

    async def _next(self, seconds: float) -> Sequence[Chunk] | None:
        """Further chunks; `None` when there are no more. Raises `TimeoutError`, or `ClientGone`."""
        news = asyncio.create_task(self._news.get())
        try:
            await asyncio.wait({news, self._gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if news.done():
                return news.result()
            raise ClientGone("The client left.") if self._gone.done() else TimeoutError
        finally:
            news.cancel()

    def _tell(self, chunks: Sequence[Chunk] | None) -> None:
        self._loop.call_soon_threadsafe(self._news.put_nowait, chunks)

    def _end(self) -> None:
        self._gone.cancel()
        self._ticket.stop()


def _model(service: Service) -> dict[str, Any]:
    handler = service.ready
    name = str(handler.settings.asr_model)
    abilities = {
        "diarization": handler.diarizer is not None,
        "assistant": handler.asr.has_assistant,
        "multilingual": handler.asr.multilingual,
        "languages": sorted(handler.asr.languages),
    }
    shown = Path(name).name if Path(name).is_absolute() else name  # no path of the server
    return {"id": shown, "object": "model", "created": 0, "owned_by": "turnscribe", "turnscribe": abilities}
