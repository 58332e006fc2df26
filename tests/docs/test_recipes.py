"""The four recipes of `docs/development.md`, followed as they are written there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import diarization_utils
from config import ModelSettings
from handler import EndpointHandler
from tests.conftest import REPOSITORY
from tests.manual import block
from turnscribe.asr import registry
from turnscribe.transcript import Chunk, Turn, Word
from turnscribe.waveform import to_wav

FORMATS = "turnscribe/formats/__init__.py"


def python(folder: Path, text: str) -> str:
    """What a new Python prints in a copy of the repository."""
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package's code, to be changed."""
    shutil.copytree(REPOSITORY / "turnscribe", tmp_path / "turnscribe", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def replace_once(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file.name}"
    file.write_text(text.replace(old, new))


def test_the_rule_that_gives_a_word_its_speaker_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (Word(" yes", 1.0, 1.4), Word(" no", 1.4, 1.8))
    turns = (Turn("A", 0.0, 1.3), Turn("B", 2.0, 3.0))
    chunks = (Chunk(" yes no", 1.0, 1.8, words=words),)
    before = diarization_utils.assign_speakers(chunks, turns)
    assert [word.speaker for chunk in before for word in chunk.words] == ["A", "A"]
    names = dict(vars(diarization_utils))
    exec("from __future__ import annotations\n" + block("python", "def speaker_of"), names)
    monkeypatch.setattr(diarization_utils, "speaker_of", names["speaker_of"])
    after = diarization_utils.assign_speakers(chunks, turns)
    assert [(chunk.text, chunk.speaker) for chunk in after] == [(" yes", "A"), (" no", "B")]


def test_a_format_is_one_file_and_the_line_that_registers_it(copy: Path) -> None:
    (copy / "turnscribe" / "formats" / "html.py").write_text(block("python", "needs_speakers=True"))
    replace_once(copy / FORMATS, '    "rttm",\n', '    "rttm",\n    "html",\n')
    printed = python(
        copy,
        """
from turnscribe.answer import to_answer
from turnscribe.parameters import parse_parameters
from turnscribe.transcript import Chunk, SpeakerText, Transcript
ada = SpeakerText("Ada", "Hi.", 0.0, 0.5)
transcript = Transcript(" Hi.", (Chunk(" Hi.", 0.0, 0.5),), duration=1.0, speakers=(ada,))
print(to_answer(transcript, parse_parameters({"response_format": "html"}))["formatted"])
""",
    )
    assert printed == "<p><b>Ada:</b> Hi."


def test_a_backend_is_one_file_and_the_line_that_registers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("own_backend")
    exec(block("python", "class OwnAsr"), vars(module))
    monkeypatch.setitem(sys.modules, "own_backend", module)
    monkeypatch.setitem(registry.BACKENDS, "own", "own_backend")
    handler = EndpointHandler(settings=ModelSettings(asr_model="any", asr_backend="own"))
    audio = to_wav(np.full(3 * 16_000, 0.1, dtype=np.float32))
    parameters = {"chunk_length_s": 2, "prompt": "Ada", "temperature": 0.4, "vad": False}
    answer = handler({"inputs": audio, "parameters": parameters})
    assert [chunk["timestamp"] for chunk in answer["chunks"]] == [[0.0, 2.0], [2.0, 3.0]]
    assert len(answer["warnings"]) == 2  # of the prompt and of the temperature


@pytest.mark.models
def test_a_parameter_reaches_the_engine_from_its_field(copy: Path) -> None:
    field = "    prompt: Annotated["
    replace_once(copy / "turnscribe" / "request.py", field, block("python", "max_new_tokens: Annotated") + field)
    limit = "        limit = token_limit(config, len(initial), self.models.decoder.positions)\n"
    backend = copy / "turnscribe" / "asr" / "engine_backend.py"
    replace_once(backend, limit, limit + block("python", "min(limit, len(initial)"))
    printed = python(
        copy,
        f"""
import os
import turnscribe
from turnscribe.errors import BadParameters
from turnscribe.parameters import parse_parameters
print(parse_parameters({{"max_new_tokens": "8"}}).decoding.max_new_tokens)
os.environ["INFERENCE_MAX_NEW_TOKENS"] = "9"
print(parse_parameters({{}}).decoding.max_new_tokens)
del os.environ["INFERENCE_MAX_NEW_TOKENS"]
try:
    parse_parameters({{"max_new_tokens": 0}})
except BadParameters as error:
    print(error)
transcriber = turnscribe.load({str(REPOSITORY / "demo/whisper")!r})
recording = {str(REPOSITORY / "demo/conversation.flac")!r}
print(*(len(transcriber.transcribe(recording, **more).text) for more in ({{}}, {{"max_new_tokens": 4}})))
""",
    )
    *answers, lengths = printed.splitlines()
    assert answers == ["8", "9", "max_new_tokens is 0: give a whole number from 1 to 448."]
    whole, cut = map(int, lengths.split())
    assert 0 < cut < whole / 4
