"""The application: which routes and which middleware there are, and what starts and ends with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

import turnscribe
from turnscribe.errors import TurnscribeError
from turnscribe.parameters import parse_parameters
from turnscribe.pipeline import Transcriber
from turnscribe.serving import documents
from turnscribe.serving.ending import Ending
from turnscribe.serving.jobs.store import JobStore
from turnscribe.serving.jobs.webhooks import Post, post_webhook
from turnscribe.serving.loading import FIRST_PARAMETERS, PipelineLoader
from turnscribe.serving.middleware.api_keys import ApiKeys
from turnscribe.serving.middleware.body_limit import BodyLimit
from turnscribe.serving.middleware.observe import RequestObserver
from turnscribe.serving.middleware.unread_body import DiscardUnreadBody
from turnscribe.serving.problems import Problem, problem_of, problem_response
from turnscribe.serving.realtime.sessions import Sessions
from turnscribe.serving.routes.handler import add_handler_routes
from turnscribe.serving.routes.jobs import add_job_routes, create_job_runner
from turnscribe.serving.routes.openai import add_openai_routes
from turnscribe.serving.routes.page import add_page_routes
from turnscribe.serving.routes.realtime import add_realtime_routes
from turnscribe.serving.routes.render import add_render_routes
from turnscribe.serving.service import ParseParameters, Service
from turnscribe.serving.tracing.spans import NO_TRACING, Tracing
from turnscribe.settings import ServerSettings


def create_app(
    pipeline: Transcriber | PipelineLoader,
    settings: ServerSettings,
    *,
    parse: ParseParameters = parse_parameters,
    post: Post | None = None,
    on_failure: Callable[[], None] = lambda: None,
    tracing: Tracing = NO_TRACING,
) -> FastAPI:
    """The application. While a loader loads, `/health` answers 503; `on_failure` is called when that fails.

    `parse` reads a request's parameters, `post` sends webhooks, `tracing` spans. Raises `SettingsError` where the
    jobs' folder cannot be used, and `BadParameters` where the defaults of a request are wrong.
    """
    loader = pipeline if isinstance(pipeline, PipelineLoader) else PipelineLoader.of(pipeline)
    first_request = parse(FIRST_PARAMETERS)
    service = Service(loader, settings, parse, tracing)
    store = JobStore(settings.jobs_folder, retention_s=settings.job_retention_s)
    post = post or partial(post_webhook, ports=loader.settings.limits.url_ports)
    runner = create_job_runner(service, store, post=post)
    sessions = Sessions(service, store, runner)
    ending = Ending(service, runner, sessions, settings.shutdown_timeout_s)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """At the end what is running is finished, and jobs in the middle are queued for the next server."""
        loader.start(first_request, on_ready=runner.start, on_failure=on_failure)
        try:
            yield
        finally:
            await ending.finish()
            store.close()

    app = FastAPI(
        title="Turnscribe", description=documents.DESCRIPTION, version=turnscribe.__version__, lifespan=lifespan
    )
    add_handler_routes(app, service)
    add_openai_routes(app, service)
    add_job_routes(app, service, store, runner)
    add_realtime_routes(app, sessions)
    add_render_routes(app)
    add_page_routes(app, service)
    # the last added is the outermost
    app.add_middleware(BodyLimit, largest=loader.settings.max_input_bytes)
    app.add_middleware(ApiKeys, keys=settings.keys)
    app.add_middleware(DiscardUnreadBody)
    app.add_middleware(RequestObserver, metrics=service.metrics, tracing=tracing)
    for error_class in (Problem, TurnscribeError, HTTPException):  # `RequestObserver` answers what is none of these
        app.add_exception_handler(error_class, _explain)
    app.state.ending = ending
    return app


async def _explain(http_request: HttpRequest, error: Exception) -> Response:
    problem = _http_problem(error) if isinstance(error, HTTPException) else problem_of(error)
    return problem_response(problem, http_request.url.path)


def _http_problem(error: HTTPException) -> Problem:
    """What FastAPI itself refuses."""
    messages = {404: "There is no such route: see /docs.", 405: "This route has another method: see /docs."}
    problem = Problem(messages.get(error.status_code, str(error.detail)), headers=error.headers)
    problem.status, problem.code = error.status_code, "not_found" if error.status_code == 404 else problem.code
    return problem
