"""What becomes of a body that was not read whole when its request is answered."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_SECONDS, MOST_BYTES = 2.0, 2**26


class DiscardUnreadBody:
    """Lets an early answer, a refusal for example, reach a client that is still sending.

    A connection that is closed while its client sends is reset, and the answer is lost. So what still comes is thrown
    away for a while, once the answer is out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        sent = Headers(scope=scope)
        complete = sent.get("content-length", "0") == "0" and "transfer-encoding" not in sent

        async def receive_and_note_end() -> Message:
            nonlocal complete
            message = await receive()
            complete = complete or not message.get("more_body", False)
            return message

        async def send_then_discard(message: Message) -> None:
            if not complete and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"  # nobody reads what else comes
            if complete or message["type"] != "http.response.body" or message.get("more_body", False):
                return await send(message)
            await send({**message, "more_body": True})
            await discard()
            await send({"type": "http.response.body"})

        async def discard() -> None:
            discarded = 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MOST_SECONDS):
                    while not complete and discarded < MOST_BYTES:
                        discarded += len((await receive_and_note_end()).get("body", b""))

        await self.app(scope, receive_and_note_end, send_then_discard)
