"""What every request passes: API keys, and one line of log and of metrics.

Neither bodies, query strings nor keys are logged; of a path, only its route. Pure ASGI, so that streams and
disconnections pass through untouched.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
import traceback
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnscribe.serving.metrics import Metrics
from turnscribe.serving.problems import CLIENT_CLOSED_REQUEST, ClientGone, Failed, Unauthorized, response

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
        given = [_digest(headers.get("x-api-key", "")), _digest(key.strip() if scheme.lower() == "bearer" else "")]
        # all of them, always; a gateway may have put a token of its own into Authorization
        equal = [hmac.compare_digest(one, digest) for one in given for digest in self.digests]
        return any(equal)


class Observe:
    """Counts and logs requests by route and outcome."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began = time.perf_counter()
        status: int | None = None

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except ClientGone:  # nobody is there to be answered
            status = CLIENT_CLOSED_REQUEST
        except Exception as error:
            # where, but not what: an exception's text may hold a piece of the request
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("an answer failed: %s\n%s", type(error).__name__, frames)
            if status is None:
                await response(Failed("The request could not be answered."), scope["path"])(scope, receive, noted)
            status = 500
        finally:
            route = getattr(scope.get("route"), "path", "none")
            status = status or CLIENT_CLOSED_REQUEST
            seconds = time.perf_counter() - began
            self.metrics.answered(route, status, seconds)
            if route not in ("/health", "/metrics"):
                log.info("%s %s %d %.3f s", scope["method"], route, status, seconds)


def _is_open(path: str) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in OPEN_TO_ALL)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()  # of one length, whatever was sent
