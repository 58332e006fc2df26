"""From probabilities of speech, one a frame of 32 ms, to stretches that begin and end with the sound."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from turnscribe.speech.edges import LEVEL, edges, levels_of
from turnscribe.speech.speech_map import Stretch
from turnscribe.waveform import SAMPLE_RATE, Waveform

FRAME = 512  # samples that a probability is of
LOW = 0.1  # speech goes on where the probability is above it, or above a third of a threshold that is lower
# Whispering is heard with little certainty, but for long: a peak of so much of the threshold is enough where the
# probabilities of the run's frames add up to so many thresholds. What music and tones get stays below half of that.
WEAK_PEAK = 0.6
WEAK_SUM = 6.0
SHORTEST_SILENCE = 10  # levels of 10 ms: what is shorter parts no stretches


def stretches(
    waveform: Waveform, probabilities: NDArray[np.float32], *, threshold: float, shortest: float
) -> tuple[Stretch, ...]:
    """Stretches in order and apart, of at least `shortest` seconds, in which the probability reaches `threshold`.

    `probabilities` are those of frames of 512 samples.
    """
    levels = levels_of(waveform)
    count = levels.shape[1]
    runs = [
        (first * FRAME // LEVEL, min(-(-last * FRAME // LEVEL), count))
        for first, last in _runs(probabilities >= min(LOW, threshold / 3))
        if _is_speech(probabilities[first:last], threshold) and first * FRAME // LEVEL < count
    ]
    bounds = [0, *((one[1] + other[0]) // 2 for one, other in pairwise(runs)), count]
    found: list[tuple[int, int]] = []
    for (first, last), (after, before) in zip(runs, pairwise(bounds), strict=False):
        start, end = edges(levels, first, last, after=after, before=before)
        if found and start - found[-1][1] < SHORTEST_SILENCE:
            start, _ = found.pop()
        found.append((start, end))
    second = SAMPLE_RATE / LEVEL
    return tuple(Stretch(start / second, end / second) for start, end in found if end - start >= shortest * second)


def _is_speech(run: NDArray[np.float32], threshold: float) -> bool:
    peak = run.max()
    return bool(peak >= threshold or (peak >= WEAK_PEAK * threshold and run.sum() >= WEAK_SUM * threshold))


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The runs of true values: the place of the first, and that behind the last."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
