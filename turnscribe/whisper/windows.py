"""Cuts a recording into windows a Whisper model can take, without overlap, in pauses, and as few as can be.

A pause is known by its loudness alone. Overlapping strides (the transformers pipeline's way) decode
every second one and a half times and have to guess which of two readings of the overlap to keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from turnscribe.waveform import SAMPLE_RATE, Waveform
from turnscribe.whisper.constants import SAMPLES_PER_FRAME

PAUSE_FRAMES = 10  # a cut is judged by the 200 ms around it
PAUSE_BELOW_MEAN = 0.02  # of the mean power
PAUSE_ABOVE_LEAST = 2.0  # times the least power
SEARCH_SHARE = 0.5  # a cut is looked for in the last half of the longest window


@dataclass(frozen=True)
class Window:
    """Samples `start` to `stop` of a recording at 16 kHz, but for the gaps that are `left_out`.

    What the model hears are the pieces between the gaps, side by side; `left_out` are `(start, stop)` samples of the
    recording, in order, apart, and inside.
    """

    start: int
    stop: int
    left_out: tuple[tuple[int, int], ...] = ()

    @property
    def offset(self) -> float:
        """Seconds from the start of the recording."""
        return self.start / SAMPLE_RATE

    @property
    def samples(self) -> int:
        """How many the model hears."""
        return self.stop - self.start - sum(stop - start for start, stop in self.left_out)

    @property
    def duration(self) -> float:
        """Seconds that the model hears."""
        return self.samples / SAMPLE_RATE

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """`(start, stop)` of what the model hears, in samples of the recording."""
        edges = [self.start, *(edge for gap in self.left_out for edge in gap), self.stop]
        return list(zip(edges[::2], edges[1::2], strict=True))

    def heard(self, waveform: Waveform) -> Waveform:
        """Its part of the recording's waveform: `[samples]`."""
        if not self.left_out:
            return waveform[self.start : self.stop]
        return np.concatenate([waveform[start:stop] for start, stop in self.pieces])

    def time(self, seconds: float, *, end: bool = False) -> float:
        """Where in the recording the window's own `seconds` are, in seconds.

        The end of one piece is the beginning of the next: it is the former where something ends there.
        """
        sample = min(max(seconds * SAMPLE_RATE, 0.0), float(self.samples))
        for start, stop in self.pieces:
            length = stop - start
            if sample < length or (end and sample == length) or stop == self.stop:
                break
            sample -= length
        return (start + min(sample, length)) / SAMPLE_RATE

    def later(self, samples: int) -> Window:
        """The same of a recording that begins so much earlier."""
        gaps = tuple((start + samples, stop + samples) for start, stop in self.left_out)
        return Window(self.start + samples, self.stop + samples, gaps)

    def after(self, seconds: float) -> Window:
        """What is left of it from its own `seconds` on."""
        return self.since(self.time(seconds))

    def since(self, time: float) -> Window:
        """What is left of it from a `time` of the recording on, in seconds."""
        start = round(time * SAMPLE_RATE)
        start = next((stop for first, stop in self.left_out if first <= start < stop), start)
        return Window(start, self.stop, tuple(gap for gap in self.left_out if gap[0] > start))


def cut_windows(waveform: Waveform, max_seconds: float) -> list[Window]:
    """Windows of at most `max_seconds` that together cover `waveform` `[samples]` exactly once, in order."""
    longest = max(int(max_seconds * SAMPLE_RATE) // SAMPLES_PER_FRAME, 1)  # frames
    loudness = _loudness(waveform)  # [frames]
    frames = len(loudness)
    cuts = [0]
    while frames - cuts[-1] > longest:
        first = cuts[-1] + max(int(longest * (1 - SEARCH_SHARE)), 1)
        last = cuts[-1] + longest
        cuts.append(first + _latest_pause(loudness[first : last + 1]))
    bounds = [frame * SAMPLES_PER_FRAME for frame in cuts] + [len(waveform)]
    return [Window(start, stop) for start, stop in pairwise(bounds) if stop > start]


def _latest_pause(loudness: NDArray[np.float64]) -> int:
    """The quietest frame of the last pause in `loudness` `[frames]`: the later a cut, the fewer the windows.

    A pause is 17 dB below the mean, or where noise fills the pauses, within 3 dB of the quietest frame; so there
    always is one.
    """
    limit = max(PAUSE_BELOW_MEAN * loudness.mean(), PAUSE_ABOVE_LEAST * loudness.min())
    paused = np.flatnonzero(loudness <= limit)
    breaks = np.flatnonzero(np.diff(paused) > 1)
    last = paused[breaks[-1] + 1 :] if len(breaks) else paused  # the frames of the last pause
    quietest = np.flatnonzero(loudness[last] <= loudness[last].min() * (1 + 1e-6))
    return int(last[quietest[-1]])


def _loudness(waveform: Waveform) -> NDArray[np.float64]:
    """Mean power of the 200 ms around the start of every 20 ms frame: `[ceil(samples / SAMPLES_PER_FRAME)]`."""
    frames = -(-len(waveform) // SAMPLES_PER_FRAME)
    squares = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
    np.square(waveform, out=squares[: len(waveform)])
    power = squares.reshape(frames, SAMPLES_PER_FRAME).mean(axis=1, dtype=np.float64)
    total = np.concatenate([[0.0], np.cumsum(power)])
    first = np.maximum(np.arange(frames) - PAUSE_FRAMES // 2, 0)
    last = np.minimum(np.arange(frames) + PAUSE_FRAMES // 2, frames)
    return np.asarray((total[last] - total[first]) / np.maximum(last - first, 1))
