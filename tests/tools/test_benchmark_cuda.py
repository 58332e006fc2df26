"""The GPU's benchmark on the stand-in: the whole command, what it leaves out, what is left of a broken run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tools.benchmarks.cuda import command, tests
from tools.benchmarks.cuda.bare import stand_in_for_missing
from tools.benchmarks.cuda.command import Budget, Step, main, steps
from tools.benchmarks.cuda.equality import Equality
from tools.benchmarks.cuda.report import Report, Row
from tools.benchmarks.cuda.speed import Speed, Windows
from tools.benchmarks.shapes import SHAPES
from tools.fake_gpu import FakeGpu
from turnscribe.engine.decode import Decoding

pytestmark = pytest.mark.slow

TRIED = ["--device", "cpu", "--shape", "test", "--tokens", "6"]


@pytest.mark.models
def test_the_whole_command_comes_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main([*TRIED, "--batches", "1", "2", "--audio", "12", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "cuda.json").read_text())
    rows = found["rows"]
    assert status == 0, [row for row in rows if row["passed"] is False]
    assert found["complete"]
    assert not found["left_out"]
    assert found["about"]["device"] == "fake GPU"
    sections = [row["section"] for row in rows]
    wanted = ["Equality", "The proof at load", "Transcription", "Diarization", "From a cold start"]
    assert list(dict.fromkeys(sections)) == wanted
    timed = {(row["name"], row["batch"]) for row in rows if row["section"] == "Transcription"}
    for name in ("turnscribe", "turnscribe without graphs", "transformers generate", "encoder"):
        assert {(name, 1), (name, 2)} <= timed
    assert {(f"turnscribe, draft right at {share}", 2) for share in (0.7, 0.8, 0.9)} <= timed
    assert all(row["seconds"] > 0 for row in rows if row["section"] != "Equality")
    markdown = (tmp_path / "cuda.md").read_text()
    assert markdown == capsys.readouterr().out.rstrip("\n") + "\n"
    assert "| transformers generate | 2 |" in markdown
    assert "not come to its end" not in markdown


def test_what_does_not_fit_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def made(options: Any, device: Any, budget: Any) -> Any:
        for name, seconds in (("short", 5), ("long", 500), ("short too", 5)):
            yield Step(name, seconds, lambda name=name: done.append(name))

    monkeypatch.setattr(command, "steps", made)
    assert main([*TRIED, "--minutes", "1", "--out", str(tmp_path)]) == 0
    assert done == ["short", "short too"]
    found = json.loads((tmp_path / "cuda.json").read_text())
    assert found["complete"]
    (left_out,) = found["left_out"]
    assert left_out.startswith("long: it would take about ")
    assert left_out in (tmp_path / "cuda.md").read_text()


def test_a_slow_machine_has_less_time() -> None:
    now = [0.0]
    budget = Budget(100, clock=lambda: now[0])
    ten = Step("ten", 10, lambda: None)
    assert budget.pace == 1
    assert budget.fits(Step("all of it", 100, lambda: None))
    now[0] = 40
    budget.took(ten, 40)
    assert budget.left == 60
    assert budget.pace == 3  # (40 + 5) / (10 + 5)
    assert budget.fits(Step("twenty", 20, lambda: None))
    assert not budget.fits(Step("a little more", 21, lambda: None))


def test_on_an_h200_all_of_it_is_reckoned_to_fit() -> None:
    device = FakeGpu()
    options = command._options(
        ["--device", "cpu", "--tokens", "100", "--shape", "test", "--batches", *"1 2 4 8 16 24".split()]
    )
    options.audio = 3600.0
    reckoned = 0.0
    for step in steps(options, device, Budget(480)):
        reckoned += step.seconds
        if step.name == "the models":
            step.run()
    assert 240 < reckoned < 480


def test_a_step_that_fails_is_a_row_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error: device-side assert\nmany lines")

    def made(options: Any, device: Any, budget: Any) -> Any:
        yield Step("bad", 1, fail)
        yield Step("good", 1, lambda: Row("Section", "good", passed=True))

    monkeypatch.setattr(command, "steps", made)
    assert main([*TRIED, "--out", str(tmp_path)]) == 1
    rows = json.loads((tmp_path / "cuda.json").read_text())["rows"]
    assert [(row["name"], row["passed"]) for row in rows] == [("bad", False), ("good", True)]
    assert rows[0]["note"] == "RuntimeError: CUDA error: device-side assert"


def test_a_run_that_breaks_off_has_written_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(options: Any, device: Any, budget: Any) -> Any:
        yield Step("first", 1, lambda: Row("Section", "first", 4, 0.5, 240.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "steps", made)
    with pytest.raises(KeyboardInterrupt):
        main([*TRIED, "--out", str(tmp_path)])
    found = json.loads((tmp_path / "cuda.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["first"]
    assert not found["complete"]
    markdown = (tmp_path / "cuda.md").read_text()
    assert "| first | 4 | 0.5000 | 240 |" in markdown
    assert "not come to its end" in markdown


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([]) == 2
    assert "--device cpu" in capsys.readouterr().err


@pytest.mark.models
def test_a_wrong_replay_is_found() -> None:
    with torch.inference_mode():
        rows = Equality(FakeGpu(fails="replay wrongly"), SHAPES["test"], 8).rows()
    answers = {row.name: row.passed for row in rows}
    assert answers["the engine and generate, float32"]
    assert not answers["recorded passes and plain ones"]
    assert not answers["recorded beams and plain ones"]


@pytest.mark.models
@pytest.mark.parametrize("acceptance", [0.0, 0.7, 1.0])
def test_a_scripted_draft_is_right_as_often_as_it_is_told(acceptance: float) -> None:
    with torch.inference_mode():
        speed = Speed(FakeGpu(), SHAPES["test"], torch.float32, tokens=60, rounds=1)
        features = speed.features(3)
        said = speed.decoded(features)
        batch = speed.batch(3, draft=speed.scripted(3, said, acceptance), graphs=False)
        windows = Windows(speed.encoder, features, speed.prompt)
        decoding = Decoding(batch, windows, draft_length=1, encode_at_once=3)
        again = dict(decoding.run())
    assert [again[index].tokens for index in range(3)] == said
    share = decoding.accepted / decoding.proposed
    assert share == pytest.approx(acceptance, abs=0.15 if 0 < acceptance < 1 else 0.05)


def test_words_hang_on_their_place_by_far() -> None:
    """So that half precision changes no token of what is timed."""
    with torch.inference_mode():
        speed = Speed(FakeGpu(), SHAPES["test"], torch.float32, tokens=40, rounds=1)
        (said,) = speed.decoded(speed.features(1))
        first = speed.rules.first_time
        assert said[0] >= first
        assert list(said[1:]) == [1000 + place for place in range(3, 42)]


def test_pytest_says_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "test_two.py"
    file.write_text(
        "import pytest\n@pytest.mark.slow\ndef test_good(): pass\n@pytest.mark.slow\ndef test_bad(): assert 0\n"
    )
    monkeypatch.setattr(tests, "FILES", (str(file),))
    row = tests.tested("slow", seconds=60)
    assert row is not None
    assert row.passed is False
    assert "1 failed, 1 passed" in row.note
    assert "test_bad" in row.note
    monkeypatch.setattr(tests.importlib.util, "find_spec", lambda name: None)
    assert tests.tested("slow", seconds=60) is None


def test_what_a_bare_machine_lacks_is_stood_in_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stand_in_for_missing() == []
    monkeypatch.delitem(sys.modules, "annotated_types", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "annotated_types", None)
    assert stand_in_for_missing() == ["annotated_types"]
    from annotated_types import Ge, MaxLen

    assert Ge(1)
    assert MaxLen(3)


def test_rows_without_a_figure_have_empty_cells() -> None:
    report = Report({"device": "x"}, None)
    report.add(Row("Section", "a", passed=False, note="why"))
    assert "| a |  |  |  |  | **no** | why |" in report.markdown()
    assert [row.name for row in report.failed] == ["a"]
