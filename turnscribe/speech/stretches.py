"""From probabilities of speech, one a frame of 32 ms, to stretches with their edges where the sound is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from turnscribe.speech.speech_map import Stretch
from turnscribe.waveform import SAMPLE_RATE, Waveform

FRAME = 512  # samples that a probability is of
LOW = (
    0.1  # a stretch goes on as far as the probability is above it, or above a third of the threshold if that is lower
)


def stretches(
    waveform: Waveform, probabilities: NDArray[np.float32], *, threshold: float, shortest: float
) -> tuple[Stretch, ...]:
    """Stretches in order, apart, of at least `shortest` seconds, whose probability somewhere reaches `threshold`."""
    duration = len(waveform) / SAMPLE_RATE
    found = []
    for first, last in _runs(probabilities >= min(LOW, threshold / 3)):
        if probabilities[first:last].max() >= threshold:
            start, end = first * FRAME / SAMPLE_RATE, min(last * FRAME / SAMPLE_RATE, duration)
            if end - start >= shortest:
                found.append(Stretch(start, end))
    return tuple(found)


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The runs of true values: the place of the first, and that behind the last."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
