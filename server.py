"""The handler behind FastAPI: its own contract, OpenAI's transcription API, jobs, a page for people, health, metrics.

    python -m server            HOST, PORT and the rest of config.ServerSettings; the models as for handler.py

`create_app(handler)` is the application. Its parts are in `turnscribe/serving`, whose first lines are the map.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

import turnscribe
from config import ServerSettings, load_server_settings, load_settings, parse_config
from handler import EndpointHandler
from turnscribe.errors import TurnscribeError
from turnscribe.serving import documents
from turnscribe.serving.bodies import BodyLimit, Linger
from turnscribe.serving.gate import Keys, Observe
from turnscribe.serving.jobs.store import JobStore
from turnscribe.serving.problems import Problem, problem_of, response
from turnscribe.serving.routes.handler import add_handler_routes
from turnscribe.serving.routes.jobs import add_job_routes, job_runner
from turnscribe.serving.routes.openai import add_openai_routes
from turnscribe.serving.routes.page import add_page_routes
from turnscribe.serving.service import Handler, Service

SETTLING_ROUNDS = 6  # of the loop, before the listening socket is closed


def create_app(
    handler: Handler | None = None,
    settings: ServerSettings | None = None,
    *,
    on_failure: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The application. Without a `handler` one is loaded as the environment says, while `/health` answers 503.

    `on_failure` is called when that fails, once the log has the reason. Raises `SettingsError`.
    """
    settings = settings or load_server_settings()
    model_settings = handler.settings if handler else load_settings()

    def load() -> Handler:
        return handler or EndpointHandler(settings=model_settings)

    service = Service(load, parse_config, settings)
    store = JobStore(settings.jobs_folder, retention_s=settings.job_retention_s)
    runner = job_runner(service, store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """At the end what is running is finished, and jobs in the middle are queued for the next server."""
        service.start(runner.start, on_failure)
        try:
            yield
        finally:
            await asyncio.to_thread(service.close)
            await asyncio.to_thread(runner.stop)
            store.close()

    app = FastAPI(
        title="Turnscribe", description=documents.DESCRIPTION, version=turnscribe.__version__, lifespan=lifespan
    )
    add_handler_routes(app, service)
    add_openai_routes(app, service)
    add_job_routes(app, service, store, runner)
    add_page_routes(app, service)
    # the last added is the outermost
    app.add_middleware(BodyLimit, largest=model_settings.max_input_bytes)
    app.add_middleware(Keys, keys=settings.keys)
    app.add_middleware(Linger)
    app.add_middleware(Observe, metrics=service.metrics)
    for kind in (Problem, TurnscribeError, HTTPException):  # `Observe` answers what is none of these
        app.add_exception_handler(kind, _explain)
    app.state.hold = runner.hold
    return app


class Server(uvicorn.Server):
    """uvicorn, which at the end also answers requests that were sent and that it has not got round to reading."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Under load one round of the loop takes long, and connections made meanwhile would be reset. They need a few
        # rounds to be accepted and read; uvicorn then counts them among those it finishes.
        self.config.app.state.hold()  # type: ignore[union-attr]
        for _ in range(SETTLING_ROUNDS):
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


async def _explain(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        said = {404: "There is no such route: see /docs.", 405: "This route has another method: see /docs."}
        problem = Problem(said.get(error.status_code, str(error.detail)), headers=error.headers)
        problem.status, problem.code = error.status_code, "not_found" if error.status_code == 404 else problem.code
        return response(problem, request.url.path)
    return response(problem_of(error), request.url.path)


def main() -> int:
    """Serve until SIGTERM or Ctrl-C, then finish what is running; a second Ctrl-C ends it at once."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    failed = threading.Event()

    def give_up() -> None:
        failed.set()
        server.should_exit = True

    try:
        settings = load_server_settings()
        app = create_app(settings=settings, on_failure=give_up)
    except TurnscribeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    server = Server(
        uvicorn.Config(app, host=settings.host, port=settings.port, access_log=False, server_header=False)
    )
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it anew when it has ended in good order
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    return 1 if failed.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
