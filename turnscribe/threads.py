"""How many threads compute on a CPU, and how they wait for each other.

torch's products are shared out among OpenMP's threads, which meet at the end of each. By default those that arrive
first spin, for many times as long as a product takes; where another program wants the core on which the last one has
to run, they spin in its way. And torch takes as many threads as the machine has cores, though a container's quota
(`docker run --cpus`, Kubernetes' limits) may be fewer: then all threads stand still for the rest of each period.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

SPINS = "GOMP_SPINCOUNT"  # GNU OpenMP's, which torch brings
POLICIES = ("OMP_WAIT_POLICY", SPINS)  # either is its operator's own choice
CGROUPS = Path("/sys/fs/cgroup")
_added = False  # by this process, to its environment


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


def limit_threads() -> None:
    """As many threads as this process may use cores, unless OMP_NUM_THREADS says how many."""
    import torch

    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(torch.get_num_threads(), cores()))


def cores(cgroups: Path = CGROUPS) -> int:
    """That this process may use at once: those it may run on, or its container's quota if that is less."""
    quota = _quota(cgroups)
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
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
