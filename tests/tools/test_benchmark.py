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


@pytest.mark.models
def test_the_gpu_benchmark_runs_to_its_table_on_the_smallest_shape(tmp_path: Path, capsys) -> None:
    from tools.benchmarks import cuda as benchmark_cuda

    out = tmp_path / "cuda.json"
    asked = ["--shape", "test", "--device", "cpu", "--dtype", "float32", "--tokens", str(TOKENS), "--batch", "2"]
    assert benchmark_cuda.main([*asked, "--rounds", "1", "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    names = {row["name"] for row in rows}
    assert {"encoder", "transformers generate", "turnscribe", "turnscribe, draft right at 0.8"} <= names
    assert {row["batch"] for row in rows} == {1, 2}
    assert "| transformers generate | 2 |" in capsys.readouterr().out


@pytest.mark.models
@pytest.mark.parametrize("acceptance", [0.0, 0.7, 1.0])
def test_a_scripted_draft_is_right_as_often_as_it_is_told(acceptance: float) -> None:
    import torch

    from tools.benchmarks.cuda import Windows, _Bench, _options
    from tools.benchmarks.shapes import SHAPES
    from turnscribe.engine.decode import Decoding

    options = _options(["--device", "cpu", "--dtype", "float32", "--tokens", "60"])
    with torch.inference_mode():
        bench = _Bench(SHAPES["test"], options, torch.device("cpu"), torch.float32)
        features = torch.randn(3, 80, 3000)
        said = bench._decode(features)
        batch = bench._batch(3, draft=bench._scripted(3, said, acceptance))
        decoding = Decoding(batch, Windows(bench.encoder, features, bench.prompt), draft_length=1, encode_at_once=3)
        again = dict(decoding.run())
    assert [again[index].tokens for index in range(3)] == said
    share = decoding.accepted / decoding.proposed
    assert share == pytest.approx(acceptance, abs=0.15 if 0 < acceptance < 1 else 0.05)
