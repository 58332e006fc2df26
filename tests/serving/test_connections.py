"""Slow, silent and greedy clients, against a server with short times."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import uvicorn

from turnscribe.serving.connections import BoundedConnection, most_connections

pytestmark = pytest.mark.serving

ANSWER = b"x" * 50_000_000  # more than the kernel keeps for a client that reads nothing


class Impatient(BoundedConnection):
    most, head_seconds, unread_seconds = 5, 0.5, 0.5
    made: ClassVar[list[Impatient]] = []

    def connection_made(self, transport: Any) -> None:
        self.made.append(self)
        super().connection_made(transport)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    while scope["path"] != "/early":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if not message.get("more_body"):
            break
    if scope["path"] == "/rest":
        return await send_more_than_the_system_takes(scope, send)
    body = ANSWER if scope["path"] == "/large" else b"ok"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_more_than_the_system_takes(scope: Any, send: Any) -> None:
    """And less than what makes asyncio pause."""
    (connection,) = (one for one in Impatient.made if one.client == tuple(scope["client"]))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while not connection.transport.get_write_buffer_size():
        await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
    await send({"type": "http.response.body"})


@pytest.fixture
def server() -> Iterator[uvicorn.Server]:
    config = uvicorn.Config(app, port=0, http=Impatient, lifespan="off", log_level="warning", timeout_keep_alive=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def connect(server: uvicorn.Server) -> socket.socket:
    return socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=10)


def rest(sock: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while block := sock.recv(2**16):
            received += block
    return received


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.02)
    return holds()


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_does_not_come_is_given_up(server: uvicorn.Server, sent: bytes) -> None:
    with connect(server) as sock:
        sock.sendall(sent)
        began = time.monotonic()
        answer = rest(sock)
        assert 0.3 < time.monotonic() - began < 5
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout")
    assert b"No request came within 0.5 s: send it again." in answer
    assert within(5, lambda: not server.server_state.connections)


def test_a_head_at_a_byte_now_and_then_is_given_up(server: uvicorn.Server) -> None:
    with connect(server) as sock, contextlib.suppress(OSError):
        began = time.monotonic()
        for byte in b"GET / HTTP/1.1\r\n" * 100:
            sock.sendall(bytes([byte]))
            time.sleep(0.05)
    assert time.monotonic() - began < 5


def test_a_further_request_has_a_time_of_its_own(server: uvicorn.Server) -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with connect(server) as sock:
        for _ in range(3):
            sock.sendall(request)
            received = b""
            while not received.endswith(b"ok"):
                received += sock.recv(2**16)
            time.sleep(0.3)  # of the 0.5 s, and all three take longer
        sock.sendall(request[:10])
        assert rest(sock).startswith(b"HTTP/1.1 408")


def test_for_one_connection_too_many_the_longest_idle_is_closed(server: uvicorn.Server) -> None:
    with contextlib.ExitStack() as stack:
        sockets = []
        for count in range(1, Impatient.most + 1):
            sockets.append(stack.enter_context(connect(server)))
            assert within(5, lambda count=count: len(server.server_state.connections) == count)
        further = stack.enter_context(connect(server))
        answer = rest(sockets[0])
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable")
        assert b"Retry-After: 5" in answer
        for sock in (sockets[1], further):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert rest(sock).endswith(b"ok")


def test_where_all_are_being_answered_one_too_many_is_refused(server: uvicorn.Server) -> None:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connect(server)) for _ in range(Impatient.most)]
        for sock in sockets:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\n")
        assert within(5, lambda: len(server.server_state.tasks) == Impatient.most)
        with connect(server) as further:
            assert rest(further).startswith(b"HTTP/1.1 503 Service Unavailable")
        for sock in sockets:
            sock.sendall(b"x")
            assert rest(sock).endswith(b"ok")


@pytest.mark.parametrize("pause", [0.0, 0.2])
@pytest.mark.parametrize("path", ["/", "/early"])
def test_a_body_that_is_no_http_ends_its_connection_and_nothing_else(
    server: uvicorn.Server, caplog: pytest.LogCaptureFixture, path: str, pause: float
) -> None:
    with connect(server) as sock:
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        time.sleep(pause)
        sock.sendall(b"g\r\nhello\r\n")
        status = rest(sock).split(b"\r\n")[0]
    assert status == b"HTTP/1.1 400 Bad Request" or (path == "/early" and status == b"HTTP/1.1 200 OK")
    assert within(5, lambda: not server.server_state.connections)
    with connect(server) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert rest(sock).endswith(b"ok")
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


def test_who_does_not_read_an_answer_is_given_up(server: uvicorn.Server) -> None:
    with connect(server) as sock:
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        assert within(5, lambda: bool(server.server_state.connections))
        assert within(10, lambda: not server.server_state.connections)


def test_a_rest_that_nobody_reads_does_not_hold_a_connection_that_closes(server: uvicorn.Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            sock = stack.enter_context(connect(server))
            sock.sendall(b"GET /rest HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert within(5, lambda: any(one.transport.is_closing() for one in server.server_state.connections))
        assert within(10, lambda: not server.server_state.connections)


def test_who_reads_slowly_gets_the_whole_answer(server: uvicorn.Server) -> None:
    with connect(server) as sock:
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = 0
        while block := sock.recv(2**20):
            received += len(block)
            time.sleep(0.02)
    assert received > len(ANSWER)


def test_there_are_no_more_connections_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"now": (256, 512)}
    monkeypatch.setattr("resource.getrlimit", lambda _: limits["now"])
    monkeypatch.setattr("resource.setrlimit", lambda _, wanted: limits.update(now=wanted))
    assert most_connections(100) == 100
    assert most_connections(1000) == 512 - 128
    assert limits["now"] == (512, 512)
