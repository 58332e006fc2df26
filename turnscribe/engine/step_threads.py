"""How many threads take a step of decoding on a CPU: all, or one where all are slower.

A step is some hundred short products, after each of which its threads wait for the last of them. On a machine that is
theirs they are sooner done together. Where another program keeps one of the cores, whoever runs there comes late each
time, and one thread alone is sooner done than all. Which it is, only trying tells: now and then a step is taken the
other way, and its time held against that of the step before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST_TRY, LATEST_TRY = 2, 64  # steps from one try to the next: more and more as long as nothing changes
WORTH = 0.8  # of a step's time: what is less is no chance


class StepThreads:
    """For the steps of all decodings of an engine, one after the other."""

    def __init__(self, most: int, set_threads: Callable[[int], None], clock: Callable[[], float] = time.perf_counter):
        """`most` is all of them; `set_threads` is told before each step."""
        self.chosen, self._most = most, most
        self._set_threads, self._clock = set_threads, clock
        self._since, self._wait = 0, FIRST_TRY  # steps since the last try, and until the next
        self._before: float | None = None  # seconds of the last step of the chosen way

    @contextmanager
    def step(self) -> Iterator[None]:
        """A step is taken in this context. Afterwards this thread has all of them again."""
        if self._most == 1:
            yield
            return
        other = self._most if self.chosen == 1 else 1
        trying = self._before is not None and self._since >= self._wait
        self._set_threads(other if trying else self.chosen)
        began = self._clock()
        try:
            yield
        finally:
            took = self._clock() - began
            self._set_threads(self._most)
        if not trying:
            self._before = took
            self._since += 1
            return
        assert self._before is not None
        self._since = 0
        if took < WORTH * self._before:
            self.chosen, self._before, self._wait = other, took, FIRST_TRY
        else:
            self._wait = min(2 * self._wait, LATEST_TRY)
