"""What each program made of each recording, kept in `build/real/results`, so that an evaluation can be interrupted.

A line of JSON for each; a result counts as long as the program, its settings and its version are the same. The product's
version is its source.
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

from tests.real.recordings import BUILD
from tests.real.scoring import Heard
from tests.real.sources import Recording, Spoken
from tests.real.systems import REPOSITORY, System
from turnscribe.transcript import SpeakerText, Turn

RESULTS = BUILD / "results"
SOURCES = ("turnscribe/**/*.py", "handler.py", "config.py", "diarization_utils.py")


class Kept:
    """One program's results: read once, then each new one is added to the file."""

    def __init__(self, system: System, folder: Path = RESULTS) -> None:
        self.path = folder / f"{re.sub('[^a-z]+', '-', system.name.lower())}.jsonl"
        self.settings = f"{system.settings}, {version_of(system)}"
        self._heard: dict[str, Heard] = {}
        for line in _whole_lines(self.path):
            entry = json.loads(line)
            if entry["settings"] == self.settings:
                self._heard[entry["recording"]] = _heard(entry["heard"])

    def get(self, recording: Recording, spoken: Spoken) -> Heard | None:
        return self._heard.get(_key(recording, spoken))

    def add(self, recording: Recording, spoken: Spoken, heard: Heard) -> None:
        key = _key(recording, spoken)
        self._heard[key] = heard
        self.path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"recording": key, "settings": self.settings, "heard": asdict(heard)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def version_of(system: System) -> str:
    """A package's number; of the product a hash over its source, since it is measured between two commits."""
    if system.name != "Turnscribe":
        package = system.name.partition(",")[0]
        return f"{package} {metadata.version(package)}"
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(path.read_bytes())
    return f"source {digest.hexdigest()[:16]}"


def _sources() -> Sequence[Path]:
    left_out = ("cli", "serving", "bulk")  # no request passes through them
    found = {path for pattern in SOURCES for path in REPOSITORY.glob(pattern)}
    return sorted(
        path for path in found if path.relative_to(REPOSITORY).parts[1:2] not in [(one,) for one in left_out]
    )


def _key(recording: Recording, spoken: Spoken) -> str:
    return f"{recording.name} {hashlib.sha256(spoken.audio).hexdigest()[:16]}"


def _whole_lines(path: Path) -> Iterator[str]:
    """An interrupted program may leave half a line."""
    if path.is_file():
        yield from (line for line in path.read_text("utf-8").splitlines() if line.endswith("}}"))


def _heard(entry: dict[str, Any]) -> Heard:
    turns = entry["turns"]
    return Heard(
        **{name: entry[name] for name in ("text", "language", "seconds", "duration")},
        passages=tuple(SpeakerText(**one) for one in entry["passages"]),
        turns=None if turns is None else tuple(Turn(**one) for one in turns),
    )
