"""From the `inputs` of a request to the bytes of a file: bytes, base64, `data:` URLs, https URLs.

A URL must not become anybody's way into a private network. Each hop of a redirect is taken apart, resolved
and checked anew; every address a name has must be public, and the connection goes to the very address that
was checked, so a name that changes its answer in between gains nothing. It knows no proxies, cookies,
credentials, compression or plain http, and it does not know what audio is.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from turnscribe.errors import BadAudio
from turnscribe.inputs.decode import DEFAULT_LIMITS, Limits, check_size

MAX_REDIRECTS = 5
MAX_SECONDS = 60.0  # for all hops together; only the resolver's own time-out lies outside
BLOCK_BYTES = 2**16
BASE64_BLOCK = 2**20  # characters, a multiple of 4

Resolve = Callable[[str, int], Sequence[str]]
Connect = Callable[[str, int, float], socket.socket]


def read_input(
    inputs: object,
    *,
    limits: Limits = DEFAULT_LIMITS,
    allow_urls: bool = False,
    fetch_url: Callable[[str, int], bytes] | None = None,
) -> bytes:
    """The bytes of the file that a request's `inputs` mean, at most `limits.max_bytes` of them.

    Text is a `data:` URL, an https URL where `allow_urls`, or base64 (standard or url-safe, lines wrapped or
    not, padded or not). Bytes that hold nothing but such text count as text too, since one serving container
    passes base64 on that way; every audio format has a byte outside that alphabet in its first few dozen, and
    so has real headerless PCM. `fetch_url(url, max_bytes)` replaces `fetch`. Raises `BadAudio`.
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
        return (fetch_url or fetch)(text.strip(), limits.max_bytes)
    if scheme.startswith("data:"):
        header, comma, text = text.partition(",")
        if not comma or not header.rstrip().lower().endswith(";base64"):
            raise BadAudio("The data: URL holds no base64; send data:audio/wav;base64,... or the bytes.")
        text = text.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=")
    return _from_base64(text, limits)


def fetch(
    url: str,
    max_bytes: int,
    *,
    max_seconds: float = MAX_SECONDS,
    resolve: Resolve | None = None,
    connect: Connect | None = None,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """The body behind an https `url`, at most `max_bytes` long, within `max_seconds`.

    `resolve(host, port)` gives addresses, `connect(address, port, timeout)` a connected socket and `tls` says
    which certificates are trusted; a test passes its own, and the check of the addresses stays in force.
    Raises `BadAudio`, which names at most the host: the rest of a URL is often a secret.
    """
    way = _Way(max_seconds, resolve or _resolve, connect or _connect, tls)
    for _ in range(MAX_REDIRECTS + 1):
        with _answer(way, "GET", url) as (answer, host):
            if answer.status in (301, 302, 303, 307, 308):
                url = urljoin(url, answer.getheader("Location") or "")
                continue
            return _body(answer, host, max_bytes)
    raise BadAudio(f"The URL redirects more than {MAX_REDIRECTS} times; send the final URL.")


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    max_seconds: float = MAX_SECONDS,
    resolve: Resolve | None = None,
    connect: Connect | None = None,
    tls: ssl.SSLContext | None = None,
) -> int:
    """Send `body` to an https `url` of a public address, following nothing, and return the answer's status.

    The other arguments are `fetch`'s. Raises `BadAudio`, which names at most the host.
    """
    way = _Way(max_seconds, resolve or _resolve, connect or _connect, tls)
    with _answer(way, "POST", url, body, headers) as (answer, _):
        return answer.status


@dataclass
class _Way:
    """How to reach a server, and by when."""

    max_seconds: float
    resolve: Resolve
    connect: Connect
    tls: ssl.SSLContext | None
    deadline: float = 0.0

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.max_seconds


@contextlib.contextmanager
def _answer(
    way: _Way, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Iterator[tuple[http.client.HTTPResponse, str]]:
    """The answer of one hop, and its host; what goes wrong, inside too, is one sentence."""
    target = check_url(url)
    host, port = target.hostname or "", target.port or 443
    address = _public_address(host, port, way.resolve)
    try:
        with contextlib.ExitStack() as stack:
            sock = way.connect(address, port, max(0.001, way.deadline - time.monotonic()))
            stack.callback(sock.close)
            stack.enter_context(_closing_at(way.deadline, sock))
            secure = (way.tls or ssl.create_default_context()).wrap_socket(
                sock, server_hostname=host, suppress_ragged_eofs=False
            )
            stack.callback(secure.close)
            yield _request(secure, target, host, method, body, headers or {}), host
    except (OSError, http.client.HTTPException) as e:
        if time.monotonic() >= way.deadline:
            raise BadAudio(f"The server at {host} did not deliver within {way.max_seconds:g} s.") from e
        raise BadAudio(f"The audio could not be fetched over https from {host}.") from e


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address is global unicast, looking through mapped, NAT64 and 6to4 forms.

    >>> is_public("1.1.1.1"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1")
    (True, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in ipaddress.IPv6Network("64:ff9b::/96"):  # RFC 6052: the last 32 bits are an IPv4 address
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
        return ip.is_global and not ip.is_multicast and ip in ipaddress.IPv6Network("2000::/3")
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _from_base64(text: str, limits: Limits) -> bytes:
    check_size(len(text) // 2, limits)  # before any copy: wrapped lines add far less than the other half
    packed = "".join(text.split()).rstrip("=")
    check_size(len(packed) * 3 // 4, limits)
    wrong = BadAudio("inputs is text and not base64; send the base64 of the file, a data: URL or the bytes.")
    packed = packed.replace("-", "+").replace("_", "/") + "=" * (-len(packed) % 4)
    decoded = bytearray()
    try:
        for start in range(0, len(packed), BASE64_BLOCK):  # in one go, other threads would wait seconds for it
            decoded += base64.b64decode(packed[start : start + BASE64_BLOCK], validate=True)
    except ValueError as e:
        raise wrong from e
    return bytes(decoded)


def check_url(url: str) -> SplitResult:
    """The parts of an https URL with a plain host name; `BadAudio` for anything else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as e:
        raise BadAudio("The URL cannot be read; send an https URL.") from e
    if parts.scheme != "https":
        raise BadAudio("Only https URLs are fetched; send an https URL or the audio itself.")
    if "@" in parts.netloc:
        raise BadAudio("URLs with a user name or password are not fetched; send a presigned https URL.")
    if not re.fullmatch(r"[!-~]+", url) or not re.fullmatch(r"[a-z0-9.:_-]+", host) or port == 0:
        raise BadAudio("The URL must be plain ASCII with a host; percent-encode everything else.")
    return parts


def _public_address(host: str, port: int, resolve: Resolve) -> str:
    """The first address of `host`, once all of them are known to be public."""
    try:
        addresses = list(resolve(host, port))
    except (OSError, UnicodeError) as e:
        raise BadAudio(f"The host {host} has no address; check the URL.") from e
    if not addresses or not all(is_public(address) for address in addresses):
        raise BadAudio(f"The host {host} is not a public address; send the audio itself instead.")
    return addresses[0]


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(sockaddr[0]) for *_, sockaddr in found]


def _connect(address: str, port: int, timeout: float) -> socket.socket:
    return socket.create_connection((address, port), timeout=timeout)


@contextlib.contextmanager
def _closing_at(deadline: float, sock: socket.socket) -> Iterator[None]:
    """Shut the connection at `deadline`: a time-out per read would let a server drip bytes for ever."""
    twin = sock.dup()  # TLS takes the socket over; its twin still reaches the same connection

    def shut() -> None:
        with contextlib.suppress(OSError):
            twin.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        twin.close()


def _request(
    secure: ssl.SSLSocket, target: SplitResult, host: str, method: str, body: bytes | None, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    connection = http.client.HTTPSConnection(host, target.port or 443)
    connection.sock = secure  # already connected: http.client must not resolve the name again
    connection.auto_open = 0
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    ours = {"Accept-Encoding": "identity", "User-Agent": "turnscribe"}
    connection.request(method, path, body=body, headers={**ours, **headers})
    return connection.getresponse()


def _body(answer: http.client.HTTPResponse, host: str, max_bytes: int) -> bytes:
    """The whole body; `BadAudio` when it is not a plain 200, is over `max_bytes` or ends early."""
    if answer.status != 200:
        raise BadAudio(f"The server at {host} answered {answer.status} instead of the audio.")
    if answer.getheader("Content-Encoding", "identity").lower() != "identity":
        raise BadAudio(f"The server at {host} compresses its answer; send the audio itself instead.")
    declared = answer.length  # None when chunked
    body = bytearray()
    while (declared or 0) <= max_bytes and len(body) <= max_bytes:
        block = answer.read1(BLOCK_BYTES)
        if not block:
            if declared is not None and len(body) < declared:
                raise http.client.IncompleteRead(b"", declared - len(body))
            return bytes(body)
        body += block
    raise BadAudio(f"The audio at {host} is over {max_bytes / 2**20:g} MiB; send a shorter or smaller file.")
