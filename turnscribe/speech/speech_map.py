"""A speech map: the stretches of a recording in which somebody speaks. Times are seconds from its start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

CLOSE = 0.05  # seconds between two stretches, less than the detector leaves: more stretches are no use to anybody


class Stretch(NamedTuple):
    """Somebody speaks from `start` to `end`."""

    start: float
    end: float


@dataclass(frozen=True)
class SpeechMap:
    """Stretches in order, apart, inside 0 to `duration`, without margins: they begin and end with the speech.

    >>> speech = SpeechMap.of([(1.0, 2.5), (2.52, 3.0), (4.0, 9.0)], duration=6.0)
    >>> speech.stretches
    (Stretch(start=1.0, end=3.0), Stretch(start=4.0, end=6.0))
    >>> speech.seconds
    4.0
    >>> speech.part(2.0, 5.0).stretches
    (Stretch(start=0.0, end=1.0), Stretch(start=2.0, end=3.0))
    """

    stretches: tuple[Stretch, ...]
    duration: float

    @classmethod
    def of(cls, spans: Iterable[tuple[float, float]], duration: float, *, close: float = CLOSE) -> SpeechMap:
        """The map of `(start, end)` in order; those under `close` s apart are one, and what is outside is none."""
        stretches: list[Stretch] = []
        for start, end in spans:
            start, end = max(start, 0.0), min(end, duration)
            if stretches and start - stretches[-1].end < close:
                start, end = stretches[-1].start, max(end, stretches.pop().end)
            if start < end:
                stretches.append(Stretch(start, end))
        return cls(tuple(stretches), duration)

    @property
    def seconds(self) -> float:
        """How long somebody speaks."""
        return sum(stretch.end - stretch.start for stretch in self.stretches)

    def bridged(self, pause: float) -> SpeechMap:
        """With pauses under `pause` seconds taken for speech."""
        return SpeechMap.of(self.stretches, self.duration, close=pause)

    def part(self, start: float, end: float) -> SpeechMap:
        """Of the recording from `start` to `end`, by itself."""
        return SpeechMap.of([(one.start - start, one.end - start) for one in self.stretches], end - start)
