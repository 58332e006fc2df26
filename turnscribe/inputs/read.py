"""What the `inputs` of a request mean: the bytes of a file, their base64, a `data:` URL or an https URL."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from io import BytesIO
from itertools import chain

from turnscribe.errors import BadAudio
from turnscribe.inputs.fetch import fetch
from turnscribe.inputs.limits import DEFAULT_LIMITS, Limits, check_size

TEXT_BLOCK = 2**20  # characters; decoded in one go, much more would keep other threads waiting for seconds

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
    check_size(len(text) // 2, limits)  # before any copy: wrapped lines add far less than the other half
    blocks = (text[start : start + TEXT_BLOCK] for start in range(0, len(text), TEXT_BLOCK))
    return read_text(blocks, limits=limits, allow_urls=allow_urls, fetch_url=fetch_url)


def read_text(
    blocks: Iterator[str],
    *,
    limits: Limits = DEFAULT_LIMITS,
    allow_urls: bool = False,
    fetch_url: FetchUrl | None = None,
) -> bytes:
    """What `inputs` that are text mean, as `read_input` has it, from blocks of it: no copy is made of the whole."""
    first = next(blocks, "")
    scheme = first[:8].lstrip().lower()
    if scheme.startswith(("http:", "https:")):
        if not allow_urls:
            raise BadAudio("URLs are not fetched here; send the bytes of the file or their base64.")
        if next(blocks, ""):
            raise BadAudio(f"The URL is over {TEXT_BLOCK // 1024} KiB; send a shorter one.")
        return (fetch_url or partial(fetch, ports=limits.url_ports))(first.strip(), limits.max_bytes)
    blocks = chain([first], blocks)
    return _decode_base64(_base64_of_data_url(blocks) if scheme.startswith("data:") else blocks, limits)


def replaced(blocks: Iterable[str], pairs: Mapping[str, str]) -> Iterator[str]:
    """`blocks` with each key of `pairs` replaced by its value, those that lie in two blocks too.

    The keys begin with the same character, which no value has.

    >>> "".join(replaced(["a%2", "Bb%", "2Fc%"], {"%2B": "+", "%2F": "/"}))
    'a+b/c%'
    """
    first, longest = next(iter(pairs))[0], max(map(len, pairs))
    left = ""
    for block in chain(blocks, [None]):
        text = left + (block or "")
        cut = len(text) if block is None else text.find(first, max(len(text) - longest + 1, 0))
        text, left = (text, "") if cut < 0 else (text[:cut], text[cut:])
        if first in text:
            for key, value in pairs.items():
                text = text.replace(key, value)
        yield text


def _base64_of_data_url(blocks: Iterator[str]) -> Iterator[str]:
    header, comma, text = next(blocks).partition(",")
    if not comma or not header.rstrip().lower().endswith(";base64"):
        raise BadAudio("The data: URL holds no base64; send data:audio/wav;base64,... or the bytes.")
    return replaced(chain([text], blocks), {"%2B": "+", "%2F": "/", "%3D": "="})


def _decode_base64(blocks: Iterable[str], limits: Limits) -> bytes:
    decoded = BytesIO()  # its value is no copy
    left = ""
    try:
        for block in blocks:
            text = left + "".join(block.split())
            packed = text.rstrip("=")
            if "=" in packed:
                raise ValueError("padding before the end")
            whole = len(packed) // 4 * 4
            decoded.write(_decoded(packed[:whole]))
            left = packed[whole:] + "=" * (len(text) > len(packed))  # more of them say no more
            check_size(decoded.tell(), limits)
        decoded.write(_decoded(left.rstrip("=")))
    except ValueError as e:
        if isinstance(e, BadAudio):
            raise
        raise BadAudio("inputs is text and not base64; send the base64 of the file, a data: URL or the bytes.") from e
    check_size(decoded.tell(), limits)
    return decoded.getvalue()


def _decoded(packed: str) -> bytes:
    packed = packed.replace("-", "+").replace("_", "/") + "=" * (-len(packed) % 4)
    return base64.b64decode(packed, validate=True)
