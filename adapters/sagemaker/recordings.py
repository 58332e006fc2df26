"""Recordings and archives on their way: up to S3, to an endpoint, and the answer back.

What is over a payload limit is refused before anything is sent. Never prints what is in a recording or an answer.
"""

from __future__ import annotations

import mimetypes
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.sagemaker.choice import ASYNCHRONOUS, REAL_TIME, WAKE_S, Way
from adapters.sagemaker.control_plane import Clients, send
from adapters.sagemaker.errors import Refused, is_missing
from adapters.sagemaker.request import build_asynchronous_invocation, build_invocation, check_plain, split_address
from adapters.sagemaker.waiting import wait_for
from turnscribe.cli.endpoints.errors import one_line
from turnscribe.cli.endpoints.waiting import Tell
from turnscribe.errors import SettingsError

UNKNOWN = "application/octet-stream"  # the handler looks into the file itself


def upload(clients: Clients, file: Path, folder: str, *, name: str | None = None) -> str:
    """The file's address below `folder`, `s3://bucket/prefix`, once it is there. Shows progress."""
    from tqdm import tqdm

    bucket, prefix = split_address(folder)
    key = f"{prefix.rstrip('/')}/{name or file.name}".lstrip("/")
    size = file.stat().st_size
    with tqdm(total=size, unit="B", unit_scale=True, desc=f"upload {file.name}", leave=False) as bar:
        clients("s3").upload_file(str(file), bucket, key, Callback=bar.update)
    return f"s3://{bucket}/{key}"


def content_type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or UNKNOWN


def invoke(
    clients: Clients,
    name: str,
    recording: str,
    *,
    content_type: str | None,
    accept: str,
    parameters: Mapping[str, str],
) -> bytes:
    """A real-time endpoint's answer. Raises `SettingsError` for a file over the limit."""
    file = check_size(recording, REAL_TIME)
    with file.open("rb") as body:
        call = build_invocation(
            name, body, content_type=content_type or content_type_of(recording), accept=accept, parameters=parameters
        )
        return bytes(send(clients, call)["Body"].read())


def invoke_asynchronous(
    clients: Clients,
    name: str,
    recording: str,
    *,
    folder: str | None,
    content_type: str | None,
    accept: str,
    parameters: Mapping[str, str],
    timeout: int,
    every: float,
    tell: Tell,
) -> bytes:
    """The answer, once it lies in S3. `recording` is a file, uploaded to `folder`, or an address in S3.

    `timeout` is for the computing; the queue may take as long again, and an endpoint at zero instances starts one
    first. Raises `SettingsError` and `Refused`.
    """
    location = recording
    if not recording.startswith("s3://"):
        file = check_size(recording, ASYNCHRONOUS)
        if not folder:
            raise SettingsError("--upload-to is missing: an asynchronous endpoint reads recordings from S3.")
        check_plain(folder, "--upload-to")
        location = upload(clients, file, folder, name=plain_name(file))
    call = build_asynchronous_invocation(
        name,
        location,
        content_type=content_type or content_type_of(recording),
        accept=accept,
        parameters=parameters,
        timeout_s=timeout,
    )
    places = send(clients, call)
    output, failure = places["OutputLocation"], places.get("FailureLocation")
    tell(f"queued; the answer will be at {output}" + (f", a failure at {failure}" if failure else ""))

    def look() -> tuple[str, tuple[bytes, bool] | None]:
        for address, good in ((output, True), (failure, False)):
            if address and (content := _read(clients, address)) is not None:
                return "answered" if good else "failed", (content, good)
        return "queued or running", None

    content, good = wait_for(
        look,
        what="The answer",
        timeout=2 * timeout + WAKE_S,
        every=every,
        tell=tell,
        then=f"it will still come to {output}" + (f", a failure to {failure}." if failure else "."),
    )
    if not good:
        raise Refused(f"The endpoint could not answer: {one_line(content.decode(errors='replace'))}")
    return content


def plain_name(file: Path) -> str:
    """A new name for an upload; of the file's own it keeps the suffix, where that is plain."""
    suffix = file.suffix if re.fullmatch(r"\.\w+", file.suffix, re.ASCII) else ""
    return f"{uuid.uuid4().hex[:12]}{suffix}"


def check_size(recording: str, way: Way) -> Path:
    file = Path(recording)
    if not file.is_file():
        raise SettingsError(f"{recording} is no file: name one recording.")
    size = file.stat().st_size
    if size > way.payload_bytes:
        other = "an asynchronous endpoint takes 1 GB" if way is REAL_TIME else "compress the audio, or split it"
        raise SettingsError(
            f"{recording} has {size:,} bytes, over the {way.payload_bytes:,} of one {way.title} request: {other}."
        )
    return file


def _read(clients: Clients, address: str) -> bytes | None:
    bucket, key = split_address(address)
    try:
        body: Any = clients("s3").get_object(Bucket=bucket, Key=key)["Body"]
    except Exception as error:
        if is_missing(error):
            return None
        raise
    return bytes(body.read())
