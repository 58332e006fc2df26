"""The commands that time real speech, on recordings made up here; no package is fetched and no model is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.real import neighbours, speed
from tests.real.recording import Recording, Spoken
from tests.real.speed import Measured, Speech
from turnscribe.inputs.decode import decode_audio
from turnscribe.waveform import SAMPLE_RATE, to_wav


def recording(kind: str, text: str | None, seconds: float, language: str = "en") -> Recording:
    waveform = np.full(round(seconds * SAMPLE_RATE), 0.25, np.float32)
    return Recording(f"{kind}/{text}", kind, language, lambda: Spoken(to_wav(waveform), text))


def test_recordings_fill_the_time_in_the_order_of_their_kinds() -> None:
    made = speed.speech(
        [
            recording("prompt", "four", 2),
            recording("reading", "one", 3),
            recording("reading", "eins", 1, "de"),
            recording("conversation", None, 1),
            recording("conversation", "two", 2),
            recording("message", "too long", 9),
        ],
        10,
    )
    assert made.text == "one two four"
    waveform = decode_audio(made.audio).mono
    assert len(waveform) == 10 * SAMPLE_RATE
    loud = np.flatnonzero(np.diff(np.abs(waveform) > 0.1)) / SAMPLE_RATE
    assert loud == pytest.approx([3, 3.5, 5.5, 6, 8], abs=0.01)


def test_a_row_has_the_medians_and_the_errors_of_the_longest() -> None:
    made = {2: Speech(b"", "apples pears", 2), 9: Speech(b"", "apples pears plums figs", 9)}
    measured = {
        ("ours", 2): Measured((1.0, 3.0, 2.0), "Apples, pears!"),
        ("ours", 9): Measured((4.0,), "apples pears plum figs nuts"),
    }
    head, _, row = speed.table(measured, made)
    assert head.startswith("| program | 2 s | 9 s | word errors of 9 s |")
    assert row == "| ours | 2.00 s | 4.00 s | 50.0 % | 1, 0, 1 |"


def test_a_worker_is_asked_and_one_that_ends_is_told() -> None:
    answer = 'answer {"took": 1.5, "text": "a"}'
    script = f"input(); print('loaded'); print({answer!r}, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert speed.ask(process, Path("a.wav")) == {"took": 1.5, "text": "a"}
        with pytest.raises(RuntimeError, match="its error is above"):
            speed.ask(process, Path("a.wav"))


def test_another_checkout_has_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        speed.main(["--before", str(tmp_path)])
    assert "has no handler.py: name the folder of a checkout." in capsys.readouterr().err


def test_a_busy_program_is_there_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)  # type: ignore[arg-type]
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    monkeypatch.setattr(neighbours, "READY", 0.1)
    with neighbours.busy():
        assert started[0].poll() is None
    assert started[0].poll() is not None
