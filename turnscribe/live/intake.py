"""Bytes of a stream, as they come, to samples at 16 kHz. What a piece lacks of its last sample comes in the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from turnscribe.live.container import ContainerFormat, ContainerIntake
from turnscribe.waveform import SAMPLE_RATE, Waveform

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext


@dataclass(frozen=True)
class AudioFormat:
    """One channel of samples without a header: FFmpeg's name of their codec, hertz, and bytes a sample."""

    codec: str
    sample_rate: int
    sample_bytes: int

    def seconds(self, count: int) -> float:
        """How long so many bytes last."""
        return count / self.sample_bytes / self.sample_rate


PCM16 = AudioFormat("pcm_s16le", 24_000, 2)
PCM16_16K = AudioFormat("pcm_s16le", SAMPLE_RATE, 2)
G711_ULAW = AudioFormat("pcm_mulaw", 8_000, 1)
G711_ALAW = AudioFormat("pcm_alaw", 8_000, 1)


class Intake:
    """Of one stream in one format: `take` pieces of any size, then `end`.

    The resampler goes on from piece to piece, so a stream in pieces gives the samples of the same stream in one.
    """

    def __init__(self, format: AudioFormat) -> None:
        self.format = format
        self._rest = b""
        self._decoder = cast("AudioCodecContext", av.CodecContext.create(format.codec, "r"))
        self._decoder.sample_rate = format.sample_rate
        self._decoder.layout = "mono"
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def take(self, data: bytes) -> Waveform:
        """The samples that there are now: some come later, and half a sample waits for its other half."""
        data = self._rest + data
        whole = len(data) - len(data) % self.format.sample_bytes
        self._rest = data[whole:]
        if not whole:
            return np.zeros(0, np.float32)
        return self._resampled(self._decoder.decode(av.Packet(data[:whole])))

    def end(self) -> Waveform:
        """What the resampler held back. Half a sample is none."""
        return self._resampled([None])

    def close(self) -> None:
        """Nothing more is wanted."""

    def _resampled(self, frames: Sequence[av.AudioFrame | None]) -> Waveform:
        parts = []
        for frame in frames:
            if frame is not None:
                frame.pts = None
            parts += [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
        return np.concatenate([np.zeros(0, np.float32), *parts])


def intake_of(format: AudioFormat | ContainerFormat) -> Intake | ContainerIntake:
    """Of a stream that begins."""
    return ContainerIntake(format) if isinstance(format, ContainerFormat) else Intake(format)
