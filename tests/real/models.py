"""The models that are heard: fetched as `turnscribe models get` does, into the same folder, once."""

from __future__ import annotations

import sys
from pathlib import Path

MODELS = ("whisper-base", "whisper-tiny.en", "open-diarizer")


def fetch_models() -> Path:
    """The folder in which each model has a folder of its name. Raises `SettingsError`."""
    from turnscribe.checkpoints.fetch import fetch

    folders = [fetch(name, say=lambda line: print(line, file=sys.stderr, flush=True)) for name in MODELS]
    return folders[0].parent
