"""`/v1/audio/transcriptions`, `/v1/audio/translations` and `/v1/models`, also below `/api`: OpenAI's routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.requests import Request as HttpRequest

from turnscribe.request import Task
from turnscribe.serving import documents
from turnscribe.serving.bodies import read_form
from turnscribe.serving.openai_answer import render_answer, warnings_of
from turnscribe.serving.openai_form import read_transcription_form
from turnscribe.serving.routes.openai_stream import TranscriptionStream
from turnscribe.serving.service import Service
from turnscribe.serving.transcript_file import file_name_headers
from turnscribe.serving.warning_header import warning_headers
from turnscribe.transcript import Transcript


def add_openai_routes(app: FastAPI, service: Service) -> None:
    async def transcriptions(http_request: HttpRequest) -> Response:
        """Text in the language it was spoken in."""
        return await _transcription(service, http_request, "transcribe")

    async def translations(http_request: HttpRequest) -> Response:
        """Text in English."""
        return await _transcription(service, http_request, "translate")

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


async def _transcription(service: Service, http_request: HttpRequest, task: Task) -> Response:
    with service.room_for_body():
        body = await read_form(http_request, service.settings.spool_bytes)
    try:
        form = read_transcription_form(body.fields, task=task, parse=service.parse)
        if form.stream:
            return await TranscriptionStream(service, http_request, body, form).response()

        def render(transcript: Transcript) -> Response:
            name = Path(body.name).stem
            answer = render_answer(transcript, form, name=name)
            if not isinstance(answer, dict):
                headers = warning_headers(warnings_of(transcript, form))
                if form.format.is_binary:  # a browser would save it under the name of the route
                    headers |= file_name_headers(name or "transcript", form.format)
                return Response(answer, media_type=form.format.media_type, headers=headers)
            return JSONResponse(answer)

        return await service.answer(http_request, body, form.request, render)
    finally:
        body.release()


def _model(service: Service) -> dict[str, Any]:
    pipeline = service.pipeline
    capabilities = pipeline.capabilities
    name = str(pipeline.settings.asr_model)
    abilities = {
        "diarization": pipeline.has_diarizer,
        "assistant": capabilities.assistant,
        "multilingual": capabilities.multilingual,
        "languages": sorted(capabilities.languages),
    }
    shown = Path(name).name if Path(name).is_absolute() else name  # no path of the server
    return {"id": shown, "object": "model", "created": 0, "owned_by": "turnscribe", "turnscribe": abilities}
