"""Who was told to speak when, on disk beside a session's audio: a process that is killed does not end the names.

A line for each segment that was told; one that is told again, of another speaker, has a line again.
"""

from __future__ import annotations

import json
from pathlib import Path

from turnscribe.live.events import Segment
from turnscribe.transcript import Turn


def note(path: Path, segment: Segment) -> None:
    """Raises `OSError` where the disk is full."""
    with path.open("a") as file:
        file.write(json.dumps([segment.id, segment.speaker, segment.start, segment.end]) + "\n")


def noted(path: Path) -> list[Turn]:
    """In the order in which they were told first; the last line may be half of one."""
    turns: dict[str, Turn] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            id, speaker, start, end = json.loads(line)
        except ValueError:
            continue
        turns[id] = Turn(speaker, start, end)
    return list(turns.values())
