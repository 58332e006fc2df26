"""The commands that say what a minute and what a request cost, with a pipeline that runs no model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import TRANSCRIPT, FakePipeline, deployed
from tools.benchmarks import lengths, memory
from turnscribe.listener import Listener
from turnscribe.memory import give_back_memory
from turnscribe.request import Request
from turnscribe.transcript import Transcript
from turnscribe.waveform import to_wav

HELD = 80_000_000  # bytes, of each request: more than `memory.keep_memory` keeps of what is freed


def holding(audio: bytes, request: Request, listener: Listener) -> Transcript:
    kept = np.ones(HELD, np.int8)
    time.sleep(0.2 if len(audio) > 10_000 else 1.0)  # so that those that run at once hold it at once
    assert kept.any()
    return TRANSCRIPT


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    fake = FakePipeline(holding)
    monkeypatch.setattr(lengths, "package_deployment", lambda: deployed(fake))
    monkeypatch.setattr("turnscribe.pipeline.load_pipeline", lambda settings: fake)
    return fake


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_length_has_its_cost_its_stages_and_its_peak(
    pipeline: FakePipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lengths.main(["--minutes", "0.1", "0.3"]) == 0
    first, second = map(cells, capsys.readouterr().out.splitlines()[2:])
    assert (first[0], first[3], second[0]) == ("0.1", "1.00", "0.3")
    assert float(second[3]) < 0.7  # it takes as long, and is three times as long
    assert first[4:8] == ["0.0", "", "0.2", ""]
    assert float(first[8]) > HELD / 1e6
    seconds = [(len(audio) - 44) / 32_000 for audio in pipeline.recordings]
    assert seconds == pytest.approx([lengths.WARM_UP_S, 6, 18])


def test_the_peak_is_that_of_what_ran_since_it_was_reset() -> None:
    before = lengths.peak_mb()
    kept = np.ones(HELD, np.int8)
    assert lengths.peak_mb() >= before
    del kept
    give_back_memory()
    lengths.reset_peak()
    low = lengths.peak_mb()
    kept = np.ones(HELD, np.int8)
    assert lengths.peak_mb() - low == pytest.approx(HELD / 1e6, abs=5)
    assert kept.any()


def test_memory_rises_with_the_requests_at_once(
    pipeline: FakePipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.wav").write_bytes(to_wav(np.zeros(1600, np.float32)))
    assert memory.main(["demo/whisper", str(tmp_path / "a.wav"), "--at-once", "1", "4"]) == 0
    out = capsys.readouterr().out
    assert "a first transcript" in out
    one, four = (cells(line) for line in out.splitlines()[-2:])
    above: list[Any] = [float(line[3]) for line in (one, four)]
    assert (one[0], four[0]) == ("1", "4")
    assert above == pytest.approx([HELD / 1e6, 4 * HELD / 1e6], abs=12)
