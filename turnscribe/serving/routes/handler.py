"""`POST /` and `/predict`: the handler's own contract, as the serving containers offer it."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from turnscribe.answer import to_answer
from turnscribe.serving import documents
from turnscribe.serving.bodies import parameters, read_body
from turnscribe.serving.service import Service
from turnscribe.stages import ShouldStop


def add_handler_routes(app: FastAPI, service: Service) -> None:
    @app.post("/", openapi_extra=documents.PREDICT)
    @app.post("/predict", openapi_extra=documents.PREDICT)
    async def predict(request: Request) -> Response:
        """JSON with `inputs` and `parameters`, a form with a `file`, or the audio itself as the body."""
        service.admit()
        body = await read_body(request, service.settings.spool_bytes)
        try:
            config = service.parse(parameters(body.fields))

            def work(should_stop: ShouldStop) -> Response:
                transcript = service.transcribe(body, config, should_stop)
                words = config.timestamps == "word"
                return JSONResponse(to_answer(transcript, words=words, response_format=config.response_format))

            return await service.run(request, body, work)
        finally:
            body.release()
