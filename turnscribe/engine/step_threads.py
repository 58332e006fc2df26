"""How many threads take a step of decoding on a CPU: all, or one where all are slower.

A step is some hundred short products, after each of which its threads wait for the last of them. On a machine that is
theirs they are sooner done together. Where another program keeps one of the cores, whoever runs there comes late each
time, and one thread alone is sooner done than all. Which it is, only trying tells: now and then a step is taken the
other way, and its time held against that of the step before, if that had as much to do.

The last bit of a float32 sum may depend on the number of threads. So this is for 8-bit products, whose texts are
near those of float32 and no more; the texts of all others do not depend on what a machine is busy with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import torch

FIRST_TRY, LATEST_TRY = 2, 64  # steps from one try to the next: more and more as long as nothing changes
WORTH = 0.8  # of a step's time: what is less is no chance
CHEAP = 1e-4  # seconds; torch 2.5 takes a hundred times as long to change the number of threads


class StepThreads:
    """For the steps of all decodings of an engine, one after the other."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.perf_counter,
        threads: Callable[[], int] = torch.get_num_threads,
        set_threads: Callable[[int], None] = torch.set_num_threads,
    ) -> None:
        self.alone = False  # whether steps are taken by one thread
        self._clock, self._threads, self._set_threads = clock, threads, set_threads
        self._since, self._wait = 0, FIRST_TRY  # steps since the last try, and until the next
        self._before: tuple[Hashable, float] | None = None  # the last step that was no try, and its seconds
        began, most = clock(), threads()
        set_threads(most)
        self._is_cheap = clock() - began < CHEAP

    @contextmanager
    def step(self, work: Hashable) -> Iterator[None]:
        """A step is taken in this context, and this thread has as many threads afterwards as before.

        Steps of equal `work` have about as much to do.
        """
        most = self._threads()
        if most == 1 or not self._is_cheap:
            yield
            return
        known = self._before is not None and self._before[0] == work
        trying = known and self._since >= self._wait
        began = self._clock()
        self._set_threads(1 if self.alone != trying else most)
        try:
            yield
        finally:
            self._set_threads(most)
        took = self._clock() - began
        if not trying:
            self._before = work, took
            self._since += 1
            return
        assert self._before is not None
        self._since = 0
        if took < WORTH * self._before[1]:
            self.alone, self._before, self._wait = not self.alone, (work, took), FIRST_TRY
        else:
            self._wait = min(2 * self._wait, LATEST_TRY)
