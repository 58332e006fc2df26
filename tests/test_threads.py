"""Quotas of containers, as Linux writes them, and what is left to the operator."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.diarization.open_models import write_open_folder
from tests.test_handler import FakeAsr
from turnscribe import threads
from turnscribe.diarization.diarizer import diarize, load_diarizer
from turnscribe.request import DecodingOptions
from turnscribe.settings import ModelSettings
from turnscribe.waveform import SAMPLE_RATE, to_wav

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


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """torch with two threads, whatever the machine and its environment have; nothing was set before."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_load", None)
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.setattr(threads, "cores", lambda: 2)
    torch.set_num_threads(2)
    yield torch
    torch.set_num_threads(before)


def test_the_environment_goes_before(two_threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    threads.limit_threads("cpu")
    threads.follow_load()
    assert two_threads.get_num_threads() == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    threads.limit_threads("cuda")
    threads.follow_load()
    assert two_threads.get_num_threads() == 2
    threads.limit_threads("cpu")
    assert two_threads.get_num_threads() == 1


def test_models_that_are_loaded_beside_a_busy_program_are_not_held_back_for_ever(two_threads: Any) -> None:
    threads.limit_threads("cpu")
    two_threads.set_num_threads(1)  # as `follow_load` does there
    threads.limit_threads("cpu")
    assert two_threads.get_num_threads() == 2


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


class Machine:
    """Of `cores`, whose clock is `now`; times are as Linux writes them."""

    TICK = 1 / os.sysconf("SC_CLK_TCK")

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, cores: int = 4, most: int | None = None
    ) -> None:
        self.stat, self.now, self.own = folder / "stat", 1000.0, 5.0
        self.used = dict.fromkeys(("user", "nice", "steal"), 100.0)  # of the last core
        self.cores, self.running = cores, 1
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        self.write()
        self.load = threads.Load(most or cores, stat=self.stat, clock=lambda: self.now, own=lambda: self.own)

    def write(self) -> None:
        user, nice, steal = (round(self.used[name] / self.TICK) for name in ("user", "nice", "steal"))
        idle = "7 7 7 7 7 7 7 7 7 7"
        lines = [f"cpu {idle}", *(f"cpu{core} {idle}" for core in range(self.cores - 1))]
        lines += [f"cpu{self.cores - 1} {user} {nice} 0 9 9 0 0 {steal} 0 0", f"procs_running {self.running}"]
        self.stat.write_text("\n".join(lines) + "\n")

    def threads_after(self, seconds: float, *, own: float = 0.0, **others: float) -> int:
        """That compute once so many seconds have passed, of which this process and others used so many cores."""
        self.now += seconds
        self.own += own * seconds
        self.used["user"] += own * seconds
        for name, cores in others.items():
            self.used[name] += cores * seconds
        self.write()
        return self.load.threads()


def test_threads_are_as_many_as_cores_that_others_leave_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    assert machine.threads_after(0.25) == 4
    assert machine.threads_after(0.25, own=4) == 4
    assert machine.threads_after(0.25, own=2.7, user=1) == 3
    assert machine.threads_after(0.25, own=2, user=1.1, nice=1, steal=1.2) == 2
    assert machine.threads_after(0.25, own=3, user=0.2) == 4


def test_of_two_cores_a_busy_one_leaves_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, cores=2)
    assert machine.threads_after(0.25, own=1.3, user=0.7) == 1  # the other comes late, too
    assert machine.threads_after(0.25, own=1, user=1) == 1
    assert machine.threads_after(0.25, own=1, user=0.5) == 1  # between two numbers
    assert machine.threads_after(0.25, own=1, user=0.3) == 2
    assert machine.threads_after(0.25, own=1.5, user=0.5) == 2


def test_half_of_the_cores_are_used_whatever_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the second of two programs that do so would have what the first one leaves."""
    machine = Machine(tmp_path, monkeypatch)
    assert machine.threads_after(0.25, own=0.5, user=3.5) == 2


def test_a_long_pass_is_no_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits at its end are threads of this process."""
    machine = Machine(tmp_path, monkeypatch)
    machine.running = 4
    assert machine.threads_after(5, own=3.9) == 4
    assert machine.threads_after(5, own=2.9, user=1) == 3


def test_what_cannot_be_read_for_once_is_looked_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    assert machine.threads_after(0.25, user=1) == 3
    machine.now += 0.25
    machine.stat.write_text("")
    assert machine.load.threads() == 3
    assert machine.threads_after(0.25, own=1, user=0) == 4


def test_between_two_looks_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    assert machine.threads_after(0.1, user=2) == 4
    assert machine.threads_after(0.15, user=2) == 2


def test_after_a_pause_what_runs_now_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    machine.running = 2  # with the one that looks
    assert machine.threads_after(60) == 3
    machine.running = 1
    assert machine.threads_after(60, user=3) == 4


def test_a_quota_is_an_upper_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, cores=8, most=2)
    assert machine.threads_after(0.25, user=5) == 2
    assert machine.threads_after(0.25, user=8) == 2


@pytest.mark.parametrize("text", [None, "", "cpu0 1 2\n", "nonsense", "cpu0 a b c d e f g h\nprocs_running 1\n"])
def test_where_nothing_is_known_all_compute(tmp_path: Path, text: str | None) -> None:
    stat = tmp_path / "stat"
    if text is not None:
        stat.write_text(text)
    now = 0.0
    load = threads.Load(2, stat=stat, clock=lambda: now)
    now = 0.5
    assert load.threads() == 2


def test_a_thread_that_has_computed_before_follows_too(two_threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads.limit_threads("cpu")
    load = threads._load
    assert load is not None
    seen: list[int] = []
    began, changed = threading.Event(), threading.Event()

    def compute() -> None:
        two_threads.ones(1).add(1)
        seen.append(two_threads.get_num_threads())
        began.set()
        changed.wait(10)
        seen.append(two_threads.get_num_threads())
        threads.follow_load()
        seen.append(two_threads.get_num_threads())

    thread = threading.Thread(target=compute)
    thread.start()
    began.wait(10)
    monkeypatch.setattr(load, "threads", lambda: 1)
    threads.follow_load()
    changed.set()
    thread.join()
    assert two_threads.get_num_threads() == 1
    assert seen == [2, 2, 1]  # torch's number is each thread's own


@pytest.mark.skipif(not threads.STAT.exists() or HERE < 2, reason="reads Linux' /proc/stat")
def test_a_busy_program_is_seen() -> None:
    load = threads.Load(HERE)
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    ) as busy:
        try:
            assert busy.stdout is not None
            busy.stdout.readline()
            load.threads()
            time.sleep(0.5)
            beside = load.threads()
        finally:
            busy.kill()
    assert beside < HERE


class Noted:
    """In the place of `threads.Load`: which modules ask."""

    def __init__(self) -> None:
        self.modules: set[str] = set()

    def threads(self) -> int:
        self.modules.add(sys._getframe(2).f_globals["__name__"])  # the caller of `follow_load`
        return 2


@pytest.mark.models
def test_whatever_computes_for_long_follows(
    demo_handler: Any,
    reference_asr: Any,
    conversation_waveform: Any,
    tmp_path: Path,
    two_threads: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted = Noted()
    monkeypatch.setattr(threads, "_load", noted)
    waveform = conversation_waveform[: 6 * SAMPLE_RATE]
    demo_handler({"inputs": to_wav(waveform), "parameters": {}})
    reference_asr.transcribe(waveform, DecodingOptions(language="en"))
    folder = write_open_folder(tmp_path / "open-diarizer")
    for effort in ("fast", "exact"):
        diarize(load_diarizer(str(folder), effort=effort), waveform)
    assert noted.modules == {
        "turnscribe.speech.detector",
        "turnscribe.engine.decode",
        "turnscribe.asr.transformers_backend",
        "turnscribe.diarization.pyannote",
        "turnscribe.diarization.open_diarizer",
        "turnscribe.diarization.segmenter",
        "turnscribe.diarization.voices",
    }


@pytest.mark.parametrize("load", ["handler", "pipeline"])
def test_loading_limits_the_threads(load: str, two_threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import handler
    from turnscribe import pipeline

    monkeypatch.setattr(threads, "cores", lambda: 1)
    for module in (handler, pipeline):
        monkeypatch.setattr(module, "best_device", lambda: "cpu")
        monkeypatch.setattr(module, "load_asr", lambda *_, **__: FakeAsr())
    settings = ModelSettings(asr_model="any")
    if load == "handler":
        handler.EndpointHandler("", settings)
    else:
        pipeline.load_pipeline(settings)
    assert two_threads.get_num_threads() == 1
    assert threads._load is not None
