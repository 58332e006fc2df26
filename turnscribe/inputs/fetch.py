"""https to public addresses only: `fetch` gets a file, `post` sends a message.

A URL must not become anybody's way into a private network. Each hop of a redirect is taken apart, resolved
and checked anew; every address a name has must be public, and the connection goes to the very address that
was checked, so a name that changes its answer in between gains nothing. There are no proxies, cookies,
credentials, compression or plain http.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

from turnscribe.errors import BadAudio
from turnscribe.inputs.addresses import Resolve, public_address, resolve_host
from turnscribe.inputs.limits import HTTPS_PORT, Deadline

MAX_REDIRECTS = 5
MAX_SECONDS = 60.0  # for all hops together; only the resolver's own time-out lies outside
BLOCK_BYTES = 2**16
REDIRECTS = (301, 302, 303, 307, 308)
HTTPS = (HTTPS_PORT,)

Connect = Callable[[str, int, float], socket.socket]  # address, port, time-out in seconds


def open_connection(address: str, port: int, timeout: float) -> socket.socket:
    """A TCP connection to an address."""
    return socket.create_connection((address, port), timeout=timeout)


@dataclass(frozen=True)
class Network:
    """How a server is reached. A test passes its own; the check of the addresses stays in force."""

    resolve: Resolve = resolve_host
    connect: Connect = open_connection
    certificates: ssl.SSLContext | None = None  # which are trusted; None: those that the system trusts


INTERNET = Network()


@dataclass(frozen=True)
class _Message:
    """What one request to a server says."""

    method: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def fetch(
    url: str,
    max_bytes: int,
    *,
    max_seconds: float = MAX_SECONDS,
    ports: Collection[int] = HTTPS,
    network: Network = INTERNET,
) -> bytes:
    """The body behind an https `url` at one of `ports`, at most `max_bytes` long, within `max_seconds`.

    Raises `BadAudio`, which names at most the host: the rest of a URL is often a secret.
    """
    deadline = Deadline(max_seconds)
    for _ in range(MAX_REDIRECTS + 1):
        with _exchange(network, deadline, url, ports, _Message("GET")) as (response, host):
            if response.status in REDIRECTS:
                url = _redirected(url, response.getheader("Location") or "")
                continue
            return _body(response, host, max_bytes)
    raise BadAudio(f"The URL redirects more than {MAX_REDIRECTS} times; send the final URL.")


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    max_seconds: float = MAX_SECONDS,
    ports: Collection[int] = HTTPS,
    network: Network = INTERNET,
) -> int:
    """Send `body` to an https `url` of a public address at one of `ports`, following no redirect.

    Returns the answer's status. Raises `BadAudio`, which names at most the host.
    """
    with _exchange(network, Deadline(max_seconds), url, ports, _Message("POST", body, headers)) as (response, _):
        return response.status


def check_url(url: str, ports: Collection[int] = HTTPS) -> SplitResult:
    """The parts of an https URL with a plain host name at one of `ports`; `BadAudio` for anything else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", HTTPS_PORT if parts.port is None else parts.port
    except ValueError as e:
        raise BadAudio("The URL cannot be read; send an https URL.") from e
    if parts.scheme != "https":
        raise BadAudio("Only https URLs are fetched; send an https URL or the audio itself.")
    if "@" in parts.netloc:
        raise BadAudio("URLs with a user name or password are not fetched; send a presigned https URL.")
    if not re.fullmatch(r"[!-~]+", url) or not re.fullmatch(r"[a-z0-9.:_-]+", host):
        raise BadAudio("The URL must be plain ASCII with a host; percent-encode everything else.")
    if port not in ports:
        raise BadAudio(f"URLs at port {port} are not fetched; send one at {' or '.join(map(str, sorted(ports)))}.")
    return parts


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as e:
        raise BadAudio("The URL redirects to what is no URL; send the final URL.") from e


@contextlib.contextmanager
def _exchange(
    network: Network, deadline: Deadline, url: str, ports: Collection[int], message: _Message
) -> Iterator[tuple[http.client.HTTPResponse, str]]:
    """The response of the server of `url`, and its host. What goes wrong, in the block too, is one sentence."""
    target = check_url(url, ports)
    host, port = target.hostname or "", target.port or HTTPS_PORT
    address = public_address(host, port, network.resolve)
    try:
        with contextlib.ExitStack() as stack:
            sock = network.connect(address, port, max(0.001, deadline.remaining))
            stack.callback(sock.close)
            stack.enter_context(_closing_at(deadline, sock))
            secure = (network.certificates or ssl.create_default_context()).wrap_socket(
                sock, server_hostname=host, suppress_ragged_eofs=False
            )
            stack.callback(secure.close)
            yield _send(secure, target, host, message), host
    except (OSError, http.client.HTTPException) as e:
        if deadline.passed:
            raise BadAudio(f"The server at {host} did not deliver within {deadline.seconds:g} s.") from e
        raise BadAudio(f"The audio could not be fetched over https from {host}.") from e


@contextlib.contextmanager
def _closing_at(deadline: Deadline, sock: socket.socket) -> Iterator[None]:
    """Shut the connection at `deadline`: a time-out per read would let a server drip bytes for ever."""
    twin = sock.dup()  # TLS takes the socket over; its twin still reaches the same connection

    def shut() -> None:
        with contextlib.suppress(OSError):
            twin.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline.remaining), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        twin.close()


def _send(secure: ssl.SSLSocket, target: SplitResult, host: str, message: _Message) -> http.client.HTTPResponse:
    """Send `message` over a connection that stands; the head of the response has been read."""
    connection = http.client.HTTPSConnection(host, target.port or HTTPS_PORT)
    connection.sock = secure  # already connected: http.client must not resolve the name again
    connection.auto_open = 0
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    headers = {"Accept-Encoding": "identity", "User-Agent": "turnscribe", **message.headers}
    connection.request(message.method, path, body=message.body, headers=headers)
    return connection.getresponse()


def _body(response: http.client.HTTPResponse, host: str, max_bytes: int) -> bytes:
    """The whole body; `BadAudio` when it is not a plain 200, is over `max_bytes` or ends early."""
    if response.status != 200:
        raise BadAudio(f"The server at {host} answered {response.status} instead of the audio.")
    if response.getheader("Content-Encoding", "identity").lower() != "identity":
        raise BadAudio(f"The server at {host} compresses its answer; send the audio itself instead.")
    declared = response.length  # None when chunked
    body = bytearray()
    while (declared or 0) <= max_bytes and len(body) <= max_bytes:
        block = response.read1(BLOCK_BYTES)
        if not block:
            if declared is not None and len(body) < declared:
                raise http.client.IncompleteRead(b"", declared - len(body))
            return bytes(body)
        body += block
    raise BadAudio(f"The audio at {host} is over {max_bytes / 2**20:g} MiB; send a shorter or smaller file.")
