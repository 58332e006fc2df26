"""The named models on this machine are whole: every file, by its sha256."""

from __future__ import annotations

from pathlib import Path

from tests.real.models import MODELS
from turnscribe.checkpoints.catalogue import find
from turnscribe.checkpoints.sources.verified import has_right_bytes
from turnscribe.cli.checks.models import look_at


def test_every_file_is_the_one_that_the_catalogue_knows(real_models: Path) -> None:
    for name in MODELS:
        model = find(name)
        assert model is not None
        wrong = [file.path for file in model.files if not has_right_bytes(file, real_models / name / file.path)]
        assert wrong == []


def test_the_doctor_finds_them_whole(real_models: Path) -> None:
    for variable, name in (("ASR_MODEL", "whisper-base"), ("DIARIZATION_MODEL", "open-diarizer")):
        found = look_at(variable, str(real_models / name), None, None)
        assert (found.result.status, found.result.advice) == ("ok", ""), found.result
