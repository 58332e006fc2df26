"""The soak: what it compares, what it counts and what it draws; a short one; that it ends what it started."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.serving.live import until
from tests.tools.test_load_test import alive
from tools.load_test.watch import Sample, Watch, growth
from tools.soak.alone import difference
from tools.soak.command import disturbances, main
from tools.soak.figures import Figures, about_process, table
from tools.soak.ledger import DELETED, Ledger
from tools.soak.lives import Lives, Outage


@pytest.mark.parametrize(
    ("given", "wanted", "found"),
    [
        ({"text": "a", "timings": {"asr": 1}}, {"text": "a"}, None),
        ({"text": "a"}, {"text": "b"}, "the answer's text is 'a', alone it is 'b'"),
        ({"words": [{"probability": 0.5}]}, {"words": [{"probability": 0.51}]}, None),
        ({"words": [{"start": 0.5}]}, {"words": [{"start": 0.6}]}, "words[0]'s start is '0.5'"),
        ({"text": "a", "warnings": ["x"]}, {"text": "a"}, "the answer's warnings is"),
        ({"words": []}, {"words": [1]}, "the answer's words is '[]'"),
        ("1\n", "2\n", "the answer is"),
    ],
)
def test_answers_are_the_same_but_for_their_timings(given: object, wanted: object, found: str | None) -> None:
    said = difference(given, wanted)
    assert (said is None) if found is None else (found in (said or ""))


def test_disturbances_are_drawn_from_the_seed_and_leave_a_quiet_end() -> None:
    hour = disturbances(7, 3600, restarts=None, kills=None)
    assert (
        hour == disturbances(7, 3600, restarts=None, kills=None) != disturbances(8, 3600, restarts=None, kills=None)
    )
    assert len(hour) == 30
    assert sum(killed for _, killed in hour) == 15
    assert hour == sorted(hour)
    assert hour[-1][0] < 0.6 * 3600
    assert disturbances(1, 30, restarts=0, kills=1)[0][1]
    assert disturbances(1, 30, restarts=0, kills=0) == []


def samples(memory: list[float], *, seconds: float = 1.0, threads: int = 5) -> list[Sample]:
    return [Sample(number * seconds, 1, mib, threads, 9, 0.0) for number, mib in enumerate(memory)]


def test_growth_is_what_goes_on_after_the_beginning() -> None:
    warm = [500.0 + min(number, 50) * 10 for number in range(200)]
    assert growth(samples(warm)) == []
    (grown,) = growth(samples([500.0 + number * 2 for number in range(200)]))
    assert "memory_mib grew" in grown
    assert growth(samples([500.0 + number * 2 for number in range(100)])) == [], "a life that is too short to say"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as database:
        database.execute("CREATE TABLE jobs (id TEXT, status TEXT)")
    return tmp_path


def put(folder: Path, id: str, status: str) -> None:
    with sqlite3.connect(folder / "jobs.sqlite3") as database:
        database.execute("INSERT INTO jobs VALUES (?, ?)", (id, status))


def test_every_accepted_job_has_to_be_done_or_deleted(folder: Path) -> None:
    ledger = Ledger()
    for id in ("job_done", "job_gone", "job_failed"):
        ledger.accept(id, 0, 0)
    ledger.accept("job_deleted", 0, 0).state = DELETED
    ledger.accept("job_deleted_in_vain", 0, 0).state = DELETED
    for id, status in (("job_done", "done"), ("job_failed", "failed"), ("job_deleted_in_vain", "done")):
        put(folder, id, status)
    assert ledger.check_folder(folder) == [
        "Job job_gone was accepted and is gone.",
        "Job job_failed was accepted and is failed.",
        "Job job_deleted_in_vain was deleted and is kept as done.",
    ]


def test_a_job_whose_acceptance_was_cut_off_may_be_there_and_no_other(folder: Path) -> None:
    ledger = Ledger()
    put(folder, "job_stranger", "done")
    assert "nobody was told of" in ledger.check_folder(folder)[0]
    ledger.note_unanswered()
    assert ledger.check_folder(folder) == []
    (folder / "job_stranger.upload").touch()
    assert "recordings are left" in ledger.check_folder(folder)[0]


def test_a_job_is_done_once() -> None:
    ledger = Ledger()
    entry = ledger.accept("job", 0, 0)
    assert ledger.note_done(entry, 5.0) is None
    assert ledger.note_done(entry, 5.0) is None
    assert "done twice" in (ledger.note_done(entry, 6.0) or "")


def test_only_what_was_cut_off_may_go_unanswered(tmp_path: Path) -> None:
    lives = Lives({}, tmp_path, tmp_path / "log", Watch(), lambda _: None)
    lives.outages = [Outage(10.0, killed=False)]
    assert not lives.excuses(8.0, 9.0, 12.0), "sent in full before SIGTERM"
    assert lives.excuses(8.0, None, 12.0)
    assert lives.excuses(8.0, 10.1, 12.0)
    assert lives.excuses(8.0, 9.0, 40.0), "it takes longer than the server has"
    assert not lives.excuses(11.0, None, 12.0), "it began after that"
    lives.outages = [Outage(10.0, killed=True)]
    assert lives.excuses(8.0, 9.0, 12.0)


def test_the_figures_become_a_table() -> None:
    figures = Figures()
    for seconds in (0.5, 0.1, 0.3):
        figures.note("json", seconds)
    said = table(figures.rows(), {"kills": 2}, about_process(samples([500.0, 700.0, 600.0])))
    assert "| json | 3 | 0.30 | 0.50 | 0.50 |" in said
    assert "| kills | 2 |" in said
    assert "| memory, MiB: first, last, max | 500.0, 600.0, 700.0 |" in said


def _arguments(folder: Path) -> list[str]:
    return ["--log", str(folder / "log"), "--asr-only", "--clips", "1"]


@pytest.mark.models
@pytest.mark.serving
def test_a_short_one_with_a_restart_and_a_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "figures.json"
    arguments = ["--minutes", "0.15", "--seed", "3", "--restarts", "1", "--kills", "1", "--output", str(output)]
    main([*arguments, *_arguments(tmp_path)])
    said = capsys.readouterr()
    figures = json.loads(output.read_text())
    assert figures["failures"] == [], said.err
    assert "| jobs lost | 0 |" in said.out
    assert (figures["outcome"]["restarts"], figures["outcome"]["kills"]) == (1, 1)
    assert {sample["life"] for sample in figures["samples"]} == {1, 2, 3}
    assert sum(row["answered"] for row in figures["requests"]) > 10


@pytest.mark.models
@pytest.mark.serving
def test_ctrl_c_ends_the_server_while_it_loads(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.soak", *_arguments(tmp_path)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("this system does not tell a process's children")
    (server,) = until(lambda: children.read_text().split())
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=90)[1]
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not alive(int(server))
