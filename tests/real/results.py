"""What each program made of each recording, kept in `build/real/results`, so that an evaluation can be interrupted.

A line of JSON for each; a result counts as long as the program, its settings and its version are the same. The
product's version is its source: that of its diarizers only where speakers are told apart.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.real.recording import SEVERAL_VOICES, Recording, Spoken
from tests.real.recordings import BUILD
from tests.real.scoring import Heard
from tests.real.systems import REPOSITORY, System
from turnscribe.cli.evaluation.references import SpokenWord
from turnscribe.transcript import SpeakerText, Turn

RESULTS = BUILD / "results"
SOURCES = ("turnscribe/**/*.py", "handler.py", "config.py", "diarization_utils.py")
BESIDE = ("cli", "serving", "bulk")  # folders of the package through which no request passes


class Kept:
    """One program's results: read once, then each new one is added to the file."""

    def __init__(self, system: System, folder: Path = RESULTS) -> None:
        self.path = folder / f"{re.sub('[^a-z0-9]+', '-', system.name.lower())}.jsonl"
        versions = {several: version_of(system, several_voices=several) for several in (False, True)}
        self._settings = {several: f"{system.settings}, {version}" for several, version in versions.items()}
        self._heard: dict[tuple[str, str], Heard] = {}
        for line in _whole_lines(self.path):
            entry = json.loads(line)
            self._heard[entry["recording"], entry["settings"]] = _heard(entry["heard"])

    def get(self, recording: Recording, spoken: Spoken) -> Heard | None:
        return self._heard.get(self._key(recording, spoken))

    def add(self, recording: Recording, spoken: Spoken, heard: Heard) -> None:
        key = self._key(recording, spoken)
        self._heard[key] = heard
        self.path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"recording": key[0], "settings": key[1], "heard": asdict(heard)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def _key(self, recording: Recording, spoken: Spoken) -> tuple[str, str]:
        name = f"{recording.name} {hashlib.sha256(spoken.audio).hexdigest()[:16]}"
        return name, self._settings[recording.kind in SEVERAL_VOICES]


def version_of(system: System, *, several_voices: bool) -> str:
    """A package's number; of the product a hash over its source, since it is measured between two commits."""
    if system.package:
        return f"{system.package} {metadata.version(system.package)}"
    digest = hashlib.sha256()
    for path in _sources(BESIDE if several_voices else (*BESIDE, "diarization")):
        digest.update(path.read_bytes())
    return f"source {digest.hexdigest()[:16]}"


def _sources(left_out: Sequence[str]) -> Sequence[Path]:
    found = {path for pattern in SOURCES for path in REPOSITORY.glob(pattern)}
    return sorted(
        path for path in found if path.relative_to(REPOSITORY).parts[1:2] not in [(one,) for one in left_out]
    )


def _whole_lines(path: Path) -> Iterator[str]:
    """An interrupted program may leave half a line."""
    if path.is_file():
        yield from (line for line in path.read_text("utf-8").splitlines() if line.endswith("}}"))


def _heard(entry: dict[str, Any]) -> Heard:
    turns, words = entry["turns"], entry["words"]
    return Heard(
        **{name: entry[name] for name in ("text", "language", "seconds", "duration")},
        passages=tuple(SpeakerText(**one) for one in entry["passages"]),
        turns=None if turns is None else tuple(Turn(**one) for one in turns),
        words=None if words is None else tuple(SpokenWord(one["text"], tuple(one["span"])) for one in words),
    )
