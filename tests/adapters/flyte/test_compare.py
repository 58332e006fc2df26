"""What the comparison takes for measured already. What it measures is in `test_processes.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.flyte import compare
from tests.conftest import DEMO

FIGURES = {"audio": 1.0, "total": 1.0, "text": "words"}


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison sets them for its process."""
    for name, number in compare.THREADS.items():
        monkeypatch.setenv(name, number)


def test_other_audio_models_or_parameters_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def measure(recording: Path, tasks: int, parameters: Any, folder: Path) -> dict[str, Any]:
        measured.append(tasks)
        return dict(FIGURES)

    def tasks_measured(*argv: str) -> list[int]:
        measured.clear()
        given = ["--recording", str(recording), "--folder", str(tmp_path / "figures"), "--tasks", "1", "2"]
        assert compare.main([*given, *argv]) == 0
        return list(measured)

    monkeypatch.setattr(compare, "measure", measure)
    monkeypatch.setenv("ASR_MODEL", DEMO["asr_model"])
    recording = tmp_path / "monday.wav"
    recording.write_bytes(b"some audio")
    assert tasks_measured() == [1, 2]
    assert tasks_measured() == []
    assert tasks_measured("--chunk-length-s", "20") == [1, 2]
    recording.write_bytes(b"other, longer audio")
    assert tasks_measured() == [1, 2]
    monkeypatch.setenv("DIARIZATION_MODEL", DEMO["diarization_model"])
    assert tasks_measured() == [1, 2]
    assert tasks_measured() == []


def test_without_a_model_the_comparison_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASR_MODEL", raising=False)
    assert compare.main(["--folder", str(tmp_path), "--minutes", "0.01"]) == 2
