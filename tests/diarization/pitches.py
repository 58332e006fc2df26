"""Voices that are tones, and embeddings by their pitch: enough to tell people apart without a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from turnscribe.listener import Listener
from turnscribe.request import Request
from turnscribe.transcript import Turn
from turnscribe.waveform import SAMPLE_RATE as RATE
from turnscribe.waveform import Waveform

BANDS = 16  # of the spectrum, each an octave's third from 100 Hz


def tone(pitch: float, seconds: float) -> Waveform:
    """A voice `[samples]`."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave: Waveform = (0.3 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)
    return wave


def embed(samples: Waveform) -> np.ndarray:
    """How much of the sound is in each band `[D]`, of any length."""
    power = np.abs(np.fft.rfft(samples, RATE)) ** 2
    edges = (100 * 2 ** (np.arange(BANDS + 1) / 3)).astype(int)
    bands = [power[low:high].sum() for low, high in pairwise(edges)]
    return (7 * np.array(bands) / max(sum(bands), 1e-9)).astype(np.float32)


def other_embed(samples: Waveform) -> np.ndarray:
    """Of another diarizer."""
    return np.roll(embed(samples), 5)


class PitchDiarizer:
    """A `Diarizer` that has a turn for each second, whose pitch is the speaker's."""

    speaker_similarity = 0.5

    def turns(self, waveform: Waveform, request: Request, listener: Listener) -> Sequence[Turn]:
        seconds = [waveform[start : start + RATE] for start in range(0, len(waveform), RATE)]
        numbers: dict[int, int] = {}
        return [
            Turn(
                f"SPEAKER_{numbers.setdefault(int(embed(samples).argmax()), len(numbers)):02d}",
                place,
                place + len(samples) / RATE,
            )
            for place, samples in enumerate(seconds)
            if np.abs(samples).max() > 0.01
        ]

    def embed(self, waveform: Waveform) -> np.ndarray:
        return embed(waveform)
