"""Request bodies: limited while they come in, kept on disk past a size, and read as a recording and its parameters.

What is spooled lies in files without a name, so nothing stays behind, whatever happens. Knows no route.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnscribe.serving.problems import ClientGone, Malformed, TooLarge, TooSlow, response

IDLE_SECONDS = 60  # a client that sends nothing for so long is given up
MOST_FIELDS = 200
MOST_FILES = 40  # the recording, and clips of known speakers
LARGEST_FIELD = 8 * 2**20  # bytes: a reference of 10 s of wav as a data: URL has about 2
LINGER_S, LINGER_BYTES = 2.0, 2**26
SLACK = 16 * 2**20  # bytes of a body that are not the recording

Read = Callable[[], bytes]


class BodyLimit:
    """Ends a request whose body is over `largest` bytes, or does not come: 413 or 408 without reading the rest."""

    def __init__(self, app: ASGIApp, largest: int, idle_seconds: float = IDLE_SECONDS) -> None:
        self.app, self.largest, self.idle_seconds = app, largest, idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit(scope):
            return await response(self._too_large(scope), scope["path"])(scope, receive, send)
        received, complete = 0, False

        async def limited() -> Message:
            nonlocal received, complete
            if complete:  # what comes now is that the client has left
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self.idle_seconds)
            except TimeoutError:
                raise TooSlow(f"Nothing came for {self.idle_seconds:g} s: send the request again.") from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._limit(scope):
                raise self._too_large(scope)
            return message

        await self.app(scope, limited, send)

    def _limit(self, scope: Scope) -> int:
        kind = Headers(scope=scope).get("content-type", "")
        share = 4 / 3 if media_type(kind) == "application/json" else 1  # base64
        return int(self.largest * share) + SLACK

    def _too_large(self, scope: Scope) -> TooLarge:
        return TooLarge(
            f"The request is over {self._limit(scope) / 2**20:.0f} MiB: send a shorter or a compressed recording.",
            headers={"Connection": "close"},
        )


class Linger:
    """Answers given before the request was read whole reach its client.

    A connection that is closed while its client sends is reset, and the answer is lost. So what still comes is thrown
    away for a while, once the answer is out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        complete = False

        async def noted() -> Message:
            nonlocal complete
            message = await receive()
            complete = complete or not message.get("more_body", False)
            return message

        async def lingering(message: Message) -> None:
            if complete or message["type"] != "http.response.body" or message.get("more_body", False):
                return await send(message)
            await send({**message, "more_body": True})
            await drain()
            await send({"type": "http.response.body"})

        async def drain() -> None:
            thrown_away = 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    while not complete and thrown_away < LINGER_BYTES:
                        thrown_away += len((await noted()).get("body", b""))

        await self.app(scope, noted, lingering)


@dataclass
class Body:
    """A request's recording, or where it is, and what else came with it.

    Whoever read it calls `release` when its part is done; a worker that has `taken` it closes it.
    """

    inputs: Callable[[], Any]  # bytes, base64 or a URL; reads the disk and may take long
    fields: list[tuple[str, Any]] = field(default_factory=list)
    name: str = ""
    file: IO[bytes] | None = None
    _files: list[IO[bytes]] = field(default_factory=list)
    taken: bool = False

    def release(self) -> None:
        if not self.taken:
            self.close()

    def close(self) -> None:
        for file in self._files:
            file.close()


def media_type(content_type: str) -> str:
    return content_type.split(";")[0].strip().lower()


async def read_body(request: Request, spool_bytes: int) -> Body:
    """The body as JSON with `inputs`, as multipart with a `file`, or as the recording itself, by its content type.

    `fields` are the parameters: those of the JSON, of the form, or of the query beside a bare recording. Raises
    `Malformed`.
    """
    kind = media_type(request.headers.get("content-type", ""))
    if kind == "multipart/form-data":
        return await read_form(request, spool_bytes)
    spooled = await _spooled(request, spool_bytes)
    if kind != "application/json":
        return Body(lambda: _contents(spooled), list(request.query_params.multi_items()), "", spooled, [spooled])
    try:
        data = await run_in_threadpool(_json, spooled)
    finally:
        spooled.close()
    parameters = data.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise Malformed("parameters is not an object: send names and values.")
    return Body(lambda: data.get("inputs"), list((parameters or {}).items()))


async def read_form(request: Request, spool_bytes: int) -> Body:
    """A multipart form with its recording in `file`. Raises `Malformed`."""
    kind = media_type(request.headers.get("content-type", ""))
    if kind != "multipart/form-data":
        raise Malformed(f"The content type is {kind[:100] or 'missing'}: send multipart/form-data with a file.")
    parser = MultiPartParser(
        request.headers,
        request.stream(),
        max_files=MOST_FILES,
        max_fields=MOST_FIELDS,
        max_part_size=LARGEST_FIELD,
    )
    parser.spool_max_size = spool_bytes
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Malformed(f"The form cannot be read: {error.message.rstrip('.')}.") from error
    except (LookupError, UnicodeError) as error:
        raise Malformed("The form cannot be read: send multipart/form-data as RFC 7578 has it.") from error
    except ClientDisconnect:
        raise ClientGone("The client left.") from None
    files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    recording = next((value for name, value in files if name == "file"), None)
    try:  # a charset of the sender's choice may decode to what is no text
        "".join(
            f"{name}{value.filename if isinstance(value, UploadFile) else value}"
            for name, value in form.multi_items()
        ).encode()
    except UnicodeError:
        await form.close()
        raise Malformed("The form's fields are no text: send them as UTF-8.") from None
    fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    if recording is None:
        await form.close()
        raise Malformed("The form has no file: send the recording as the part named file.")
    handle = recording.file
    return Body(
        lambda: _contents(handle), fields, recording.filename or "", handle, [value.file for _, value in files]
    )


def parameters(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Fields as parameters; the value of one called `parameters` is a JSON object of them. Raises `Malformed`."""
    found: dict[str, Any] = {}
    for name, value in fields:
        if name == "parameters" and isinstance(value, str):
            found |= _json(io.BytesIO(value.encode()), "parameters") if value.strip() else {}
        else:
            found[name] = value
    return found


async def _spooled(request: Request, spool_bytes: int) -> IO[bytes]:
    file: Any = SpooledTemporaryFile(max_size=spool_bytes)  # noqa: SIM115
    try:
        async for block in request.stream():
            if file.tell() + len(block) > spool_bytes:
                await run_in_threadpool(file.write, block)
            else:
                file.write(block)
    except ClientDisconnect:
        file.close()
        raise ClientGone("The client left.") from None
    except BaseException:
        file.close()
        raise
    return file


def _contents(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _json(file: IO[bytes], what: str = "The body") -> dict[str, Any]:
    try:
        data = json.loads(_contents(file))
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Malformed(f"{what} is not a JSON object: send names and values, as the README has them.")
    return data
