"""Which recordings are meant by files, folders and patterns, and what their outputs are called."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from turnscribe.inputs.suffixes import is_recording


def plan(recordings: Sequence[str]) -> dict[Path, Path]:
    """The recordings, each once, and their outputs in the output folder (without the format's suffix).

    Folders keep their structure. Where two outputs would be the same, both get their own suffix
    (`a.mp3.srt`, `a.wav.srt`), or their folders where that is not enough. A recording that is not there
    stays in the plan: it fails when its turn comes.
    """
    found: dict[Path, Path] = {}  # the recording: its path below what was given
    for given in recordings:
        for file, relative in _found(given) or [(Path(given), Path(Path(given).absolute().name or "all"))]:
            found.setdefault(file.absolute(), relative)
    return _distinct(found)


def _found(given: str) -> list[tuple[Path, Path]]:
    """Files and their paths below `given`; none for a folder or a pattern without any."""
    path = Path(given)
    if path.is_dir():
        return [(file, file.relative_to(path)) for file in _below(path)]
    if not path.exists() and glob.has_magic(given):
        return [pair for match in sorted(glob.glob(given, recursive=True)) for pair in _found(match)]
    return [(path, Path(path.name))]


def _below(folder: Path) -> list[Path]:
    """The recordings in a folder, links among them that lead nowhere, and folders in it that cannot be read."""
    closed: list[Path] = []

    def note(error: OSError) -> None:
        closed.append(Path(error.filename))

    found = [
        Path(at, name)
        for at, _, names in os.walk(folder, onerror=note)
        for name in names
        if is_recording(name) and (Path(at, name).is_file() or Path(at, name).is_symlink())
    ]
    return sorted([*found, *(one for one in closed if one != folder)])


def _distinct(found: dict[Path, Path]) -> dict[Path, Path]:
    """Shortest names first; whoever shares one (in any case of letters) takes the next longer one."""
    names = {
        source: (relative.with_suffix(""), relative, Path(*source.parts[1:])) for source, relative in found.items()
    }
    level = dict.fromkeys(found, 0)
    while True:
        stems = {source: names[source][level[source]] for source in found}
        taken = Counter(str(stem).casefold() for stem in stems.values())
        clashing = [s for s, stem in stems.items() if taken[str(stem).casefold()] > 1 and level[s] < 2]
        if not clashing:
            return stems
        for source in clashing:
            level[source] += 1
