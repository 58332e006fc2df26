"""What is wrong with a command line is said at once, before any model is loaded."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.fakes import FakePipeline, deployed
from tests.manual import read
from turnscribe.cli.transcribe import main
from turnscribe.cli.transcription.arguments import build_parser
from turnscribe.cli.transcription.check import check_output_folder
from turnscribe.deployment import Deployment, missing_models
from turnscribe.errors import BadAudio, SettingsError
from turnscribe.formats import FORMATS
from turnscribe.inputs.look import check_container
from turnscribe.settings import ModelSettings
from turnscribe.waveform import to_wav
from turnscribe.whisper.languages import CODES

TONE = to_wav(np.sin(np.arange(16_000) / 5).astype(np.float32) * 0.1)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNSCRIBE_HOME", str(tmp_path_factory.mktemp("home")))


class NeverLoaded(Deployment):
    def __init__(self, *missing: str) -> None:
        one = deployed(FakePipeline())
        super().__init__(
            load_settings=one.load_settings, parse=one.parse, load=self.refuse, missing=lambda settings: missing
        )

    def refuse(self, settings: ModelSettings) -> FakePipeline:  # type: ignore[override]
        raise AssertionError("loaded")


def test_all_files_are_looked_at_before_models_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.7\n" + b"x" * 500)
    (tmp_path / "old talk.wma").write_bytes(b"\x30\x26\xb2\x75" + b"x" * 500)
    named = ["gone.wav", "empty.wav", "letter.pdf", "old talk.wma"]
    assert main([str(tmp_path / name) for name in named], deployment=NeverLoaded()) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert told == [
        f"error: {tmp_path}/gone.wav: No such file or directory ({tmp_path}/gone.wav).",
        f"error: {tmp_path}/empty.wav: The file is empty.",
        f"error: {tmp_path}/letter.pdf: The file is not audio that can be read: name a wav, mp3, flac, ogg, opus, "
        "m4a, mp4, webm, amr or aac file.",
        f"error: {tmp_path}/old talk.wma: This wma file is damaged, or of a format that is not read here: make it a "
        "wav with `ffmpeg -i 'old talk.wma' 'old talk.wav'`.",
    ]


def test_models_and_the_output_folder_are_named_along_with_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.wav").write_bytes(TONE)
    (tmp_path / "file").touch()
    argv = [str(tmp_path / "a.wav"), "gone.wav", "--output-dir", str(tmp_path / "file" / "out")]
    assert main(argv, deployment=NeverLoaded("ASR_MODEL large is not there.")) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" is a file")[0] for line in told] == [
        f"error: gone.wav: No such file or directory ({Path('gone.wav').absolute()}).",
        f"error: --output-dir {tmp_path}/file/out: {tmp_path}/file",
        "error: ASR_MODEL large is not there.",
    ]


def test_a_recording_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(TONE)
    check_container(tmp_path / "a.wav")
    check_container(REPOSITORY / "demo" / "conversation.flac")
    with pytest.raises(BadAudio, match="not audio"):
        check_container(REPOSITORY / "README.md")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SettingsError, match="cannot be written"):
        check_output_folder(tmp_path / "out")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("./models/whisper", "ASR_MODEL whisper is not there: name a folder that exists, one of whisper-base, "),
        ("whisper base", "ASR_MODEL whisper base is not there"),
        ("open", "ASR_MODEL open-diarizer is a diarizer: name a Whisper model."),
        ("whisper-base", "ASR_MODEL whisper-base is not on this machine and HF_HUB_OFFLINE is set: run `turnscribe "),
        ("acme/none", "ASR_MODEL acme/none is not on this machine and the Hub cannot be reached"),
    ],
)
def test_a_model_that_is_not_there_is_one_sentence(model: str, sentence: str) -> None:
    settings = ModelSettings(asr_model=model, assistant_model=None, diarization_model=None)
    (told,) = missing_models(settings)
    assert told.startswith(sentence)


def test_models_that_are_there_are_not_mentioned() -> None:
    settings = ModelSettings(asr_model="demo/whisper", diarization_model="demo/diarizer")
    assert list(missing_models(settings, root=REPOSITORY)) == []


def test_choices_are_in_the_help_and_in_errors(capsys: pytest.CaptureFixture[str]) -> None:
    text = build_parser("transcribe").format_help()
    words = set(text.replace(",", " ").replace("{", " ").replace("}", " ").split())
    assert {*FORMATS, *CODES, "engine", "transformers", "int8", "exact", "translate"} <= words
    for option, given, choices in (
        ("--language", "klingon", ["multi", "yue", "zh"]),
        ("--languages", "en,klingon", ["multi", "yue", "zh"]),
        ("--format", "docs", ["srt", "answer"]),
        ("--task", "sing", ["transcribe", "translate"]),
        ("--asr-backend", "c", ["engine", "transformers"]),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["a.wav", option, given])
        assert stopped.value.code == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert all(choice in told for choice in choices), told


def test_exit_statuses_are_the_same_in_the_help_and_in_the_manual() -> None:
    listed = build_parser("transcribe").format_help().partition("exit status:")[2].split("\n")
    codes = [line.split()[0] for line in listed if line.strip()]
    assert codes == ["0", "1", "2", "130"]
    page = read("docs/command-line.md")
    assert [code for code in codes if f"| {code} |" in page] == codes
