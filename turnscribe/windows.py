"""Cuts a recording into windows a Whisper model can take, without overlap, at the quietest points.

Knows nothing of words: it goes by loudness alone. Overlapping strides (the transformers pipeline's way) decode
every second one and a half times and have to guess which of two readings of the overlap to keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
FRAME = SAMPLE_RATE // 50  # 20 ms: the time step of Whisper's encoder
PAUSE_FRAMES = 10  # a cut is judged by the 200 ms around it
SEARCH_SHARE = 0.5  # a cut is looked for in the last half of the longest window


@dataclass(frozen=True)
class Window:
    """Samples `start` to `stop` of a recording at 16 kHz."""

    start: int
    stop: int

    @property
    def offset(self) -> float:
        """Seconds from the start of the recording."""
        return self.start / SAMPLE_RATE

    @property
    def duration(self) -> float:
        return (self.stop - self.start) / SAMPLE_RATE


def cut_windows(waveform: NDArray[np.float32], max_seconds: float) -> list[Window]:
    """Windows of at most `max_seconds` that together cover `waveform` `[samples]` exactly once, in order."""
    longest = max(int(max_seconds * SAMPLE_RATE) // FRAME, 1)  # frames
    loudness = _loudness(waveform)  # [frames]
    frames = len(loudness)
    cuts = [0]
    while frames - cuts[-1] > longest:
        first = cuts[-1] + max(int(longest * (1 - SEARCH_SHARE)), 1)
        last = cuts[-1] + longest
        candidates = loudness[first : last + 1]
        quietest = np.flatnonzero(candidates <= candidates.min() * (1 + 1e-6))
        cuts.append(first + int(quietest[-1]))  # the latest of equals: fewer windows
    bounds = [frame * FRAME for frame in cuts] + [len(waveform)]
    return [Window(start, stop) for start, stop in pairwise(bounds) if stop > start]


def _loudness(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean power of the 200 ms around the start of every 20 ms frame: `[ceil(samples / FRAME)]`."""
    frames = -(-len(waveform) // FRAME)
    squares = np.zeros(frames * FRAME, np.float32)
    np.square(waveform, out=squares[: len(waveform)])
    power = squares.reshape(frames, FRAME).mean(axis=1, dtype=np.float64)
    total = np.concatenate([[0.0], np.cumsum(power)])
    first = np.maximum(np.arange(frames) - PAUSE_FRAMES // 2, 0)
    last = np.minimum(np.arange(frames) + PAUSE_FRAMES // 2, frames)
    return np.asarray((total[last] - total[first]) / np.maximum(last - first, 1))
