"""A model's folder with code of its own: the code is not run, nobody is asked, and one sentence says so."""

from __future__ import annotations

import ast
import builtins
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DEMO, REPOSITORY
from turnscribe.asr.registry import load_asr
from turnscribe.errors import SettingsError

WHISPER = REPOSITORY / DEMO["asr_model"]
CODE = """
from pathlib import Path

from transformers import PretrainedConfig, WhisperForConditionalGeneration, WhisperTokenizer

Path({marker!r}).touch()


class OwnConfig(PretrainedConfig):
    model_type = {model_type!r}


class OwnModel(WhisperForConditionalGeneration):
    pass


class OwnTokenizer(WhisperTokenizer):
    pass
"""
OWN = {
    "AutoConfig": "own.OwnConfig",
    "AutoModel": "own.OwnModel",
    "AutoModelForCausalLM": "own.OwnModel",
    "AutoModelForSpeechSeq2Seq": "own.OwnModel",
    "AutoTokenizer": ["own.OwnTokenizer", None],
}


class Terminal(io.StringIO):
    """Somebody sits there and would say yes."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the code leaves behind. Whoever asks on the terminal fails the test, and would be answered yes."""
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("it asked on the terminal"))
    monkeypatch.setattr(sys, "stdin", Terminal("y\n" * 10))
    return tmp_path / "was-run"


def folder_with_code(folder: Path, marker: Path, model_type: str, *, tokenizer: bool = False) -> Path:
    shutil.copytree(WHISPER, folder)
    (folder / "own.py").write_text(CODE.format(marker=str(marker), model_type=model_type))
    change(folder / "config.json", model_type=model_type, auto_map=OWN)
    if tokenizer:
        change(folder / "tokenizer_config.json", tokenizer_class="OwnTokenizer", auto_map=OWN)
    return folder


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def assert_refused(error: SettingsError, variable: str, folder: Path, marker: Path) -> None:
    assert str(error) == (
        f"{variable} {folder.name} brings code of its own, which is never run: name a model that transformers knows "
        "by itself."
    )
    assert not marker.exists()
    assert not sys.stdin.tell()  # nothing was read


def test_the_code_leaves_its_mark_where_it_is_trusted(tmp_path: Path, marker: Path) -> None:
    """So the tests below would see it."""
    from transformers import AutoConfig

    folder = folder_with_code(tmp_path / "own", marker, "own")
    AutoConfig.from_pretrained(str(folder), trust_remote_code=True)
    assert marker.exists()


@pytest.mark.parametrize("backend", ["engine", "transformers"])
def test_a_model_that_needs_its_own_code_is_refused(tmp_path: Path, marker: Path, backend: str) -> None:
    folder = folder_with_code(tmp_path / "own", marker, "own")
    with pytest.raises(SettingsError) as refused:
        load_asr(str(folder), backend=backend)
    assert_refused(refused.value, "ASR_MODEL", folder, marker)


def test_an_assistant_that_needs_its_own_code_is_refused(tmp_path: Path, marker: Path) -> None:
    folder = folder_with_code(tmp_path / "own", marker, "own")
    with pytest.raises(SettingsError) as refused:
        load_asr(str(WHISPER), assistant=str(folder))
    assert_refused(refused.value, "ASSISTANT_MODEL", folder, marker)


@pytest.mark.parametrize("tokenizer", [False, True])
def test_a_whisper_that_brings_code_too_loads_as_transformers_own(
    tmp_path: Path, marker: Path, tokenizer: bool
) -> None:
    """Or is refused, where its tokenizer is another class: in no case is the code run."""
    folder = folder_with_code(tmp_path / "own", marker, "whisper", tokenizer=tokenizer)
    try:
        load_asr(str(folder), backend="transformers")
    except SettingsError as error:
        assert tokenizer
        assert_refused(error, "ASR_MODEL", folder, marker)
    assert not marker.exists()
    assert not sys.stdin.tell()


def test_an_assistant_that_brings_code_too_does_not_run_it(tmp_path: Path, marker: Path) -> None:
    folder = folder_with_code(tmp_path / "own", marker, "whisper")
    load_asr(str(WHISPER), assistant=str(folder), backend="transformers")
    assert not marker.exists()
    assert not sys.stdin.tell()


@pytest.mark.parametrize("variable", ["ASR_MODEL", "ASSISTANT_MODEL"])
def test_a_repository_named_as_the_attention_is_refused(tmp_path: Path, marker: Path, variable: str) -> None:
    """CVE-2026-4372: transformers before 5.3 would fetch it and run it."""
    from turnscribe.asr.whisper_loading import _check_no_code

    class Config:
        _attn_implementation_internal = "acme/kernels"

    with pytest.raises(SettingsError) as refused:
        _check_no_code(variable, str(tmp_path / "own"), Config())
    assert_refused(refused.value, variable, tmp_path / "own", marker)


def test_the_doctor_runs_no_code_of_a_model(tmp_path: Path, marker: Path) -> None:
    from turnscribe.cli.checks.models import look_at

    folder = folder_with_code(tmp_path / "own", marker, "own")
    facts = look_at("ASR_MODEL", str(folder), None, "offline")
    assert facts.result.status == "FAILED"
    assert "is a own model" in facts.result.detail
    assert not marker.exists()
    assert not sys.stdin.tell()


def test_every_load_with_transformers_says_that_code_is_not_run() -> None:
    found = 0
    for top in ("turnscribe", "adapters", "tools", "scripts"):
        for file in sorted((REPOSITORY / top).rglob("*.py")):
            if file.name == "pyannote_versions.py":  # pyannote's own loaders know no such word
                continue
            for call in ast.walk(ast.parse(file.read_text())):
                if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                    continue
                if call.func.attr == "from_pretrained":
                    said = {word.arg: ast.unparse(word.value) for word in call.keywords}
                    assert said.get("trust_remote_code") == "False", f"{file.name}:{call.lineno}"
                    found += 1
    assert found >= 5
