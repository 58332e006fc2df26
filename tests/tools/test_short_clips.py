"""The command that counts short clips a second: which clips are sent, and what is said of two checkouts."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakePipeline
from tests.serving.live import serving
from tools.load_test import short_clips
from tools.load_test.server import REPOSITORY
from tools.load_test.short_clips import clips_in, cut_clips, main
from turnscribe.errors import BadAudio
from turnscribe.inputs.decode import measured_seconds
from turnscribe.waveform import to_wav


@pytest.fixture
def checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Those whose servers were started, in turn; a server answers without models, and refuses one clip in the second
    checkout's turn."""
    started: list[Path] = []

    def behave(audio: bytes, *_: Any) -> None:
        if started[-1] != REPOSITORY and audio == cut_clips(5)[4]:
            raise BadAudio("Not this one.")

    class Server:
        def __init__(self, *_: Any, folder: Path, repository: Path, **__: Any) -> None:
            started.append(repository)
            self.folder = folder

        @contextmanager
        def _serving(self) -> Any:
            with serving(FakePipeline(behave), self.folder) as client:
                yield client

        def __enter__(self) -> Server:
            self.serving = self._serving()
            self.client = self.serving.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            self.serving.__exit__(*error)

        def ready(self) -> str:
            return str(self.client.base_url)

    monkeypatch.setattr(short_clips, "ServerProcess", Server)
    return started


def test_two_checkouts_take_turns_and_a_refused_clip_is_told(
    checkouts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--clips", "5", "--at-once", "2", "--rounds", "2"]
    assert main([*given, "--beside", str(tmp_path), "--parameters", '{"language": "en"}']) == 1
    assert checkouts == [REPOSITORY, tmp_path] * 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("5 clips, ")
    assert lines[-1].endswith("4 of 5 texts are the same.")
    (other,) = (line for line in lines if line.startswith("| the other |"))
    assert other.endswith("| 2 |")
    assert main(given) == 0


def test_clips_are_the_same_at_every_run_and_short() -> None:
    clips = cut_clips(20)
    assert clips == cut_clips(20)
    seconds = [measured_seconds(clip) for clip in clips]
    assert 1 <= min(seconds) < 3 < 6 < max(seconds) <= 8


def test_of_a_folder_those_of_the_right_length_are_sent(
    tmp_path: Path, conversation_waveform: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seconds in {"a": 0.5, "b": 2, "c": 7, "d": 12}.items():
        (tmp_path / f"{name}.wav").write_bytes(to_wav(conversation_waveform[: round(seconds * 16_000)]))
    (tmp_path / "e.txt").write_text("no recording")
    assert sorted(round(measured_seconds(clip)) for clip in clips_in(tmp_path, 4)) == [2, 2, 7, 7]
    (tmp_path / "b.wav").unlink()
    (tmp_path / "c.wav").unlink()
    assert main(["--folder", str(tmp_path)]) == 2
    assert "has no recording of 1 to 8 s" in capsys.readouterr().err
