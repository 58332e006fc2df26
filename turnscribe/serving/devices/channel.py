"""What the server and a device's process say to each other, over a Unix socket.

A recording is not among the messages: it is in a file without a name, in memory, and the open file goes across. So
its bytes are copied twice, once into the file and once out of it. The file counts as memory until it is read.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from turnscribe.asr.capabilities import Capabilities
from turnscribe.devices import Running
from turnscribe.errors import TurnscribeError
from turnscribe.listener import Estimate
from turnscribe.pipeline import LoadPipeline, Voices
from turnscribe.request import Request
from turnscribe.settings import ModelSettings
from turnscribe.transcript import Chunk, Transcript


@dataclass(frozen=True)
class Begin:
    """To the process, once: load the models, and warm them up with a request."""

    load: LoadPipeline  # a function of a module, or a `partial` of one: it is named, not sent
    settings: ModelSettings
    first_request: Request
    needs_gpu: bool


@dataclass(frozen=True)
class VoicesIn:
    """What is asked of a file of float32 samples: who speaks when in them, and what each sounds like."""


@dataclass(frozen=True)
class KnownVoices:
    """What is asked of a file of clips, one behind the other: each person's voice. Names, and sizes in bytes."""

    sizes: tuple[tuple[str, int], ...]


Work: TypeAlias = Request | VoicesIn | KnownVoices
Result: TypeAlias = Transcript | Voices | dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Start:
    """To the process, with the file that the work is on. `number` names the request in what follows."""

    number: int
    work: Work


@dataclass(frozen=True)
class Stop:
    """To the process: nobody waits for this request any more."""

    number: int


@dataclass(frozen=True)
class Ready:
    """From the process: it takes requests."""

    capabilities: Capabilities
    has_diarizer: bool
    voice_similarity: float | None
    running: Running | None


@dataclass(frozen=True)
class LoadFailed:
    """From the process: the sentence that says why it cannot take any."""

    reason: str


@dataclass(frozen=True)
class Progress:
    number: int
    share: float


@dataclass(frozen=True)
class Estimated:
    number: int
    estimate: Estimate


@dataclass(frozen=True)
class Stage:
    number: int
    name: str
    over: bool = False


@dataclass(frozen=True)
class Further:
    number: int
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True)
class Answer:
    number: int
    result: Result


@dataclass(frozen=True)
class Failure:
    """What was raised in the process, without its frames."""

    number: int
    kind: type[TurnscribeError]
    text: str


News: TypeAlias = Progress | Estimated | Stage | Further | Answer | Failure  # of a request
Message: TypeAlias = Begin | Start | Stop | Ready | LoadFailed | News


class Channel:
    """One end. `send` may be called in any thread, `receive` in one at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Message, file: int | None = None) -> None:
        """A message, and with a `Start` a file's descriptor. Raises `OSError` where nobody is at the other end."""
        with self._sending:
            self._connection.send(message)
            if file is not None:
                send_handle(self._connection, file, None)

    def receive(self) -> tuple[Message, int | None]:
        """The next message, and the descriptor that came with it, which is the caller's to close.

        Raises `EOFError` or `OSError` where nobody is at the other end any more.
        """
        message: Message = self._connection.recv()
        return message, recv_handle(self._connection) if isinstance(message, Start) else None

    def close(self) -> None:
        """For both ends; whoever is in `send` or `receive` comes back from it."""
        with (
            socket.fromfd(self._connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as own,
            suppress(OSError),  # the other end is gone already
        ):
            own.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """What it takes of the system; after `close`, and when nobody is in `receive` any more."""
        with self._sending:  # nobody is to write to a descriptor that is another file's by then
            self._connection.close()


@contextmanager
def file_of(audio: bytes) -> Iterator[int]:
    """The descriptor of a file in memory that holds `audio`; it is closed here in the end."""
    descriptor = os.memfd_create("recording")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(audio)
        yield descriptor
    finally:
        os.close(descriptor)


def contents_of(descriptor: int) -> bytes:
    """What is in the file, which is closed."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read()
