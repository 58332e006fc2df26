"""What a server's process holds while it runs: memory, threads, descriptors and unnamed files, sampled."""

from __future__ import annotations

import os
import stat
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

MIB = 2**20
LONG_ENOUGH_S = 120.0  # of a life, for its growth to say anything
MOST_MEMORY = 1.10  # of the second quarter of a life in its last quarter
MOST_THREADS, MOST_DESCRIPTORS = 8, 24  # more in the last quarter than in the second


@dataclass(frozen=True)
class Sample:
    """One look at a process. `life` counts the processes that were watched, from 1."""

    second: float
    life: int
    memory_mib: float
    threads: int
    descriptors: int
    spool_mib: float  # of files that have no name any more: uploads that are being read


class Watch:
    """Looks every so many seconds, from `with` on, at the process that `follow` named last."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.samples: list[Sample] = []
        self._seconds, self._began = seconds, time.monotonic()
        self._life, self._process = 0, None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Since its beginning."""
        return time.monotonic() - self._began

    def follow(self, pid: int | None) -> None:
        """Another process from now on; `None`: there is none for a while."""
        self._process = None if pid is None else psutil.Process(pid)
        self._life += pid is not None

    def _look_on(self) -> None:
        while not self._ended.wait(self._seconds):
            process = self._process
            if process is not None:
                with suppress(psutil.Error, OSError):  # it has just ended
                    self.samples.append(self._sample(process))

    def _sample(self, process: psutil.Process) -> Sample:
        return Sample(
            second=round(self.seconds, 1),
            life=self._life,
            memory_mib=round(process.memory_info().rss / MIB, 1),
            threads=process.num_threads(),
            descriptors=process.num_fds(),
            spool_mib=round(_unnamed_bytes(process.pid) / MIB, 1),
        )


def growth(samples: Sequence[Sample]) -> list[str]:
    """A sentence for each thing that grew in the last life of the samples, from its second to its last quarter.

    The first quarter is left out: there the models' buffers come to their size.
    """
    of_life = [sample for sample in samples if sample.life == samples[-1].life]
    quarter = len(of_life) // 4
    if not quarter or of_life[-1].second - of_life[0].second < LONG_ENOUGH_S:
        return []
    early, late = of_life[quarter : 2 * quarter], of_life[-quarter:]
    grown = []
    for name, most in (
        ("memory_mib", lambda before: before * MOST_MEMORY),
        ("threads", lambda before: before + MOST_THREADS),
        ("descriptors", lambda before: before + MOST_DESCRIPTORS),
    ):
        before, after = (statistics.median(getattr(one, name) for one in part) for part in (early, late))
        if after > most(before):
            grown.append(f"The server's {name} grew from {before:g} to {after:g}.")
    return grown


def _unnamed_bytes(pid: int) -> int:
    """Of the regular files that a process has open and that nobody else can find."""
    total = 0
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found = os.stat(entry.path)
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                    total += found.st_size
    return total
