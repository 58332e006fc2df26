"""How far a request is, how long it will take yet, and how long its stages took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from turnscribe.forecast import Forecast
from turnscribe.listener import SILENT, Estimate, Listener, OnProgress
from turnscribe.speeds import Expected

TELL_EVERY = 1.0  # seconds, whether or not anything is done meanwhile
FINISHED = 0.9999  # a share that is told of what has not ended, at most


class Stages:
    """Seconds by stage, its name as it begins, and one rising share of the request's time (0 to 1) with what is left.

    To be entered: inside, whoever listens for estimates is told one now and then, in a thread for that.
    """

    def __init__(self, listener: Listener = SILENT) -> None:
        self._listener = listener
        self._began = time.perf_counter()
        self._seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._forecast = Forecast()
        self._share = 0.0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._telling: threading.Thread | None = None

    def __enter__(self) -> Stages:
        if self._listener.on_estimate is not SILENT.on_estimate:
            self._telling = threading.Thread(target=self._tell_now_and_then, name="estimates", daemon=True)
            self._telling.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._telling is not None:
            self._telling.join()

    def plan(self, *steps: Mapping[str, Expected]) -> None:
        """What is to be done: step by step, the stages of a step side by side. The first plan is what begins reports;
        a later one knows more."""
        with self._lock:
            self._forecast.plan(steps)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        with self._lock:
            self._forecast.begin(stage, began)
        self._running.append(stage)
        self._listener.on_stage(stage)
        try:
            yield
        finally:
            self._running.remove(stage)
            self._listener.on_stage_end(stage)
            if self._running:
                self._listener.on_stage(self._running[-1])
            ended = time.perf_counter()
            self._seconds[stage] = self._seconds.get(stage, 0.0) + ended - began
            with self._lock:
                self._forecast.end(stage, ended)
        self._report()

    def seconds(self, stage: str) -> float:
        """What a stage took."""
        return self._seconds.get(stage, 0.0)

    def timings(self) -> dict[str, float]:
        """Seconds of every stage so far and their `total`, from the start of the request."""
        seconds = {**self._seconds, "total": time.perf_counter() - self._began}
        return {stage: round(value, 4) for stage, value in seconds.items()}

    def part(self, stage: str, first: float = 0.0, last: float = 1.0) -> OnProgress:
        """A progress function for what lies between two shares of a stage; stages may run side by side."""
        reached = 0.0

        def report(done: float) -> None:
            nonlocal reached
            done = min(max(done, 0.0), 1.0)
            if not done > reached:  # NaN is no rise
                return
            reached = done
            with self._lock:
                self._forecast.report(stage, first + (last - first) * done, time.perf_counter())
            self._report()

        return report

    def _report(self) -> None:
        """Of something that is done: in the thread that did it."""
        with self._lock:
            before = self._share
            self._tell()
            if self._share > before:
                self._listener.on_progress(self._share)

    def _tell_now_and_then(self) -> None:
        while not self._over.wait(TELL_EVERY):
            with self._lock:
                self._tell()

    def _tell(self) -> None:
        now = time.perf_counter()
        remaining = self._forecast.remaining(now)
        if remaining is None:
            return
        elapsed = now - self._began
        share = elapsed / max(elapsed + remaining, 1e-9)
        self._share = max(self._share, 1.0 if remaining == 0 else min(share, FINISHED))
        self._listener.on_estimate(Estimate(self._share, remaining))
