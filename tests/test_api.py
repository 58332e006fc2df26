"""`turnscribe.load` and what it gives: the package in a Python program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import turnscribe
from tests.conftest import REPOSITORY
from tests.fakes import TRANSCRIPT, FakePipeline
from turnscribe.api import Transcriber
from turnscribe.errors import BadParameters, SettingsError
from turnscribe.parameters import parse_parameters


def test_a_path_or_bytes_become_a_transcript_that_renders_itself(tmp_path: Path) -> None:
    pipeline = FakePipeline()
    transcriber = Transcriber(pipeline)  # type: ignore[arg-type]
    (tmp_path / "talk.mp3").write_bytes(b"sound")
    made = transcriber.transcribe(tmp_path / "talk.mp3", language="German", num_speakers=2)
    assert made.text == TRANSCRIPT.text
    assert str(made.to("srt")).startswith("1\n00:00:00,500 --> 00:00:01,400\nSPEAKER_00: hello there\n")
    assert str(made.to("rttm", name="talk")).startswith("SPEAKER talk 1 ")
    assert transcriber.transcribe(b"sound") == made
    calls = [(audio, request) for audio, request, _ in pipeline.calls]
    wanted = parse_parameters({"language": "de", "num_speakers": 2})
    assert calls == [(b"sound", wanted), (b"sound", parse_parameters())]


def test_wrong_parameters_and_formats_are_one_sentence() -> None:
    transcriber = Transcriber(FakePipeline())  # type: ignore[arg-type]
    with pytest.raises(BadParameters, match="batch_size is 'many'"):
        transcriber.transcribe(b"sound", batch_size="many")
    with pytest.raises(BadParameters, match="response_format is 'pdf'"):
        transcriber.transcribe(b"sound").to("pdf")


def test_without_a_model_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASR_MODEL", raising=False)
    with pytest.raises(SettingsError, match="ASR_MODEL is not set"):
        turnscribe.load()


@pytest.mark.models
def test_it_loads_models_and_transcribes_as_the_endpoint_does(demo_handler) -> None:
    transcriber = turnscribe.load(str(REPOSITORY / "demo/whisper"))
    recording = REPOSITORY / "demo" / "conversation.flac"
    request = parse_parameters({"diarize": False})
    expected = demo_handler.pipeline.transcribe(recording.read_bytes(), request)
    assert transcriber.transcribe(recording).text == expected.text


def test_importing_it_imports_nothing_heavy() -> None:
    program = "import sys, turnscribe; print({'torch', 'pydantic', 'numpy', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
