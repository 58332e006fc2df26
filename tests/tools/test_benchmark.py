"""The benchmark's programs, on the smallest shape: what they count, keep and print. Times are not judged here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.benchmarks import command as benchmark
from tools.benchmarks.results import Results, Series

TOKENS = 21


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(benchmark, "MODELS", tmp_path / "models")
    return tmp_path


def run(*argv: object) -> int:
    return benchmark.main([str(arg) for arg in argv])


@pytest.mark.models
def test_the_engine_and_the_pipeline_do_equal_work_and_are_written_and_compared(models, capsys) -> None:
    asked = ["asr", "--shape", "test", "--tokens", TOKENS, "--seconds", 8, "--rounds", 1, "--out", models / "out"]
    asked += ["--peers", "turnscribe", "turnscribe words", "transformers greedy"]
    assert run(*asked) == 0
    written = json.loads((models / "out" / "asr.json").read_text())
    assert written["about"]["model"] == "test"
    assert {one["name"] for one in written["series"]} == {"turnscribe", "turnscribe words", "transformers greedy"}
    assert {(one["facts"]["windows"], one["facts"]["tokens"]) for one in written["series"]} == {(1, TOKENS)}
    assert all(one["facts"]["MB"] > 100 for one in written["series"])
    assert "| transformers greedy (windows 1, tokens 21, MB" in capsys.readouterr().out

    before = [one["seconds"] for one in written["series"]]
    assert run(*asked) == 0  # nothing is left to do
    assert [one["seconds"] for one in json.loads((models / "out" / "asr.json").read_text())["series"]] == before


@pytest.mark.models
def test_drafts_report_what_was_accepted(models, capsys) -> None:
    out = models / "out"
    asked = ["drafts", "--shape", "test", "--tokens", TOKENS, "--seconds", 8, "--rounds", 1, "--drafted", 3]
    assert run(*asked, "--out", out) == 0
    series = {one["name"]: one for one in json.loads((out / "drafts.json").read_text())["series"]}
    assert series.keys() == {"turnscribe", "turnscribe assisted", "turnscribe, 8 s"}
    assert 0 <= float(series["turnscribe, 8 s"]["facts"]["accepted"]) <= 1
    assert {one["facts"]["tokens"] for one in series.values()} == {TOKENS}


@pytest.mark.slow
def test_an_unknown_peer_is_named_with_the_known_ones(models) -> None:
    with pytest.raises(SystemExit, match=r"no peer is called whisperx: there are turnscribe, "):
        run("asr", "--shape", "test", "--peers", "whisperx", "--out", models)


def test_results_go_on_where_they_stopped_unless_they_are_of_something_else(tmp_path: Path) -> None:
    file = tmp_path / "asr.json"
    first = Results(file, {"model": "base"})
    first.of("turnscribe", seconds=180).seconds += [2.0, 4.0, 3.0]
    first.of("nobody", seconds=180)
    first.write()
    again = Results(file, {"model": "base"})
    assert again.of("turnscribe", seconds=180).median == 3.0
    assert "nobody" not in {one.name for one in again.series.values()}
    assert Results(file, {"model": "tiny"}).series == {}


def test_a_ratio_is_taken_under_the_same_setting_only(tmp_path: Path) -> None:
    results = Results(tmp_path / "asr.json", {})
    for name, seconds, took in (("ours", 60, 2.0), ("theirs", 60, 5.0), ("ours", 180, 4.0)):
        results.of(name, seconds=seconds).seconds.append(took)
    table = results.table(["seconds"], reference="theirs")
    assert "| ours | 60 | 2.00 | 1 | 2.50 |" in table
    assert "| ours | 180 | 4.00 | 1 |  |" in table


def test_a_plot_needs_two_points(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = Results(tmp_path / "asr.json", {})
    results.of("ours", seconds=60).seconds.append(2.0)
    assert not results.plot("seconds", "seconds of audio", tmp_path / "plot.png")
    results.of("ours", seconds=180).seconds.append(4.0)
    assert results.plot("seconds", "seconds of audio", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_a_series_is_known_by_name_and_setting() -> None:
    assert Series("ours", {"a": 1, "b": 2}).key == Series("ours", {"b": 2, "a": 1}, [3.0]).key
