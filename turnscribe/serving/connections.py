"""Connections of clients that are slow, silent or many: each has its time, and there are only as many as can be held.

uvicorn gives a connection without a request all the time in the world, and one whose client does not read its answer.
What a body may take is `middleware/body_limit.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from turnscribe.serving.problems import Busy, Problem, TooSlow

try:
    import fcntl
    import resource
    import termios

    POSIX = True
except ImportError:  # Windows: how much the system has queued is not known there, nor are files limited
    POSIX = False

HEAD_SECONDS = 15.0  # from a connection, or the first byte of a further request, to the end of the request's head
UNREAD_SECONDS = 30.0  # after which a client has to have read some of its answer
SLOWEST_READER = 1024  # bytes a second
CLOSING_SECONDS = 10.0
OTHER_DESCRIPTORS = 128  # files and sockets that are no connections
# New connections that asyncio takes in one round of its loop: those of the few rounds until one too many is closed
# again have descriptors too. The system's own queue is longer.
ACCEPTED_AT_ONCE = 16
QUEUED = 2048

log = logging.getLogger("turnscribe.server")


class BoundedConnection(H11Protocol):
    """`most` is how many there may be. For one more, that which is idle longest is closed, or itself if none is.

    Times are seconds.
    """

    most = 1000
    head_seconds = HEAD_SECONDS
    unread_seconds = UNREAD_SECONDS
    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        if len(self.connections) > self.most:
            theirs = [one for one in self.connections if isinstance(one, BoundedConnection)]
            idle = [one for one in theirs if not one._is_answering and not one.transport.is_closing()]
            problem = Busy("The server has as many connections as it can hold: try again later.", retry_after_s=5)
            min(idle, key=lambda one: one._idle_since)._refuse(problem)
        if not transport.is_closing():
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.transport.get_protocol() is not self:  # a WebSocket's from here on
            return
        if self._is_answering:
            self._stop_head_timer()
        elif not self.transport.is_closing():
            self._wait_for_head()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._stop_timers()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self.transport.get_write_buffer_size():  # closing would wait for its end
            self._watch_reader()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP; uvicorn does not ask whether another answer is under way, or was given."""
        if self._is_answering and self.cycle is not None:
            self.cycle.disconnected = True  # nobody is told anything else
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._is_answering:
            self._stop_unread_timer()

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            problem = TooSlow(f"No request came within {self.head_seconds:g} s: send it again.")
            self._head_timer = self.loop.call_later(self.head_seconds, self._refuse, problem)

    def _watch_reader(self) -> None:
        """Give the client up unless it has read enough by then of what it has not read now."""
        unread = self._unread_bytes()

        def look() -> None:
            if not self.transport.get_write_buffer_size():
                return
            if unread - self._unread_bytes() < SLOWEST_READER * self.unread_seconds:
                self.transport.abort()
            else:
                self._watch_reader()

        self._stop_unread_timer()
        self._unread_timer = self.loop.call_later(self.unread_seconds, look)

    def _unread_bytes(self) -> int:
        """What waits here, and in the system, which may take no more from here for long while the client reads."""
        queued = b"\0" * 4
        with contextlib.suppress(OSError, AttributeError):  # not every system tells
            if POSIX:
                queued = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
        return self.transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)

    def _refuse(self, problem: Problem) -> None:
        if self.transport.is_closing():
            return
        body = json.dumps({"error": problem.message}).encode()
        headers = {"Content-Type": "application/json", "Content-Length": len(body), "Connection": "close"}
        lines = [f"{name}: {value}" for name, value in {**headers, **problem.headers}.items()]
        status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"
        self.transport.write("\r\n".join([status, *lines, "", ""]).encode() + body)
        self.transport.close()

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        self._stop_unread_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


def bounded_websocket() -> type[asyncio.Protocol]:
    """uvicorn's WebSockets, which are gone `CLOSING_SECONDS` after their end.

    One whose client does not read what it was sent would stay open for ever.
    """
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    class BoundedWebSocket(WebSocketsSansIOProtocol):
        async def run_asgi(self) -> None:
            await super().run_asgi()
            self.loop.call_later(CLOSING_SECONDS, self.transport.abort)

    return BoundedWebSocket


def lengthen_queue(descriptor: int) -> None:
    """Let the system keep `QUEUED` connections that a listening socket has not taken yet."""
    if POSIX:
        with socket.socket(fileno=os.dup(descriptor)) as listener:
            listener.listen(QUEUED)


def most_connections(wanted: int) -> int:
    """As many as wanted, or as the process may have descriptors for; the soft limit is raised as far as need be."""
    if not POSIX:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OTHER_DESCRIPTORS
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = max(min(wanted, soft - OTHER_DESCRIPTORS), 1)
    if most < wanted:
        log.warning("%d connections at a time, not %d: there are %d descriptors (ulimit -n)", most, wanted, soft)
    return most
