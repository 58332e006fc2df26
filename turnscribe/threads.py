"""How many threads compute on a CPU, and how they wait for each other.

    limit_threads(device)   once, before models are loaded
    follow_load()           between passes of a model: a thread for each core that no other program uses

torch's products are shared out among OpenMP's threads, which meet at the end of each. By default those that arrive
first spin, for many times as long as a product takes; where another program wants the core on which the last one has
to run, they spin in its way. If they sleep at once instead, it takes them longer to begin than a short product takes.
And torch takes as many threads as the machine has cores, though a container's quota (`docker run --cpus`, Kubernetes'
limits) may be fewer: then all threads stand still for the rest of each period.

Where another program keeps a core busy, the thread there comes late to each of the hundreds of products of a step,
and the others wait for it. On two cores both threads together are then slower than one alone would be. So there are
as many threads as cores that others leave free, looked up a few times a second.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SPINS = "GOMP_SPINCOUNT"  # GNU OpenMP's, which torch brings
POLICIES = ("OMP_WAIT_POLICY", SPINS)  # either is its operator's own choice
CGROUPS = Path("/sys/fs/cgroup")
STAT = Path("/proc/stat")
LOOKED_UP_S = 0.2  # apart; Linux counts time by 0.01 s
OF_LATE_S = 1.0  # if this process rested for so long, what others used meanwhile is no measure of now
RESTED = 0.1  # of a core at most
WORTH_A_CHANGE = 0.6  # cores; a number between two is no reason to change back and forth
_added = False  # by this process, to its environment
_threads: int | None = None  # that there were before any were set here
_load: Load | None = None  # of the machine, where the number of threads follows it


def wait_politely() -> None:
    """Have threads that wait for each other sleep soon, unless the environment says how they wait.

    Only what loads OpenMP later heeds it: call it before torch is imported.
    """
    global _added
    if not any(name in os.environ for name in POLICIES):
        _added = True
        os.environ[SPINS] = "10000"  # a third of a millisecond, as long as the gap between two products of a step


def environment_before() -> dict[str, str]:
    """The environment without what `wait_politely` added: for other programs, which are to run as they come."""
    return {name: value for name, value in os.environ.items() if not (_added and name == SPINS)}


def limit_threads(device: str) -> None:
    """On a CPU, compute with as many threads as this process may use cores, and from now on as `follow_load` says.

    If OMP_NUM_THREADS says how many, they are that many, always.
    """
    global _load, _threads
    _load = None
    if device != "cpu" or os.environ.get("OMP_NUM_THREADS"):
        return
    import torch

    if _threads is None:
        _threads = torch.get_num_threads()
    most = min(_threads, cores())
    torch.set_num_threads(most)
    _load = Load(most)


def follow_load() -> None:
    """Compute in this thread with as many threads as there are cores that no other program uses.

    Call it between passes. Nothing changes before `limit_threads` was called.
    """
    load = _load
    if load is None:
        return
    import torch

    threads = load.threads()
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


class Load:
    """What other programs use of the cores that this process may run on, by Linux' /proc/stat."""

    def __init__(
        self,
        most: int,
        *,
        stat: Path = STAT,
        clock: Callable[[], float] = time.monotonic,
        own: Callable[[], float] = time.process_time,
    ) -> None:
        self._most, self._threads, self._stat = most, most, stat
        self._clock, self._own = clock, own
        self._cores = _own_cores()
        self._before = self._looked_up()

    def threads(self) -> int:
        """As many as cores were free of others of late, half of all at least; one at least, and `most` at most."""
        before = self._before
        if before is None:
            return self._most
        if self._clock() - before.at < LOOKED_UP_S:
            return self._threads
        now = self._looked_up()
        if now is None:
            return self._threads
        self._before = now
        passed, own = now.at - before.at, now.own - before.own
        if passed > OF_LATE_S and own < RESTED * passed:
            used = now.waiting * len(self._cores) / (os.cpu_count() or 1)
        else:
            used = (now.busy - before.busy - own) / passed
        free = max(len(self._cores) - used, len(self._cores) // 2)  # or the second of two would have what one leaves
        if abs(free - self._threads) > WORTH_A_CHANGE:
            self._threads = max(min(round(free), self._most), 1)
        return self._threads

    def _looked_up(self) -> _Used | None:
        try:
            lines = {
                words[0]: words for line in self._stat.read_text("ascii").splitlines() if (words := line.split())
            }
            busy = sum(_busy(lines[f"cpu{core}"]) for core in self._cores)
            return _Used(self._clock(), busy, self._own(), int(lines["procs_running"][1]) - 1)
        except (OSError, ValueError, KeyError):
            return None


class _Used(NamedTuple):
    """At a time: the seconds used until then of all cores together, and by this process, and how many threads of the
    machine compute or wait for a core beside the one that looks."""

    at: float
    busy: float
    own: float
    waiting: int


def _busy(line: list[str]) -> float:
    """Seconds from one of the lines "cpu0 user nice system idle iowait irq softirq steal ...".

    Programs of a lower priority count, since within their own control group or session they have as much as any. What
    other virtual machines take (steal) does not: it comes from all cores alike.
    """
    user, nice, system, _, _, irq, softirq = map(int, line[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _own_cores() -> frozenset[int]:
    """The numbers of those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def cores(cgroups: Path = CGROUPS) -> int:
    """That this process may use at once: those it may run on, or its container's quota if that is less."""
    quota = _quota(cgroups)
    here = len(_own_cores())
    return here if quota is None else max(min(math.ceil(quota), here), 1)


def _quota(cgroups: Path) -> float | None:
    """A container's share of CPUs by Linux' control groups, version 2 or 1; `None` is without a limit."""
    try:
        limit, period = (cgroups / "cpu.max").read_text("ascii").split()
    except (OSError, ValueError):
        try:
            limit = (cgroups / "cpu" / "cpu.cfs_quota_us").read_text("ascii")
            period = (cgroups / "cpu" / "cpu.cfs_period_us").read_text("ascii")
        except OSError:
            return None
    try:
        share = int(limit) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return share if share > 0 else None  # -1
