"""The named models on this machine are whole: every file, by its sha256."""

from __future__ import annotations

from pathlib import Path

from tests.real.models import MODELS
from turnscribe.checkpoints.catalogue import find
from turnscribe.checkpoints.sources.verified import has_right_bytes


def test_every_file_is_the_one_that_the_catalogue_knows(real_models: Path) -> None:
    for name in MODELS:
        model = find(name)
        assert model is not None
        wrong = [file.path for file in model.files if not has_right_bytes(file, real_models / name / file.path)]
        assert wrong == []
