"""Request bodies: kept on disk past a size, and read as a recording and its parameters.

What is spooled lies in files without a name, so nothing stays behind, whatever happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from turnscribe.parameters import LISTS
from turnscribe.serving.json_body import LongText, json_object, read_json_body
from turnscribe.serving.problems import ClientGone, Malformed

MOST_FIELDS = 200
MOST_FILES = 40  # the recording, and clips of known speakers
LARGEST_FIELD = 8 * 2**20  # bytes: a reference of 10 s of wav as a data: URL has about 2
LARGEST_FIELDS = 16 * 2**20  # bytes of all fields together
LARGEST_PARAMETERS = 2**16  # bytes of JSON


@dataclass
class Body:
    """A request's recording and what else came with it.

    The recording is in `file`; without one, `inputs` is its base64 or where it is, a `LongText` where it is long.
    Whoever read the body calls `release` in the end; one that was handed over to a worker stays open until the worker
    closes it.
    """

    file: IO[bytes] | None = None
    inputs: object = None
    fields: list[tuple[str, Any]] = field(default_factory=list)
    name: str = ""
    other_files: list[IO[bytes]] = field(default_factory=list)
    _handed_over: bool = False

    def hand_over(self) -> None:
        self._handed_over = True

    def release(self) -> None:
        if not self._handed_over:
            self.close()

    def close(self) -> None:
        for file in (self.file, *self.other_files):
            if file is not None:
                file.close()


def media_type(content_type: str) -> str:
    """`"Audio/WAV; codecs=1"` -> `"audio/wav"`."""
    return content_type.split(";")[0].strip().lower()


def media_type_of(http_request: HttpRequest) -> str:
    return media_type(http_request.headers.get("content-type", ""))


async def read_body(http_request: HttpRequest, spool_bytes: int) -> Body:
    """The body as JSON with `inputs`, as multipart with a `file`, or as the recording itself, by its content type.

    `fields` are the parameters: those of the JSON, of the form, or of the query beside a bare recording. Raises
    `Malformed`.
    """
    sent_as = media_type_of(http_request)
    if sent_as == "multipart/form-data":
        return await read_form(http_request, spool_bytes)
    spooled = await _spool(http_request, spool_bytes)
    if sent_as != "application/json":
        return Body(spooled, fields=list(http_request.query_params.multi_items()))
    try:
        data = await asyncio.to_thread(read_json_body, spooled)
        parameters = data.get("parameters")
        if parameters is not None and not isinstance(parameters, dict):
            raise Malformed("parameters is not an object: send names and values.")
    except BaseException:
        spooled.close()
        raise
    body = Body(inputs=data.get("inputs"), fields=list((parameters or {}).items()), other_files=[spooled])
    if not isinstance(body.inputs, LongText):
        body.close()
    return body


async def read_form(http_request: HttpRequest, spool_bytes: int) -> Body:
    """A multipart form with its recording in `file`. Raises `Malformed`."""
    form = await _parse_form(http_request, spool_bytes)
    files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    recording = next((value for name, value in files if name == "file"), None)
    try:
        _check_text(form)
        if recording is None:
            raise Malformed("The form has no file: send the recording as the part named file.")
    except Malformed:
        await form.close()
        raise
    return Body(
        recording.file,
        fields=[(name, value) for name, value in form.multi_items() if isinstance(value, str)],
        name=recording.filename or "",
        other_files=[value.file for _, value in files if value is not recording],
    )


def parameters_of(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Fields as parameters; the value of one called `parameters` is a JSON object of them. Raises `Malformed`.

    A list may come as `name[]` or `name`, once for each item.
    """
    parameters: dict[str, Any] = {}
    room = LARGEST_PARAMETERS
    for name, value in fields:
        if name == "parameters" and isinstance(value, str):
            room -= len(value)
            if room < 0:
                raise Malformed(f"parameters is over {LARGEST_PARAMETERS // 1024} KiB: send fewer.")
            parameters |= json_object(value.encode(), "parameters") if value.strip() else {}
        elif isinstance(value, str) and (plain := name.removesuffix("[]")) in LISTS:
            earlier = parameters.get(plain)
            parameters[plain] = f"{earlier},{value}" if isinstance(earlier, str) else value
        else:
            parameters[name] = value
    return parameters


def contents(file: IO[bytes]) -> bytes:
    """All of a file, which may be on the disk."""
    file.seek(0)
    return file.read()


class _Parser(MultiPartParser):
    """Starlette's, which bounds the number of fields and the size of each, and not of all.

    It also leaves files open where a form ends in the middle of them, or its client leaves.
    """

    _room = LARGEST_FIELDS

    async def parse(self) -> FormData:
        kept: set[int] = set()
        try:
            form = await super().parse()
            kept = {id(value.file) for _, value in form.multi_items() if isinstance(value, UploadFile)}
            return form
        finally:
            for file in self._files_to_close_on_error:
                if id(file) not in kept:
                    file.close()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            self._room -= end - start
            if self._room < 0:
                raise MultiPartException(f"its fields are over {LARGEST_FIELDS // 2**20} MiB together")
        super().on_part_data(data, start, end)


async def _spool(http_request: HttpRequest, spool_bytes: int) -> IO[bytes]:
    file: IO[bytes] = SpooledTemporaryFile(max_size=spool_bytes)  # noqa: SIM115
    try:
        async for block in http_request.stream():
            if file.tell() + len(block) > spool_bytes:
                await asyncio.to_thread(file.write, block)
            else:
                file.write(block)
    except ClientDisconnect:
        file.close()
        raise ClientGone("The client left.") from None
    except BaseException:
        file.close()
        raise
    return file


async def _parse_form(http_request: HttpRequest, spool_bytes: int) -> FormData:
    sent_as = media_type_of(http_request)
    if sent_as != "multipart/form-data":
        raise Malformed(f"The content type is {sent_as[:100] or 'missing'}: send multipart/form-data with a file.")
    parser = _Parser(
        http_request.headers,
        http_request.stream(),
        max_files=MOST_FILES,
        max_fields=MOST_FIELDS,
        max_part_size=LARGEST_FIELD,
    )
    parser.spool_max_size = spool_bytes
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise Malformed(f"The form cannot be read: {error.message.rstrip('.')}.") from error
    except (FormParserError, LookupError, UnicodeError) as error:  # starlette makes it its own from 1.7 on
        raise Malformed("The form cannot be read: send multipart/form-data as RFC 7578 has it.") from error
    except ClientDisconnect:
        raise ClientGone("The client left.") from None


def _check_text(form: FormData) -> None:
    """A charset of the sender's choice may decode to what is no text. Raises `Malformed`."""
    try:
        for name, value in form.multi_items():
            f"{name}{value.filename if isinstance(value, UploadFile) else value}".encode()
    except UnicodeError:
        raise Malformed("The form's fields are no text: send them as UTF-8.") from None
