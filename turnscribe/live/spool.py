"""A recording that grows, on disk: a 16-bit WAV file at 16 kHz, so that a session's memory does not grow with it.

Its header says how long it is only in the end. Where the process ended before, `recovered` writes it.
"""

from __future__ import annotations

import io
import os
import struct
import threading
from pathlib import Path
from typing import IO

import numpy as np

from turnscribe.waveform import FULL_SCALE, SAMPLE_RATE, Waveform, to_int16

HEADER = 44  # bytes
SAMPLE_BYTES = 2


class Spool:
    """Samples are appended in one thread and read in any. `wav` is the whole file; `close` deletes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "x+b", buffering=0, opener=_for_this_user)  # noqa: SIM115
        self._lock = threading.Lock()
        self.samples = 0
        self._write(bytes(HEADER), 0)

    def append(self, samples: Waveform) -> None:
        """Raises `OSError` where the disk is full, and `ValueError` once it is closed; the samples are none of it."""
        data = to_int16(samples).astype("<i2").tobytes()
        with self._lock:
            self._check_open()
            self._write(data, HEADER + self.samples * SAMPLE_BYTES)
            self.samples += len(samples)

    def read(self, start: int, stop: int) -> Waveform:
        """The samples from `start` to before `stop`, as a decoded file has them."""
        with self._lock:
            self._check_open()
            self._file.seek(HEADER + start * SAMPLE_BYTES)
            data = self._file.read((stop - start) * SAMPLE_BYTES)
        samples: Waveform = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(FULL_SCALE)
        return samples

    def wav(self) -> IO[bytes]:
        """The file, with its header, opened anew; nothing may be appended any more."""
        with self._lock:
            self._file.truncate(HEADER + self.samples * SAMPLE_BYTES)
            self._write(_header(self.samples * SAMPLE_BYTES), 0)
        return open(self.path, "rb")

    def close(self, *, keep: bool = False) -> None:
        """Deletes the file, unless it is to be kept."""
        with self._lock:
            self._file.close()
        if not keep:
            self.path.unlink(missing_ok=True)

    def _check_open(self) -> None:
        if self._file.closed:
            raise ValueError("the spool is closed")

    def _write(self, data: bytes, place: int) -> None:
        self._file.seek(place)
        while data:
            data = data[self._file.write(data) :]


def _for_this_user(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def recovered(path: Path) -> IO[bytes] | None:
    """The file that a spool left behind, with its header; `None` where there is no sample in it."""
    count = (path.stat().st_size - HEADER) // SAMPLE_BYTES
    if count <= 0:
        return None
    file = open(path, "r+b")  # noqa: SIM115
    file.write(_header(count * SAMPLE_BYTES))
    file.truncate(HEADER + count * SAMPLE_BYTES)
    file.seek(0)
    return file


def _header(data_bytes: int) -> bytes:
    """Of a 16-bit mono WAV file with so many bytes of samples."""
    header = io.BytesIO()
    header.write(b"RIFF" + struct.pack("<I", HEADER - 8 + data_bytes) + b"WAVEfmt ")
    header.write(struct.pack("<IHHIIHH", 16, 1, 1, SAMPLE_RATE, SAMPLE_RATE * SAMPLE_BYTES, SAMPLE_BYTES, 16))
    header.write(b"data" + struct.pack("<I", data_bytes))
    return header.getvalue()
