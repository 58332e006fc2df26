"""A server on loopback in a thread, and a handler that does as it is told instead of running models."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import uvicorn

from config import ServerSettings
from server import create_app
from turnscribe.inputs.limits import Limits
from turnscribe.transcript import Chunk, SpeakerText, Transcript, Turn, Word

AUDIO = b"\x00RIFF audio \xff" * 20  # for a handler that does not listen
HUM_BYTES = 32_044  # the server warms up with a second of it

WORDS = (
    Word(" hello", 0.5, 0.9, 0.9, "SPEAKER_00"),
    Word(" there", 1.0, 1.4, 0.8, "SPEAKER_00"),
    Word(" good", 2.0, 2.3, 0.7, "SPEAKER_01"),
    Word(" morning", 2.4, 2.9, 0.6, "SPEAKER_01"),
)
CHUNKS = (
    Chunk(" hello there", 0.5, 1.4, WORDS[:2], "SPEAKER_00", -0.2, 1.1, 0.01, 0.0),
    Chunk(" good morning", 2.0, 2.9, WORDS[2:], "SPEAKER_01", -0.3, 1.2, 0.02, 0.0),
)
TRANSCRIPT = Transcript(
    text="hello there good morning",
    chunks=CHUNKS,
    duration=3.0,
    language="en",
    speakers=(
        SpeakerText("SPEAKER_00", "hello there", 0.5, 1.4),
        SpeakerText("SPEAKER_01", "good morning", 2.0, 2.9),
    ),
    turns=(Turn("SPEAKER_00", 0.5, 1.4), Turn("SPEAKER_01", 2.0, 2.9)),
    timings={"decode": 0.01, "asr": 0.2, "total": 0.25},
)


class FakeHandler:
    """Answers `TRANSCRIPT`; `behave(audio, config, **more)` may do something else first, or raise."""

    def __init__(self, **settings: Any) -> None:
        known = {"asr_model": "fake/whisper", "max_input_bytes": 2**20, "allow_url_inputs": False}
        self.settings = SimpleNamespace(**{**known, **settings})
        self.asr = SimpleNamespace(has_assistant=False, multilingual=True, languages=frozenset({"en", "de"}))
        self.diarizer = object()
        self.limits = Limits()
        self.calls: list[tuple[bytes, Any, dict[str, Any]]] = []
        self.behave: Callable[..., Transcript | None] = lambda audio, config, **more: None

    def transcribe(self, audio: bytes, config: Any, **more: Any) -> Transcript:
        if len(audio) == HUM_BYTES:
            return TRANSCRIPT
        self.calls.append((audio, config, more))
        return self.behave(audio, config, **more) or TRANSCRIPT


class Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        pass


@contextmanager
def serving(
    handler: Any, folder: Path, *, wait: bool = True, settings: dict[str, Any] | None = None
) -> Iterator[httpx.Client]:
    """A client of a server on a free port, whose application is `client.app`."""
    app = create_app(handler, ServerSettings(jobs_folder=folder / "jobs", **(settings or {})))
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(uvicorn.Config(app, log_config=None, access_log=False))
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
