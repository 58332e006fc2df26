"""A server on loopback in a thread."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from turnscribe.serving.app import create_app
from turnscribe.serving.log import WebSocketLines
from turnscribe.serving.server import configured
from turnscribe.serving.tracing.spans import NO_TRACING, Tracing
from turnscribe.settings import ServerSettings


class Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        pass


def post_nothing(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """In place of a webhook: no test calls anybody outside."""
    return 200


@contextmanager
def serving(
    pipeline: Any,
    folder: Path,
    *,
    wait: bool = True,
    settings: dict[str, Any] | None = None,
    tracing: Tracing = NO_TRACING,
) -> Iterator[httpx.Client]:
    """A client of a server on a free port, whose application is `client.app`."""
    own = ServerSettings(jobs_folder=folder / "jobs", **(settings or {}))
    app = create_app(pipeline, own, post=post_nothing, tracing=tracing)
    listener = socket.create_server(("127.0.0.1", 0))
    logging.getLogger("uvicorn.error").addFilter(WebSocketLines())
    server = Server(configured(app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=60) as client:
            if wait:
                until(lambda: client.get("/health").status_code == 200)
            client.app = app  # type: ignore[attr-defined]
            yield client
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server did not end"


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What `condition` returns, once it is true."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if value := condition():
                return value
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
