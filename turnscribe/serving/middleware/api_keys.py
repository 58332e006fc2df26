"""API keys: requests and WebSockets without one are refused; what goes on knows the label of its own."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from turnscribe.serving.caller import note_caller
from turnscribe.serving.problems import Unauthorized, problem_response
from turnscribe.serving.usage import label_of

OPEN_TO_ALL = ("/health", "/ui")
IN_SUBPROTOCOL = "openai-insecure-api-key."  # how OpenAI's SDK has a browser send a key, which can set no header


class ApiKeys:
    """Refuses requests without one of the keys. `/health` and the page are open; the page asks for a key itself."""

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self.app, self.digests = app, [_digest(key) for key in keys]
        self._labels = [label_of(key) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not self.digests or _is_open(scope["path"]):
            return await self.app(scope, receive, send)
        label = self._label_of_key(Headers(scope=scope), scope.get("subprotocols", ()))
        if label is not None:
            note_caller(scope, key=label)
            return await self.app(scope, receive, send)
        refusal = Unauthorized(
            "The API key is missing or wrong: send it as Authorization: Bearer KEY.",
            headers={"WWW-Authenticate": "Bearer"},
        )
        response = problem_response(refusal, scope["path"])
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(response)
        else:
            await response(scope, receive, send)

    def _label_of_key(self, headers: Headers, subprotocols: Sequence[str]) -> str | None:
        """Of the key that was sent, if it is one."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        named = next((one for one in subprotocols if one.startswith(IN_SUBPROTOCOL)), IN_SUBPROTOCOL)
        sent = [
            _digest(headers.get("x-api-key", "")),
            _digest(key.strip() if scheme.lower() == "bearer" else ""),
            _digest(named.removeprefix(IN_SUBPROTOCOL)),
        ]
        # Every key is compared, always, so that the time says nothing. Both headers count: a gateway may have put a
        # token of its own into Authorization.
        equal = [[hmac.compare_digest(one, digest) for one in sent] for digest in self.digests]
        return next((label for label, same in zip(self._labels, equal, strict=True) if any(same)), None)


def _is_open(path: str) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in OPEN_TO_ALL)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()  # of one length, whatever was sent
