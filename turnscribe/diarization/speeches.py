"""What each speaker says in a recording, out of the diarizer's turns."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

from turnscribe.transcript import Turn


@dataclass(frozen=True)
class Speech:
    """Everything one speaker says: when it starts and ends, by time, without overlaps of its own."""

    speaker: str
    starts: list[float]
    ends: list[float]

    def overlap(self, start: float, end: float) -> float:
        """Seconds of `start`..`end` this speaker speaks in."""
        first, last = bisect.bisect_right(self.ends, start), bisect.bisect_left(self.starts, end)
        spans = zip(self.starts[first:last], self.ends[first:last], strict=True)
        return sum(min(e, end) - max(s, start) for s, e in spans)

    def distance(self, start: float, end: float) -> float:
        """Seconds from `start`..`end` to this speaker's nearest speech."""
        after = bisect.bisect_right(self.starts, end)
        near = range(max(after - 1, 0), min(after + 1, len(self.starts)))
        return min(max(0.0, self.starts[index] - end, start - self.ends[index]) for index in near)


def speeches_of(turns: Iterable[Turn]) -> list[Speech]:
    """By speaker, in the order in which they first speak."""
    speeches: dict[str, Speech] = {}
    for turn in sorted(turns, key=lambda turn: (turn.start, turn.end)):
        speech = speeches.setdefault(turn.speaker, Speech(turn.speaker, [], []))
        if speech.ends and turn.start <= speech.ends[-1]:
            speech.ends[-1] = max(speech.ends[-1], turn.end)
        else:
            speech.starts.append(turn.start)
            speech.ends.append(turn.end)
    return list(speeches.values())
