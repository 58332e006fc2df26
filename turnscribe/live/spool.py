"""A recording that grows, on disk: a 16-bit WAV file at 16 kHz, so that a session's memory does not grow with it.

Its header says how long it is only in the end. Where the process ended before, `recovered` writes it.
"""

from __future__ import annotations

import io
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
        self._file: IO[bytes] = open(path, "x+b")  # noqa: SIM115
        self._file.write(bytes(HEADER))
        self._lock = threading.Lock()
        self.samples = 0

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE

    def append(self, samples: Waveform) -> None:
        """Raises `OSError` where the disk is full; nothing of the samples is kept then."""
        with self._lock:
            self._file.seek(HEADER + self.samples * SAMPLE_BYTES)
            self._file.write(to_int16(samples).astype("<i2").tobytes())
            self._file.flush()
            self.samples += len(samples)

    def read(self, start: int, stop: int) -> Waveform:
        """The samples from `start` to before `stop`, as a decoded file has them."""
        with self._lock:
            self._file.seek(HEADER + start * SAMPLE_BYTES)
            data = self._file.read((stop - start) * SAMPLE_BYTES)
        samples: Waveform = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(FULL_SCALE)
        return samples

    def wav(self) -> IO[bytes]:
        """The file, with its header, to be read from its beginning; nothing may be appended any more."""
        with self._lock:
            self._file.truncate(HEADER + self.samples * SAMPLE_BYTES)
            self._file.seek(0)
            self._file.write(_header(self.samples * SAMPLE_BYTES))
            self._file.flush()
            self._file.seek(0)
        return self._file

    def close(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


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
