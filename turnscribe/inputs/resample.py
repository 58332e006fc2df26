"""Decoded frames of any kind in, 16-bit samples at 16 kHz out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from turnscribe.inputs.limits import Limits, check_duration, check_rate_and_channels
from turnscribe.waveform import FULL_SCALE, SAMPLE_RATE

if TYPE_CHECKING:
    from av import AudioFifo, AudioFrame, AudioResampler

GAP_SECONDS = 0.25  # a hole in the timestamps longer than this becomes silence, so later words keep their times
BLOCK_SAMPLES = 2**16  # decoded frames are resampled in blocks of this many; frame by frame takes 1.4 x as long


class FrameFormat(NamedTuple):
    """What the frames of one stretch of a file have in common."""

    samples: str  # FFmpeg's name, such as fltp
    layout: str  # of the channels, such as stereo
    rate: int  # Hz


class Resampler:
    """Takes decoded frames, resamples them in blocks and keeps the samples, at most `limits.max_seconds` of them.

    Channels are mixed in 16 bits: FFmpeg then scales the mix so that it cannot clip; in float it does not,
    and the same signal on two channels comes out 3 dB louder. 16 bits also halve the memory until the end.
    """

    def __init__(
        self, limits: Limits, sampling_rate: int, *, split_channels: bool = False, origin: float = 0.0
    ) -> None:
        """Audio passes through `sampling_rate` (Hz); `origin` is the timestamp of the file's start in seconds."""
        self._limits, self._origin = limits, origin
        self._rates = dict.fromkeys((sampling_rate, SAMPLE_RATE))  # one stage where they are the same
        self._layout = None if split_channels else "mono"  # None: that of the first frame
        self._format: FrameFormat | None = None
        self._stages: list[AudioResampler] = []
        self._fifo: AudioFifo | None = None
        self._seconds = 0.0  # of audio taken in, with the gaps
        self._channels: list[bytearray] = []  # 16-bit samples
        self.missing_seconds = 0.0  # the gaps alone, without one at the start

    def add(self, frame: AudioFrame) -> None:
        """Take one frame; a hole before it, seen in the timestamps, becomes silence."""
        layout, rate = frame.layout, frame.sample_rate
        frame_format = FrameFormat(frame.format.name, layout.name, rate)
        if self._fifo is None or frame_format != self._format:  # chained files and late HE-AAC change it on the way
            check_rate_and_channels(rate, layout.nb_channels)
            self._fifo = self._start(frame_format)
        gap = 0.0 if frame.time is None else frame.time - self._origin - self._seconds
        self._seconds += frame.samples / rate + (gap if gap > GAP_SECONDS else 0.0)
        check_duration(self._seconds, self._limits)
        if gap > GAP_SECONDS:
            self.missing_seconds += gap if self._channels[0] or self._fifo.samples else 0.0
            self._drain()
            for channel in self._channels:
                channel += bytes(2 * round(gap * SAMPLE_RATE))
        frame.pts = None  # or the queue compares it with its own count
        self._fifo.write(frame)
        if self._fifo.samples >= BLOCK_SAMPLES:
            self._drain()

    def finish(self) -> NDArray[np.float32]:
        """Everything taken in, [C, samples] in [-1, 1]; C is 0 when nothing was."""
        self._drain(last=True)
        samples = min((len(channel) // 2 for channel in self._channels), default=0)
        out = np.empty((len(self._channels), samples), np.float32)
        for row, channel in zip(out, self._channels, strict=True):
            np.multiply(np.frombuffer(channel, np.int16, samples), np.float32(1 / FULL_SCALE), out=row)
        return out

    def _start(self, frame_format: FrameFormat) -> AudioFifo:
        """A queue for frames of `frame_format`; what frames of another left is resampled first."""
        from av import AudioFifo, AudioLayout, AudioResampler

        self._drain(last=True)
        self._format, self._layout = frame_format, self._layout or frame_format.layout
        self._stages = [AudioResampler("s16", self._layout, rate) for rate in self._rates]
        if not self._channels:
            self._channels = [bytearray() for _ in range(AudioLayout(self._layout).nb_channels)]
        return AudioFifo()

    def _drain(self, last: bool = False) -> None:
        """Resample what is queued; with `last` also what the resamplers hold back."""
        block = self._fifo.read() if self._fifo else None
        frames = [block] if block else []
        for stage in self._stages:
            frames = [out for frame in frames for out in stage.resample(frame)]
            frames += stage.resample(None) if last else []
        for frame in frames:
            samples = frame.to_ndarray().reshape(-1, len(self._channels))  # packed: PyAV 18 crashes on 8 planes
            for i, channel in enumerate(self._channels):
                channel += samples[:, i].tobytes()
