"""How far a request is and how long its stages took. Knows nothing of what the stages do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[float], None]


class Stages:
    """Seconds by stage, and one rising share done (0 to 1) out of each stage's own."""

    def __init__(self, on_progress: Progress | None = None) -> None:
        self._on_progress = on_progress
        self._began = time.perf_counter()
        self._seconds: dict[str, float] = {}
        self._done = 0.0

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + time.perf_counter() - began

    def timings(self) -> dict[str, float]:
        """Seconds of every stage so far and their `total`, from the start of the request."""
        seconds = {**self._seconds, "total": time.perf_counter() - self._began}
        return {stage: round(value, 4) for stage, value in seconds.items()}

    def part(self, first: float, last: float) -> Progress:
        """A progress function for a stage that takes the request from the share `first` to `last`."""

        def report(done: float) -> None:
            reached = first + (last - first) * min(max(done, 0.0), 1.0)
            if self._on_progress is not None and reached > self._done:
                self._done = reached
                self._on_progress(reached)

        return report
