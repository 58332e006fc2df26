"""The commands that time real speech, on recordings made up here; no package is fetched and no model is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.real import diarizers, neighbours, speed
from tests.real.recording import Recording, Spoken
from tests.real.speed import Measured, Speech
from tools.benchmarks.in_turn import in_turn, running
from turnscribe.inputs.decode import decode_audio
from turnscribe.transcript import Turn
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
    with running("It", [sys.executable, "-c", script], Path()) as program:
        assert program.ask(Path("a.wav")) == {"took": 1.5, "text": "a"}
        for _ in range(2):
            with pytest.raises(RuntimeError, match="It ended: its error is above"):
                program.ask(Path("a.wav"))
            program.process.wait(10)


def test_programs_take_their_turns_and_the_first_round_does_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    script = """
import json, os, sys
for number, line in enumerate(sys.stdin):
    print("loaded")
    print("answer", json.dumps({"took": number, "text": os.environ["WHO"]}), flush=True)
"""
    command = [sys.executable, "-c", script]
    with running("one", command, Path(), WHO="a") as one, running("two", command, Path(), WHO="b") as two:
        answers = in_turn([one, two], Path("a.wav"), 2)
    assert answers == {
        name: [{"took": number, "text": text} for number in (1, 2)] for name, text in (("one", "a"), ("two", "b"))
    }
    order = [line.rsplit(" ", 2)[0] for line in capsys.readouterr().err.splitlines()]
    assert order == [f"a.wav, round {number}: {name}" for number in (1, 2) for name in ("one", "two")]


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


def test_a_diarizer_is_scored_over_all_recordings() -> None:
    spoken = Spoken(b"", turns=(Turn("a", 0.0, 4.0), Turn("b", 4.0, 10.0)))
    scores = [
        diarizers.score(spoken, [("x", 0.0, 4.0), ("y", 4.0, 10.0)], 10.0),
        diarizers.score(spoken, [("x", 0.0, 8.0)], 10.0),  # 2 s of b are missed, 4 are a's or 4 of a are b's
        diarizers.score(spoken, [], 10.0),
    ]
    assert [(one.errors, one.speech, one.speakers, one.found) for one in scores] == [
        (pytest.approx(0.0), pytest.approx(10.0), 2, 2),
        (pytest.approx(6.0), pytest.approx(10.0), 2, 1),
        (pytest.approx(10.0), pytest.approx(10.0), 2, 0),
    ]
    head, row = diarizers.table({"fast": [{"took": 1.0}, {"took": 3.0}, {"took": 2.0}]}, {"fast": scores}, 9.6)
    assert head.startswith("| program | 10 s take |")
    assert row == "| fast | 2.00 s | 53.3 % | 1 of 3 |"
