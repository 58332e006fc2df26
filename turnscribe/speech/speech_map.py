"""A speech map: the stretches of a recording in which somebody speaks. Times are seconds from its start."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple


class Stretch(NamedTuple):
    """Somebody speaks from `start` to `end`."""

    start: float
    end: float


@dataclass(frozen=True)
class SpeechMap:
    """Stretches in order, apart, inside 0 to `duration`, without margins: they begin and end with the speech.

    >>> speech = SpeechMap((Stretch(1.0, 2.5), Stretch(4.0, 5.0)), duration=6.0)
    >>> speech.seconds
    2.5
    >>> speech.overlap(2.0, 4.25)
    0.75
    """

    stretches: tuple[Stretch, ...]
    duration: float

    @classmethod
    def everywhere(cls, duration: float) -> SpeechMap:
        """The map of a recording in which nobody looked for speech: one stretch from its start to its end."""
        return cls((Stretch(0.0, duration),) if duration > 0 else (), duration)

    @property
    def seconds(self) -> float:
        """How long somebody speaks."""
        return sum(stretch.end - stretch.start for stretch in self.stretches)

    def overlap(self, start: float, end: float) -> float:
        """For how many of the seconds from `start` to `end` somebody speaks."""
        total = 0.0
        for index in range(self._first_after(start), len(self.stretches)):
            stretch = self.stretches[index]
            if stretch.start >= end:
                break
            total += min(stretch.end, end) - max(stretch.start, start)
        return total

    def _first_after(self, time: float) -> int:
        """The first stretch that ends after `time`: its place, or how many there are."""
        return bisect_right(self.stretches, time, key=lambda stretch: stretch.end)
