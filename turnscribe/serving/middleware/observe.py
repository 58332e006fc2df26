"""One line of log and of metrics for each request, and for each WebSocket once it is closed.

Neither bodies, query strings nor keys are logged; of a path, only its route. Pure ASGI, so that streams and
disconnections pass through untouched.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from turnscribe.serving.metrics import Metrics
from turnscribe.serving.problems import CLIENT_CLOSED_REQUEST, Busy, ClientGone, problem_of, problem_response, reason

log = logging.getLogger("turnscribe.server")

NOT_LOGGED = ("/health", "/metrics")  # machines ask for these every few seconds


class RequestObserver:
    """Counts and logs requests by route and outcome; answers 500 where nothing below it did."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await self._observe_websocket(scope, receive, send)
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began = time.perf_counter()
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
            self._note(scope, status or CLIENT_CLOSED_REQUEST, time.perf_counter() - began)

    async def _observe_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Its status is 101 where it was accepted."""
        began, status = time.perf_counter(), CLIENT_CLOSED_REQUEST

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
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self.metrics.count_answer(route, status, seconds)
        if route not in NOT_LOGGED:
            log.info("%s %s %d %.3f s", scope.get("method", "WebSocket"), route, status, seconds)
