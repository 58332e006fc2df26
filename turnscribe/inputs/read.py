"""What the `inputs` of a request mean: the bytes of a file, their base64, a `data:` URL or an https URL."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from functools import partial

from turnscribe.errors import BadAudio
from turnscribe.inputs.fetch import fetch
from turnscribe.inputs.limits import DEFAULT_LIMITS, Limits, check_size

BASE64_BLOCK = 2**20  # characters, a multiple of 4

FetchUrl = Callable[[str, int], bytes]  # url, the most bytes to take


def read_input(
    inputs: object,
    *,
    limits: Limits = DEFAULT_LIMITS,
    allow_urls: bool = False,
    fetch_url: FetchUrl | None = None,
) -> bytes:
    """The bytes of the file that a request's `inputs` mean, at most `limits.max_bytes` of them.

    Text is a `data:` URL, an https URL where `allow_urls`, or base64 (standard or url-safe, lines wrapped or
    not, padded or not). Bytes that hold nothing but such text count as text too, since one serving container
    passes base64 on that way; every audio format has a byte outside that alphabet in its first few dozen, and
    so has real headerless PCM. `fetch_url` replaces `fetch`. Raises `BadAudio`.
    """
    if isinstance(inputs, (bytes, bytearray, memoryview)):
        check_size(memoryview(inputs).nbytes // 2, limits)  # before the copy; base64 is a third longer
        data = bytes(inputs)
        if not re.fullmatch(rb"(data|https?):[ -~\s]*|[A-Za-z0-9+/_=\s-]+", data):
            check_size(len(data), limits)
            return data
        text = data.decode("ascii")
    elif isinstance(inputs, str):
        text = inputs
    else:
        kind = type(inputs).__name__
        raise BadAudio(f"inputs must be bytes, base64 text, a data: URL or an https URL, and is a {kind}.")
    scheme = text[:8].lstrip().lower()
    if scheme.startswith(("http:", "https:")):
        if not allow_urls:
            raise BadAudio("URLs are not fetched here; send the bytes of the file or their base64.")
        return (fetch_url or partial(fetch, ports=limits.url_ports))(text.strip(), limits.max_bytes)
    if scheme.startswith("data:"):
        text = _base64_of_data_url(text)
    return _decode_base64(text, limits)


def _base64_of_data_url(url: str) -> str:
    header, comma, text = url.partition(",")
    if not comma or not header.rstrip().lower().endswith(";base64"):
        raise BadAudio("The data: URL holds no base64; send data:audio/wav;base64,... or the bytes.")
    return text.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=")


def _decode_base64(text: str, limits: Limits) -> bytes:
    check_size(len(text) // 2, limits)  # before any copy: wrapped lines add far less than the other half
    packed = "".join(text.split()).rstrip("=")
    check_size(len(packed) * 3 // 4, limits)
    packed = packed.replace("-", "+").replace("_", "/") + "=" * (-len(packed) % 4)
    decoded = bytearray()
    try:
        for start in range(0, len(packed), BASE64_BLOCK):  # in one go, other threads would wait seconds for it
            decoded += base64.b64decode(packed[start : start + BASE64_BLOCK], validate=True)
    except ValueError as e:
        raise BadAudio("inputs is text and not base64; send the base64 of the file, a data: URL or the bytes.") from e
    return bytes(decoded)
