"""A watched folder, with recordings made up here: what a file holds is what is said in it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_transcribe import Pipeline, files
from tests.conftest import REPOSITORY
from tests.fakes import deployed
from tests.manual import block
from turnscribe.cli.transcribe import main
from turnscribe.cli.transcription import watch
from turnscribe.cli.transcription.watch import STILL, WatchedFolder
from turnscribe.deployment import Deployment
from turnscribe.errors import BadAudio, Cancelled
from turnscribe.listener import Listener


class Clock:
    def __init__(self) -> None:
        self.now = time.time() + 1000

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNSCRIBE_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "inbox"
    made.mkdir()
    return made


def ready(watched: WatchedFolder) -> list[str]:
    return sorted(source.name for source in watched.ready())


def test_what_lies_there_for_long_is_taken_at_once_and_only_once(folder: Path) -> None:
    clock = Clock()
    watched = WatchedFolder(folder, clock=clock)
    assert ready(watched) == []
    for name in ("a.wav", "notes.txt", ".part.wav"):
        (folder / name).write_bytes(b"x")
    assert ready(watched) == ["a.wav"]
    clock.now += 100
    assert ready(watched) == []


def test_a_file_that_grows_is_left_until_it_has_stopped(folder: Path) -> None:
    clock = Clock()
    watched = WatchedFolder(folder, clock=clock)
    file = folder / "a.wav"
    for size in range(1, 4):
        file.write_bytes(b"x" * size)
        os.utime(file, (clock.now, clock.now))
        assert ready(watched) == []
        clock.now += 2
    clock.now += STILL - 2.5
    assert ready(watched) == []
    clock.now += 1
    assert ready(watched) == ["a.wav"]


def test_a_file_that_has_changed_is_taken_again(folder: Path) -> None:
    clock = Clock()
    watched = WatchedFolder(folder, clock=clock)
    (folder / "a.wav").write_bytes(b"x")
    assert ready(watched) == ["a.wav"]
    (folder / "a.wav").write_bytes(b"xy")
    assert ready(watched) == []
    clock.now += STILL
    assert ready(watched) == ["a.wav"]


def test_recordings_are_transcribed_as_they_come_until_ctrl_c(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(watch, "STILL", 0.0)
    (folder / "a.wav").write_bytes(b"a")
    (folder / "bad.wav").write_bytes(b"bad")
    (folder / "done.wav").write_bytes(b"done")
    (folder / "done.srt").write_text("mine")

    def behave(audio: bytes, listener: Listener) -> None:
        if audio == b"bad":
            (folder / "c.wav").write_bytes(b"c")  # somebody brings another one
            raise BadAudio("It is damaged.")
        if audio == b"c":
            os.kill(os.getpid(), signal.SIGINT)
            assert listener.should_stop()
            raise Cancelled("Stopped.")

    pipeline, loads = Pipeline(behave), []
    deployment = deployed(pipeline)
    load = deployment.load
    deployment = Deployment(
        load_settings=deployment.load_settings,
        parse=deployment.parse,
        load=lambda settings: loads.append(1) or load(settings),
    )
    argv = ["--watch", str(folder), "--format", "srt"]
    assert main(argv, deployment=deployment, check=lambda path: None) == 130
    assert pipeline.recordings == [b"a", b"bad", b"c"]
    assert loads == [1]
    assert files(folder) == ["a.srt", "a.wav", "bad.wav", "c.wav", "done.srt", "done.wav"]
    assert (folder / "done.srt").read_text() == "mine"
    told = capsys.readouterr().err.splitlines()
    assert told.count(f"error: {folder / 'bad.wav'}: It is damaged.") == 1
    assert f"done: {folder / 'a.wav'}" in told


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--watch", "nowhere"], "--watch nowhere: there is no such folder."),
        (["--watch", ".", "a.wav"], "leave the recordings out"),
        ([], "or give --watch FOLDER"),
    ],
)
def test_what_cannot_be_watched_is_wrong_usage(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv, deployment=deployed(Pipeline()))
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.models
def test_the_manuals_command_watches_a_folder(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "demo" / "conversation.flac", tmp_path)
    text = block("sh", "--watch").replace("\\\n", " ").replace("--watch recordings", f"--watch {tmp_path}")
    command = [sys.executable, *shlex.split(text)[1:]]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    running = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "conversation.srt").exists():
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130
    assert "Watching" in told
    assert files(tmp_path) == ["conversation.answer.json", "conversation.flac", "conversation.srt"]
