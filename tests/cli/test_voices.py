"""`turnscribe voices`: people are kept by their voices, listed, forgotten, and told apart."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.diarization.pitches import PitchDiarizer, tone
from tests.manual import block
from turnscribe.cli.voices import main
from turnscribe.waveform import Waveform, to_wav


@pytest.fixture(autouse=True)
def voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOICES_FOLDER", str(tmp_path / "voices"))
    return tmp_path / "voices"


def run(*line: object) -> int:
    return main([str(word) for word in line], load=lambda settings: PitchDiarizer())


def clip(path: Path, samples: Waveform) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_wav(samples[None].T if samples.ndim == 1 else samples))
    return path


def test_a_person_is_added_listed_and_forgotten(
    tmp_path: Path, voices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = clip(tmp_path / "a.wav", tone(200, 4)), clip(tmp_path / "b.wav", tone(200, 5))
    assert run("add", "Ann Lee", first, second) == 0
    assert run("add", "Bob", clip(tmp_path / "c.wav", tone(400, 3))) == 0
    assert run("list") == 0
    assert run("remove", "Bob") == 0
    assert run("list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "Ann Lee: 9.0 s of speech from 2 clips",
        "Bob: 3.0 s of speech from 1 clip",
        "Ann Lee\t9.0 s from 2 clips",
        "Bob\t3.0 s from 1 clip",
        "Ann Lee\t9.0 s from 2 clips",
    ]
    assert len(list(voices.iterdir())) == 1


def test_the_folder_may_be_named(tmp_path: Path, voices: Path) -> None:
    assert run("add", "Ann", clip(tmp_path / "a.wav", tone(200, 4)), "--folder", tmp_path / "others") == 0
    assert not voices.exists()
    assert len(list((tmp_path / "others").iterdir())) == 1


def test_the_manuals_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ann-monday.wav", "ann-friday.mp3"):
        clip(tmp_path / name, tone(200, 4))
    for person, pitch in (("Ann", 200), ("Bob", 400)):
        for number in range(2):
            clip(tmp_path / "clips" / person / f"{number}.wav", tone(pitch, 3))
    for line in block("sh", "turnscribe voices add").splitlines():
        _, _, *words = shlex.split(line)
        assert run(*words) == 0, line
    assert capsys.readouterr().out.splitlines()[:3] == [
        "Ann Lee: 8.0 s of speech from 2 clips",
        "Ann Lee\t8.0 s from 2 clips",
        "2 people, 4 clips",
    ]


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (tone(200, 1), "a.wav has less than 2 s of speech"),
        (np.zeros(80_000, np.float32), "a.wav has less than 2 s of speech"),
        (np.concatenate([tone(200, 4), tone(800, 3)]), "a.wav has more than one voice"),
    ],
)
def test_a_clip_that_is_not_of_one_person_speaking_is_refused(
    tmp_path: Path, voices: Path, capsys: pytest.CaptureFixture[str], samples: Waveform, said: str
) -> None:
    assert run("add", "Ann", clip(tmp_path / "a.wav", samples)) == 1
    assert said in capsys.readouterr().err
    assert not voices.exists()


def test_a_cough_of_somebody_else_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("add", "Ann", clip(tmp_path / "a.wav", np.concatenate([tone(200, 9), tone(800, 1)]))) == 0
    assert capsys.readouterr().out == "Ann: 9.0 s of speech from 1 clip\n"


def test_two_clips_of_two_people_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("add", "Ann", clip(tmp_path / "a.wav", tone(200, 4)), clip(tmp_path / "b.wav", tone(900, 4))) == 0
    assert "a.wav and" in (told := capsys.readouterr().err)
    assert "sound like two people (0.0" in told


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("add", "SPEAKER_00", "a.wav"), "starts with SPEAKER_"),
        (("add", "Ann", "missing.wav"), "missing.wav"),
        (("add", "Ann", "notes.wav"), "notes.wav: "),
        (("remove", "Ann"), "Nobody is called 'Ann'"),
        (("test", "."), "has no two people with two clips each"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "a.wav", tone(200, 4))
    (tmp_path / "notes.wav").write_text("no audio")
    assert run(*line) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("error: ")
    assert said in sentence


def test_clips_of_people_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bob's second clip sounds like Ann: one of two pairs of one person is missed, and two of four pairs are one."""
    for name, pitches in {"Ann": (200, 201), "Bob": (400, 200)}.items():
        for number, pitch in enumerate(pitches):
            clip(tmp_path / "clips" / name / f"{number}.wav", tone(pitch, 3))
    (tmp_path / "clips" / "notes.txt").write_text("nobody")
    assert run("test", tmp_path / "clips") == 0
    assert run("test", tmp_path / "clips", "--json") == 0
    shown, _, figures = capsys.readouterr().out.partition("{")
    assert shown.splitlines()[:3] == [
        "2 people, 4 clips",
        "taken for two people at 0.50: 1 of 2 pairs of one person (50.0%)",
        "taken for one: 2 of 4 pairs of two (50.0%)",
    ]
    told = json.loads("{" + figures)
    assert (told["same"], told["rejected"], told["different"], told["accepted"]) == (2, 1, 4, 2)
