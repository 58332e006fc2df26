"""Channels to one: such that the same signal on all of them keeps its level, and no voice is cancelled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRONT, CENTRE, AROUND = 0.5**0.5, 1.0, 0.5  # of ITU-R BS.775, before they are scaled to a sum of 1
LEVELS = {"FC": CENTRE} | dict.fromkeys(("FL", "FR", "FLC", "FRC", "DL", "DR"), FRONT)
UNNAMED = ("NONE", "UNK", "UNSD", "AMBI")  # how FFmpeg's names of channels without a place begin

CANCELLED = 0.25  # of the power that channels without anything in common would have in the mix
AUDIBLE = 4.0  # power of 16-bit samples: less is the last bits
LOUDER = 4.0  # in power: so much louder another channel has to be to take over


class Mix:
    """Mixes one block after the other, and counts the samples in which a channel had to stand in for the mix.

    One channel that is inverted, as by a miswired cable, takes the other away: the mix is silence, or has only what
    the channels do not share. There the loudest channel is taken.
    """

    def __init__(self) -> None:
        self.cancelled_samples = 0
        self._chosen = 0

    def __call__(self, samples: NDArray[np.int16], weights: NDArray[np.float32]) -> NDArray[np.int16]:
        """samples: [samples, C], weights: [C] -> [samples]"""
        if samples.shape[1] == 1:
            return samples[:, 0]
        mixed: NDArray[np.float32] = samples.astype(np.float32) @ weights
        powers = samples.var(axis=0, dtype=np.float32)
        apart = float(powers @ weights**2)
        if apart > AUDIBLE and float(mixed.var()) < CANCELLED * apart:
            loudest = int(powers.argmax())
            if self._chosen >= len(powers) or powers[loudest] > LOUDER * powers[self._chosen]:
                self._chosen = loudest
            self.cancelled_samples += len(samples)
            return samples[:, self._chosen]
        return np.rint(mixed).astype(np.int16)


def weights_of(channels: tuple[str, ...]) -> NDArray[np.float32]:
    """How much of each channel the mix holds, by FFmpeg's names of them; the sum is 1.

    Channels without a place, as of several microphones, count alike. None is left out: what a layout of six calls a
    subwoofer is somebody's microphone in many a recording.

    >>> weights_of(("FL", "FR")).tolist(), weights_of(("NONE",) * 4).tolist()
    ([0.5, 0.5], [0.25, 0.25, 0.25, 0.25])
    """
    if any(name.startswith(UNNAMED) for name in channels):
        levels = np.ones(len(channels))
    else:
        levels = np.array([LEVELS.get(name, AROUND) for name in channels])
    weights: NDArray[np.float32] = (levels / levels.sum()).astype(np.float32)
    return weights
