"""One line of log and of metrics for each request, and for each WebSocket once it is closed; and a span, if traced.

Neither bodies, query strings nor keys are logged; of a path, only its route. Pure ASGI, so that streams and
disconnections pass through untouched.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from turnscribe.serving.caller import caller_of, note_caller
from turnscribe.serving.metrics import Metrics
from turnscribe.serving.problems import CLIENT_CLOSED_REQUEST, Busy, ClientGone, problem_of, problem_response, reason
from turnscribe.serving.tracing.spans import NO_TRACING, Span, Tracing

log = logging.getLogger("turnscribe.server")

NOT_LOGGED = ("/health", "/metrics")  # machines ask for these every few seconds
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class RequestObserver:
    """Counts, logs and traces requests by route and outcome; answers 500 where nothing below it did."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing = NO_TRACING) -> None:
        self.app, self.metrics, self.tracing = app, metrics, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await self._observe_websocket(scope, receive, send)
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, span = time.perf_counter(), self._begin_span(scope)
        status: int | None = None

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note_status)
        except ClientGone:  # nobody is there to be answered
            status = CLIENT_CLOSED_REQUEST
        except asyncio.CancelledError:  # the time of an ordered stop is over
            if status is None:
                problem = Busy("The server is ending: send the request again.", retry_after_s=5)
                await problem_response(problem, scope["path"])(scope, receive, send_and_note_status)
            else:
                raise
        except Exception as error:
            # where, but not what: an exception's text may hold a piece of the request
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("an answer failed: %s\n%s", reason(error), frames)
            if status is None:
                await problem_response(problem_of(error), scope["path"])(scope, receive, send_and_note_status)
            else:
                status = 500
        finally:
            self._note(scope, status or CLIENT_CLOSED_REQUEST, time.perf_counter() - began, span)

    async def _observe_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Its status is 101 where it was accepted."""
        began, status = time.perf_counter(), CLIENT_CLOSED_REQUEST
        span = self._begin_span(scope)

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "websocket.accept":
                status = HTTPStatus.SWITCHING_PROTOCOLS
            elif message["type"] == "websocket.http.response.start":
                status = message["status"]
            elif message["type"] == "websocket.close" and status == CLIENT_CLOSED_REQUEST:  # before it was accepted
                status = HTTPStatus.FORBIDDEN
            await send(message)

        try:
            await self.app(scope, receive, send_and_note_status)
        except Exception as error:
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("a WebSocket failed: %s\n%s", reason(error), frames)
            if status == CLIENT_CLOSED_REQUEST:
                status = HTTPStatus.INTERNAL_SERVER_ERROR
                refusal = problem_response(problem_of(error), scope["path"])
                await WebSocket(scope, receive, send).send_denial_response(refusal)
        finally:
            self._note(scope, status, time.perf_counter() - began, span)

    def _begin_span(self, scope: Scope) -> Span | None:
        """Named by the method until the route is known. A method that is none of HTTP's may be any text."""
        if scope["path"] in NOT_LOGGED:
            return None
        span = self.tracing.begin(_method(scope), Headers(scope=scope).get("traceparent"), incoming=True)
        note_caller(scope, traceparent=span.traceparent)
        return span

    def _note(self, scope: Scope, status: int, seconds: float, span: Span | None) -> None:
        route = getattr(scope.get("route"), "path", "none")
        if span is not None:
            method, known = _method(scope), route != "none"
            span.end(
                name=f"{method} {route}" if known else method,
                failed=status >= HTTPStatus.INTERNAL_SERVER_ERROR,
                attributes={
                    "http.request.method": method,
                    "http.response.status_code": int(status),
                    **({"http.route": route} if known else {}),
                },
            )
        self.metrics.count_answer(route, status, seconds, caller_of(scope).key)
        if route not in NOT_LOGGED:
            log.info("%s %s %d %.3f s", scope.get("method", "WebSocket"), route, status, seconds)


def _method(scope: Scope) -> str:
    """A WebSocket begins as a GET."""
    method = scope.get("method", "GET")
    return method if method in METHODS else "_OTHER"
