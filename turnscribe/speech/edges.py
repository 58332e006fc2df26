"""Where the speech in a run of frames begins and ends, by the level of the sound, 10 ms at a time.

The network says that somebody speaks within a frame or two, and goes on saying so for 80 ms after the last sound.
The level says when. It is held against a threshold between the noise around an edge and the voice beside it, and in
two bands: whole, in which vowels stand out, and without the deep tones, in which an "s" does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from turnscribe.waveform import SAMPLE_RATE, Waveform

LEVEL = SAMPLE_RATE // 100  # samples of a level: 10 ms
AT_ONCE = 8_192  # levels that are measured together, so that an hour takes little memory
# Counted in levels:
BEFORE = 25  # so far before the network hears it speech may begin
AFTER = 15  # so far after it may end
BREAK = 4  # silence of this length ends what is followed there
VOICE = 60  # inwards of an edge: how loud the voice is
NOISE = 100  # on either side of an edge: how loud the noise is
# In decibels:
ABOVE_NOISE = 6.0
BELOW_VOICE = 35.0
LEAST_BELOW_VOICE = 6.0  # where the noise is as loud as the voice


def levels_of(waveform: Waveform) -> NDArray[np.float32]:
    """The levels in dB of each whole 10 ms, `[2, levels]`: of the samples, and of the differences of neighbours."""
    count = len(waveform) // LEVEL
    powers = np.empty((2, count), np.float32)
    for first in range(0, count, AT_ONCE):
        samples = waveform[first * LEVEL : min(first + AT_ONCE, count) * LEVEL]
        before = waveform[max(0, first * LEVEL - 1)]
        for power, band in zip(powers, (samples, np.diff(samples, prepend=before)), strict=True):
            some = band.reshape(-1, LEVEL)
            power[first : first + len(some)] = np.einsum("ls,ls->l", some, some)
    levels: NDArray[np.float32] = 10 * np.log10(powers / LEVEL + 1e-12)
    return levels


def edges(levels: NDArray[np.float32], first: int, last: int, *, after: int, before: int) -> tuple[int, int]:
    """Where the speech begins, and where it has ended, that was heard from level `first` to before `last`.

    It lies between `after` and `before`, in which nobody else was heard.
    """
    start = _onset(levels, first, last, max(after, first - BEFORE))
    count = levels.shape[1]
    earliest = max(count - before, count - last - AFTER)
    return start, count - _onset(levels[:, ::-1], count - last, count - first, earliest)


def _onset(levels: NDArray[np.float32], first: int, last: int, earliest: int) -> int:
    """The first level in which there is a voice, and before which there is none; not before `earliest`."""
    noise = _lower_tenth(levels[:, max(0, first - NOISE) : first + NOISE])
    voice = _loudest(levels[:, first : min(last, first + VOICE)])
    threshold = np.maximum(noise + ABOVE_NOISE, voice - BELOW_VOICE)
    threshold = np.minimum(threshold, voice - LEAST_BELOW_VOICE)  # [2]
    heard = earliest + np.flatnonzero((levels[:, earliest:last] > threshold[:, None]).any(axis=0))
    inside = heard[heard >= first]
    if not len(inside):
        return first
    start = int(inside[0])
    if start < first + BREAK:
        for place in heard[heard < first][::-1]:
            if start - place > BREAK:
                break
            start = int(place)
    return start


def _lower_tenth(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    tenth = levels.shape[1] // 10
    return np.partition(levels, tenth, axis=1)[:, tenth]


def _loudest(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the three loudest, so that a click is no voice."""
    count = min(3, levels.shape[1])
    loudest: NDArray[np.float32] = np.partition(levels, -count, axis=1)[:, -count:].mean(axis=1)
    return loudest
