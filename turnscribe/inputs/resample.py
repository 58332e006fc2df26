"""Decoded frames of any kind in, 16-bit samples at 16 kHz out, each where its timestamp says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from turnscribe.inputs.limits import Limits, check_duration, check_rate_and_channels
from turnscribe.inputs.mix import Mix, weights_of
from turnscribe.inputs.timeline import Clock, Placed, Timeline
from turnscribe.waveform import FULL_SCALE, SAMPLE_RATE

if TYPE_CHECKING:
    from av import AudioFifo, AudioFrame, AudioResampler

BLOCK_SAMPLES = 2**16  # decoded frames are resampled in blocks of this many; frame by frame takes 1.4 x as long
PADDING_SECONDS = 0.1  # a codec's last frame reaches past the end by less than this


class FrameFormat(NamedTuple):
    """What the frames of one stretch of a file have in common."""

    samples: str  # FFmpeg's name, such as fltp
    layout: str  # of the channels, such as stereo
    rate: int  # Hz


class Resampler:
    """Takes decoded frames, resamples them in blocks and keeps the samples, at most `limits.max_seconds` of them.

    Until the end they have 16 bits, which halves the memory; channels are mixed block by block for the same reason.
    """

    def __init__(
        self, limits: Limits, sampling_rate: int, *, split_channels: bool = False, clock: Clock | None = None
    ) -> None:
        """Audio passes through `sampling_rate` (Hz); `clock` says which timestamp is the file's start."""
        self._limits = limits
        self._rates = dict.fromkeys((sampling_rate, SAMPLE_RATE))  # one stage where they are the same
        self._mix = None if split_channels else Mix()
        self._layout: str | None = None  # of split channels: that of the first frame
        self._timeline = Timeline(clock or Clock())
        self._format: FrameFormat | None = None
        self._weights = np.ones(1, np.float32)  # [C]
        self._stages: list[AudioResampler] = []
        self._fifo: AudioFifo | None = None
        self._channels: list[bytearray] = []  # 16-bit samples
        self._cut_samples = 0  # of what comes next: it was there already

    @property
    def missing_seconds(self) -> float:
        """Of holes inside the file, in which silence stands."""
        return self._timeline.missing_seconds

    @property
    def cancelled_seconds(self) -> float:
        """In which the channels cancel each other, and the loudest stands for the mix."""
        return self._mix.cancelled_samples / SAMPLE_RATE if self._mix else 0.0

    def add(self, frame: AudioFrame) -> None:
        """Take one frame; a hole before it becomes silence, what it repeats is left out."""
        for placed in self._timeline.add(frame):
            self._take(placed)
        check_duration(self._timeline.position, self._limits)

    def finish(self, end: float | None = None) -> NDArray[np.float32]:
        """Everything taken in, [C, samples] in [-1, 1]; C is 0 when nothing was.

        What a codec's last frame holds behind `end` (seconds) is left out.
        """
        for placed in self._timeline.release():
            self._take(placed)
        self._flush()
        samples = min((len(channel) // 2 for channel in self._channels), default=0)
        if end is not None and 0 < samples / SAMPLE_RATE - end < PADDING_SECONDS:
            samples = max(1, round(end * SAMPLE_RATE))
        out = np.empty((len(self._channels), samples), np.float32)
        for row, channel in zip(out, self._channels, strict=True):
            np.multiply(np.frombuffer(channel, np.int16, samples), np.float32(1 / FULL_SCALE), out=row)
        return out

    def _take(self, placed: Placed) -> None:
        frame, at = placed
        frame_format = FrameFormat(frame.format.name, frame.layout.name, frame.sample_rate)
        if frame_format != self._format:  # chained files and late HE-AAC change it on the way
            check_rate_and_channels(frame.sample_rate, frame.layout.nb_channels)
            self._flush()
            self._format = frame_format
            self._weights = weights_of(tuple(channel.name for channel in frame.layout.channels))
            self._start()
        if at is not None:
            self._move_to(at)
        assert self._fifo is not None
        frame.pts = None  # or the queue compares it with its own count
        self._fifo.write(frame)
        if self._fifo.samples >= BLOCK_SAMPLES:
            self._drain()

    def _move_to(self, seconds: float) -> None:
        """What comes next begins `seconds` after the start of the file."""
        check_duration(seconds, self._limits)
        self._flush()
        self._start()
        there = len(self._channels[0]) // 2
        target = round(seconds * SAMPLE_RATE)
        for channel in self._channels:
            channel += bytes(2 * max(0, target - there))
        self._cut_samples = max(0, there - target)

    def _start(self) -> None:
        """New stages and a new queue, for frames of `_format`."""
        from av import AudioFifo, AudioLayout, AudioResampler

        assert self._format is not None
        self._layout = self._layout or self._format.layout
        layout = self._format.layout if self._mix else self._layout
        self._stages = [AudioResampler("s16", layout, rate) for rate in self._rates]
        self._fifo = AudioFifo()
        if not self._channels:
            self._channels = [bytearray() for _ in range(1 if self._mix else AudioLayout(layout).nb_channels)]

    def _flush(self) -> None:
        """Resample all that was taken in, to the last sample; new stages are needed afterwards."""
        self._drain(last=True)
        self._stages, self._fifo = [], None

    def _drain(self, last: bool = False) -> None:
        """Resample what is queued; with `last` also what the resamplers hold back."""
        block = self._fifo.read() if self._fifo else None
        frames = [block] if block else []
        for stage in self._stages:
            frames = [out for frame in frames for out in stage.resample(frame)]
            frames += stage.resample(None) if last else []
        for frame in frames:
            # packed: PyAV 18 crashes on 8 planes
            samples = cast("NDArray[np.int16]", frame.to_ndarray()).reshape(-1, frame.layout.nb_channels)
            cut = min(self._cut_samples, len(samples))
            self._cut_samples -= cut
            self._keep(samples[cut:])

    def _keep(self, samples: NDArray[np.int16]) -> None:
        """samples: [samples, C]"""
        if self._mix and len(samples):
            samples = self._mix(samples, self._weights)[:, None]
        for i, channel in enumerate(self._channels):
            channel += samples[:, i].tobytes()
