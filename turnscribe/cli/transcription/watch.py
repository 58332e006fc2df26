"""A folder that is watched: each recording that is in it or comes into it is transcribed, once it is there whole.

Looks every few seconds, which works on every file system, those of a network too. A file is whole once its size and
time have stayed the same for some seconds. One that failed is tried again when it has changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from turnscribe.cli.transcription.batch import Order, tell, transcribe_file
from turnscribe.cli.transcription.check import CheckFile, problems_of_files
from turnscribe.cli.transcription.plan import plan
from turnscribe.cli.transcription.progress import ProgressBar
from turnscribe.cli.transcription.summary import Outcome, shown
from turnscribe.inputs.limits import Limits
from turnscribe.interrupts import two_step_interrupt
from turnscribe.pipeline import Pipeline

LOOK_EVERY = 2.0  # seconds
STILL = 5.0  # seconds without a change, after which a file is whole


@dataclass(frozen=True)
class State:
    """Of a file: when either differs, it is another one."""

    size: int
    changed: float  # seconds since the epoch


class WatchedFolder:
    """Tells which recordings of a folder are whole and not handled yet; `clock` tells the seconds since the epoch."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.folder, self._clock = folder, clock
        self._since: dict[Path, tuple[State, float]] = {}  # and when it was first seen so
        self._handled: dict[Path, State] = {}

    def ready(self) -> dict[Path, Path]:
        """The recordings to transcribe now, with their outputs' names; they count as handled from now on."""
        now = self._clock()
        found = plan([str(self.folder)]) if any(self.folder.iterdir()) else {}
        self._since = {source: seen for source, seen in self._since.items() if source in found}
        return {source: stem for source, stem in found.items() if self._is_ready(source, now)}

    def _is_ready(self, source: Path, now: float) -> bool:
        try:
            status = source.stat()
        except OSError:
            return False
        state = State(status.st_size, status.st_mtime)
        if not source.is_file() or self._handled.get(source) == state:
            return False
        before, since = self._since.get(source, (None, now))
        if before != state:  # it is new, and may have lain here for long, or it grows
            since = now if before is not None else min(max(status.st_mtime, status.st_ctime), now)
            self._since[source] = state, since
        if now - since < STILL:
            return False
        self._handled[source] = state
        return True


def watch(
    folder: WatchedFolder, order: Order, pipeline: Callable[[], Pipeline], limits: Limits, check: CheckFile
) -> Iterator[Outcome]:
    """How each file went, until Ctrl-C: the first stops the file that is at work, and what is written is whole.

    Raises `OSError` once the folder cannot be read.
    """
    with two_step_interrupt() as stop:
        while not stop.is_set():
            ready = folder.ready()
            if ready:
                yield from _transcribed(ready, order, pipeline, limits, check, stop)
            stop.wait(LOOK_EVERY)


def _transcribed(
    ready: dict[Path, Path],
    order: Order,
    pipeline: Callable[[], Pipeline],
    limits: Limits,
    check: CheckFile,
    stop: Event,
) -> Iterator[Outcome]:
    with ProgressBar(list(ready), quiet=order.args.quiet) as bar:
        for source, stem in ready.items():
            if stop.is_set():
                return
            bar.begin(source)
            refused = problems_of_files([source], limits, check)
            if refused:
                outcome = Outcome(source, "failed", refused[source])
            else:
                outcome = transcribe_file(source, stem, order, pipeline, bar, stop, recordings=ready)
            bar.end(transcribed=outcome.status == "done")
            tell(outcome, bar)
            if outcome.status == "done" and not order.args.quiet:
                bar.write(f"done: {shown(source)}")
            yield outcome
