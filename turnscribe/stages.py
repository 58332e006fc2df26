"""How far a request is and how long its stages took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from turnscribe.listener import SILENT, OnProgress, OnStage


class Stages:
    """Seconds by stage, its name as it begins, and one rising share done (0 to 1) out of each stage's own."""

    def __init__(
        self,
        on_progress: OnProgress = SILENT.on_progress,
        on_stage: OnStage = SILENT.on_stage,
        on_stage_end: OnStage = SILENT.on_stage_end,
    ) -> None:
        self._on_progress, self._on_stage, self._on_stage_end = on_progress, on_stage, on_stage_end
        self._began = time.perf_counter()
        self._seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._done = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        self._running.append(stage)
        self._on_stage(stage)
        try:
            yield
        finally:
            self._running.remove(stage)
            self._on_stage_end(stage)
            if self._running:
                self._on_stage(self._running[-1])
            self._seconds[stage] = self._seconds.get(stage, 0.0) + time.perf_counter() - began

    def timings(self) -> dict[str, float]:
        """Seconds of every stage so far and their `total`, from the start of the request."""
        seconds = {**self._seconds, "total": time.perf_counter() - self._began}
        return {stage: round(value, 4) for stage, value in seconds.items()}

    def part(self, weight: float) -> OnProgress:
        """A progress function for a stage that is `weight` of the request; stages may run side by side."""
        reached = 0.0

        def report(done: float) -> None:
            nonlocal reached
            with self._lock:
                rise = min(max(done, 0.0), 1.0) - reached
                if not rise > 0:  # NaN is no rise
                    return
                reached += rise
                before, self._done = self._done, min(self._done + weight * rise, 1.0)
                if self._done > before:
                    self._on_progress(self._done)

        return report
