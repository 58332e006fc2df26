"""What every request passes: API keys, and one line of log and of metrics.

Neither bodies, query strings nor keys are logged; of a path, only its route. Pure ASGI, so that streams and
disconnections pass through untouched.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnscribe.serving.metrics import Metrics
from turnscribe.serving.problems import CLIENT_CLOSED_REQUEST, ClientGone, Unauthorized, response

log = logging.getLogger("turnscribe.server")

OPEN_TO_ALL = ("/health", "/ui")


class Keys:
    """Refuses requests without one of the keys. `/health` and the page are open; the page asks for a key itself."""

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self.app, self.digests = app, [_digest(key) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or not self.digests
            or _is_open(scope["path"])
            or self._knows(Headers(scope=scope))
        ):
            return await self.app(scope, receive, send)
        refusal = Unauthorized(
            "The API key is missing or wrong: send it as Authorization: Bearer KEY.",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await response(refusal, scope["path"])(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = _digest(key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", ""))
        equal = [hmac.compare_digest(given, digest) for digest in self.digests]  # all of them, always
        return any(equal)


class Observe:
    """Counts and logs requests by route and outcome."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status = time.perf_counter(), CLIENT_CLOSED_REQUEST

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except ClientGone:  # nobody is there to be answered
            pass
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - began
            self.metrics.answered(route, status, seconds)
            if route not in ("/health", "/metrics"):
                log.info("%s %s %d %.3f s", scope["method"], route, status, seconds)


def _is_open(path: str) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in OPEN_TO_ALL)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()  # of one length, whatever was sent
