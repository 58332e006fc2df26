"""How long a request will take yet, by what was expected of its stages and by how they go.

A stage that runs is judged by both: so much of it took so long, and before it began all of it was expected to take
so long. What was expected counts as if it had been seen of a share of the stage: of a small one where it was a guess.
The stages that are to come are expected as before, times how much slower the others were than expected.

Does not know the clock: whoever asks says what time it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turnscribe.speeds import Expected

SEEN_WEIGHT = 0.5  # the share of a stage as which it counts what was seen of others
GUESS_WEIGHT = 0.05  # the same of a guess
SEEN_DAMPING = 0.1  # the share of a request that went as expected, as far as is known before it begins
GUESS_DAMPING = 0.0005
OVERDUE = 0.05  # of the time that a stage runs, left at least until it has ended


@dataclass
class _Work:
    """A stage on its way; times are the clock's."""

    expected: Expected
    began: float | None = None
    ended: float | None = None
    done: float = 0.0  # share
    reported: float = 0.0  # when that was

    @property
    def seen(self) -> float:
        """Seconds that `done` took."""
        if self.began is None:
            return 0.0
        return (self.reported if self.ended is None else self.ended) - self.began

    def left(self, now: float, pace: float) -> float:
        """Seconds from `now` on."""
        expected = self.expected.seconds * pace
        if self.ended is not None:
            return 0.0
        if self.began is None:
            return expected
        weight = SEEN_WEIGHT if self.expected.seen else GUESS_WEIGHT
        total = (weight * expected + self.seen) / (weight + self.done)
        return max(total - (now - self.began), OVERDUE * (now - self.began))


class Forecast:
    """Of one request. `plan` may be called again when more is known; what has begun is not forgotten."""

    def __init__(self) -> None:
        self._works: dict[str, _Work] = {}
        self._plan: list[tuple[str, ...]] = []

    def plan(self, steps: Sequence[Mapping[str, Expected]]) -> None:
        """Steps one after the other; the stages of one run side by side."""
        self._plan = [tuple(step) for step in steps]
        for step in steps:
            for stage, expected in step.items():
                self._works.setdefault(stage, _Work(expected)).expected = expected

    def begin(self, stage: str, now: float) -> None:
        work = self._works.setdefault(stage, _Work(Expected(0.0, False)))
        work.began = work.reported = now

    def report(self, stage: str, done: float, now: float) -> None:
        """A share of the stage is done, 0 to 1."""
        work = self._works[stage]
        work.done, work.reported = done, now

    def end(self, stage: str, now: float) -> None:
        self._works[stage].ended = now

    def remaining(self, now: float) -> float | None:
        """Seconds; `None` until there is a plan."""
        if not self._plan:
            return None
        lefts = {stage: self._works[stage].left(now, self._pace(stage)) for step in self._plan for stage in step}
        return sum(max(lefts[stage] for stage in step) for step in self._plan)

    def _pace(self, stage: str) -> float:
        """How many times longer than expected the others took."""
        planned = {name for step in self._plan for name in step}
        others = [
            (work.seen, work.expected.seconds * (1.0 if work.ended is not None else work.done))
            for name, work in self._works.items()
            if name != stage and name in planned and (work.expected.seen or work.expected.tells)
        ]
        works = [self._works[name] for name in planned]
        seen = any(work.expected.seen for work in works)
        damping = (SEEN_DAMPING if seen else GUESS_DAMPING) * sum(work.expected.seconds for work in works)
        took, expected = sum(one for one, _ in others), sum(one for _, one in others)
        return (took + damping) / (expected + damping) if expected + damping > 0 else 1.0
