"""One request as the bytes of a connection, and what the generators know of the server. Sends nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

End: TypeAlias = Literal["read", "half-close", "leave", "reset", "unread"]


@dataclass(frozen=True)
class Attack:
    """`pieces` are sent one after the other with `pause_s` between them; then the connection comes to its `end`.

    `read` waits for the answer, `half-close` too, after it has said that nothing more comes; `leave` and `reset` are
    gone after `hold_s`; `unread` holds the connection so long without reading. `owed` says that there has to be an
    answer.
    """

    pieces: Iterable[bytes]
    pause_s: float = 0.0
    end: End = "read"
    hold_s: float = 0.0
    owed: bool = True
    method: str = "POST"


@dataclass(frozen=True)
class Marks:
    """Texts that must not come to light. The first three must be in no answer and no log, `field` in no log."""

    key: str
    token: str
    audio: str
    field: str

    @property
    def secret(self) -> tuple[str, ...]:
        return (self.key, self.token, self.audio)


@dataclass(frozen=True)
class Sizes:
    """How much is too much: by default over every limit of the server's, and quick to send."""

    nesting: int = 30_000
    tokens: int = 200_000
    digits: int = 20_000
    text: int = 300_000  # characters
    fields: int = 400
    files: int = 80
    parameters: int = 120_000  # bytes of one field
    header: int = 100_000  # bytes of one line
    headers: int = 400


@dataclass
class Ground:
    """What the generators know: an address that must never be called, a file that must never be read, recordings."""

    marks: Marks
    listener: int  # the port on loopback
    secret_file: str
    recordings: Mapping[str, bytes]  # by suffix: short and sound
    sizes: Sizes = Sizes()
    jobs: list[str] = field(default_factory=lambda: ["job_none", "..", "%00", "%F0%9F%98%80"])

    def urls(self) -> Sequence[str]:
        """Private ones, in the spellings that filters have missed."""
        port = self.listener
        return (
            f"https://127.0.0.1:{port}/a.wav",
            f"http://127.0.0.1:{port}/a.wav",
            f"https://localhost:{port}/a.wav",
            f"https://[::1]:{port}/a.wav",
            f"https://[::ffff:127.0.0.1]:{port}/a.wav",
            f"https://2130706433:{port}/a.wav",
            f"https://0x7f000001:{port}/a.wav",
            f"https://127.1:{port}/a.wav",
            f"https://0:{port}/a.wav",
            f"https://user@127.0.0.1:{port}/a.wav",
            f"HTTPS://LOCALHOST.:{port}/a.wav",
            f"file://{self.secret_file}",
            self.secret_file,
        )


Generator: TypeAlias = Callable[[Ground, random.Random], Attack]
PATHS = ("/", "/predict", "/v1/audio/transcriptions", "/api/v1/audio/translations", "/v1/jobs")


def head(
    ground: Ground,
    chosen: random.Random,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
) -> bytes:
    """The head of a request that mostly has the key. Nothing of `headers` is checked."""
    lines = [f"{method} {path} HTTP/1.1", "Host: server", "Connection: close"]
    if chosen.random() < 0.95:
        lines.append(f"Authorization: Bearer {ground.marks.key}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def post(ground: Ground, chosen: random.Random, path: str, media_type: str, body: bytes) -> Attack:
    """A body with its right length."""
    headers = {"Content-Type": media_type, "Content-Length": str(len(body))}
    return Attack((head(ground, chosen, path, headers), body))
