"""`/v1/render`: a transcript that the client has, in one of the formats. Asks no model."""

from __future__ import annotations

import asyncio
from io import BytesIO

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from turnscribe.formats import find_format
from turnscribe.serving import documents
from turnscribe.serving.bodies import media_type_of
from turnscribe.serving.problems import Busy, ClientGone, Malformed, TooLarge
from turnscribe.serving.sent_transcript import read_order, to_transcript
from turnscribe.serving.transcript_file import as_file

LARGEST_BODY = 8 * 2**20  # bytes of JSON: about 70,000 words with their times
MOST_AT_ONCE = 4  # bodies that are read and rendered at a time
RETRY_AFTER_S = 2


def add_render_routes(app: FastAPI) -> None:
    at_work = 0

    @app.post("/v1/render", openapi_extra=documents.RENDER)
    async def render(http_request: HttpRequest) -> Response:
        """A transcript that you send, mended say, as a file in one of the formats."""
        nonlocal at_work
        if (sent_as := media_type_of(http_request)) != "application/json":
            raise Malformed(f"The content type is {sent_as[:100] or 'missing'}: send application/json.")
        if at_work >= MOST_AT_ONCE:
            raise Busy("Too many transcripts are being rendered: try again later.", retry_after_s=RETRY_AFTER_S)
        at_work += 1
        try:
            return await asyncio.to_thread(rendered, await _read(http_request))
        finally:
            at_work -= 1


def rendered(body: bytes) -> Response:
    """The answer to a body. Raises `Malformed`, and `BadParameters` for a format that there is not."""
    order = read_order(body)
    format = find_format(order.response_format)
    return as_file(to_transcript(order.transcript), format, order.filename.strip() or "transcript")


async def _read(http_request: HttpRequest) -> bytes:
    body = BytesIO()
    try:
        async for block in http_request.stream():
            body.write(block)
            if body.tell() > LARGEST_BODY:
                raise TooLarge(f"The transcript is over {LARGEST_BODY // 2**20} MiB of JSON: send a part of it.")
    except ClientDisconnect:
        raise ClientGone("The client left.") from None
    return body.getvalue()
