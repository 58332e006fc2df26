"""Pieces of a growing file, as a browser's MediaRecorder gives them, to samples at 16 kHz.

The demuxer asks for bytes when it needs some, and may want more than there are. So it runs in a thread of its own,
which waits in `read`; once it waits there, everything that has come is decoded.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import av
import numpy as np

from turnscribe.errors import BadAudio
from turnscribe.waveform import SAMPLE_RATE, Waveform

CODEC = "opus"


@dataclass(frozen=True)
class ContainerFormat:
    """What a client calls it, and FFmpeg's name of what takes it apart."""

    name: str
    demuxer: str


WEBM = ContainerFormat("webm", "matroska")
OGG = ContainerFormat("ogg", "ogg")


class ContainerIntake:
    """Of one file: `take` its bytes in order, in pieces of any size, then `end`. As `Intake` is, of bare samples."""

    def __init__(self, format: ContainerFormat) -> None:
        self.format = format
        self._changed = threading.Condition()  # guards all below
        self._bytes = b""
        self._ended = self._waits = self._done = False
        self._parts: list[Waveform] = []
        self._failure: str | None = None
        self._thread: threading.Thread | None = None

    def take(self, data: bytes) -> Waveform:
        """The samples that there are now. Raises `BadAudio` where the bytes go on no file of this format."""
        return self._given(data)

    def end(self) -> Waveform:
        """The samples that were held back, where there are some: half a packet is none."""
        if self._thread is None:
            return np.zeros(0, np.float32)
        try:
            return self._given(None)
        except BadAudio:  # said before, or a file that breaks off
            return self._taken()

    def close(self) -> None:
        """Nothing more is wanted; waits for nothing."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def read(self, size: int) -> bytes:
        """For the demuxer, in its thread."""
        with self._changed:
            while not (self._bytes or self._ended):
                self._waits = True
                self._changed.notify_all()
                self._changed.wait()
            data, self._bytes = self._bytes[:size], self._bytes[size:]
            return data

    def _given(self, data: bytes | None) -> Waveform:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._decode, name=f"live {self.format.name}", daemon=True)
                self._thread.start()
            if data is None:
                self._ended = True
            elif not self._done:
                self._bytes += data
            self._waits = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done or self._waits)
            if self._failure is not None:
                raise BadAudio(self._failure)
            return self._taken()

    def _taken(self) -> Waveform:
        parts, self._parts = self._parts, []
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def _decode(self) -> None:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        try:
            with av.open(self, "r", format=self.format.demuxer, metadata_errors="ignore") as container:
                if container.streams.audio[0].codec_context.name != CODEC:
                    raise ValueError("its first audio track is not Opus")
                for frame in container.decode(audio=0):
                    frame.pts = None
                    for part in resampler.resample(frame):
                        self._parts.append(part.to_ndarray()[0])
                for part in resampler.resample(None):
                    self._parts.append(part.to_ndarray()[0])
        except Exception:
            self._failure = (
                f"The audio cannot be read as {self.format.name} with Opus: send the pieces of one file in their "
                "order, the first one with its header."
            )
        finally:
            with self._changed:
                self._done, self._bytes = True, b""
                self._changed.notify_all()
