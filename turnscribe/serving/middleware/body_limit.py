"""A limit on the size of request bodies, and on how slowly a client may send them."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnscribe.serving.bodies import media_type
from turnscribe.serving.problems import TooLarge, TooSlow, problem_response

IDLE_SECONDS = 60  # a client that sends nothing for so long is given up
SLOWEST = 1024  # and one that in the mean sends fewer bytes a second, once so many seconds are over
NOT_THE_RECORDING = 16 * 2**20  # bytes that a body may have beside the recording: fields, clips of known speakers
BASE64_GROWTH = 4 / 3


class BodyLimit:
    """Ends a request whose recording is over `largest` bytes with 413, and one that does not come with 408.

    What is left of such a body is not read.
    """

    def __init__(self, app: ASGIApp, largest: int, idle_seconds: float = IDLE_SECONDS) -> None:
        self.app, self.largest, self.idle_seconds = app, largest, idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit(scope):
            return await problem_response(self._too_large(scope), scope["path"])(scope, receive, send)
        received, complete = 0, False
        began = time.monotonic()

        async def receive_within_limits() -> Message:
            nonlocal received, complete
            if complete:  # what comes now is that the client has left
                return await receive()
            left = began + self.idle_seconds + received / SLOWEST - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(min(self.idle_seconds, left), 0))
            except TimeoutError:
                raise TooSlow(self._too_slow(received)) from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._limit(scope):
                raise self._too_large(scope)
            return message

        await self.app(scope, receive_within_limits, send)

    def _limit(self, scope: Scope) -> int:
        is_json = media_type(Headers(scope=scope).get("content-type", "")) == "application/json"
        return int(self.largest * (BASE64_GROWTH if is_json else 1)) + NOT_THE_RECORDING

    def _too_slow(self, received: int) -> str:
        if received:
            return f"The request came slower than {SLOWEST} bytes a second, or stopped: send it again."
        return f"Nothing came for {self.idle_seconds:g} s: send the request again."

    def _too_large(self, scope: Scope) -> TooLarge:
        return TooLarge(
            f"The request is over {self._limit(scope) / 2**20:.0f} MiB: send a shorter or a compressed recording.",
            headers={"Connection": "close"},
        )
