"""`POST /` and `/predict`: the endpoint's own contract, as the serving containers offer it."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.requests import Request as HttpRequest

from turnscribe.answer import to_answer
from turnscribe.serving import documents
from turnscribe.serving.bodies import parameters_of, read_body
from turnscribe.serving.service import Service
from turnscribe.transcript import Transcript


def add_handler_routes(app: FastAPI, service: Service) -> None:
    @app.post("/", openapi_extra=documents.PREDICT)
    @app.post("/predict", openapi_extra=documents.PREDICT)
    async def predict(http_request: HttpRequest) -> Response:
        """JSON with `inputs` and `parameters`, a form with a `file`, or the audio itself as the body."""
        with service.room_for_body():
            body = await read_body(http_request, service.settings.spool_bytes)
        try:
            request = service.parse(parameters_of(body.fields))

            def render(transcript: Transcript) -> Response:
                return JSONResponse(to_answer(transcript, request))

            return await service.answer(http_request, body, request, render)
        finally:
            body.release()
