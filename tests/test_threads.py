"""Quotas of containers, as Linux writes them, and what is left to the operator."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from turnscribe import threads

HERE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, HERE),
        ({"cpu.max": "max 100000\n"}, HERE),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "10000000 100000\n"}, HERE),
        ({"cpu.max": "nonsense\n"}, HERE),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, HERE),
        ({"cpu/cpu.cfs_quota_us": "70000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "70000\n"}, HERE),
    ],
)
def test_a_quota_below_the_cores_counts(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.cores(tmp_path) == expected


@pytest.mark.parametrize(("given", "expected"), [("max 100000", 2), ("150000 100000", 2), ("100000 100000", 1)])
def test_part_of_a_core_is_one_more_thread(
    tmp_path: Path, given: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    (tmp_path / "cpu.max").write_text(given)
    assert threads.cores(tmp_path) == expected


def test_the_environment_goes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "cores", lambda: 1)
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        threads.limit_threads()
        assert torch.get_num_threads() == before
        monkeypatch.delenv("OMP_NUM_THREADS")
        threads.limit_threads()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("given", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}], ids=str)
def test_threads_wait_politely_unless_they_are_told_how(given: dict[str, str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in threads.POLICIES} | given
    script = "import os, turnscribe.threads as t\nprint(os.environ.get(t.SPINS), t.environment_before().get(t.SPINS))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    now, before = done.stdout.split()
    assert now == {"": "10000", "ACTIVE": "None", "7": "7"}["".join(given.values())]
    assert before == given.get("GOMP_SPINCOUNT", "None")
