"""How the recordings of a run went, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turnscribe.files import printable
from turnscribe.formats.times import timestamp
from turnscribe.transcript import Transcript


@dataclass(frozen=True)
class Outcome:
    """How a job went; `seconds` is what the transcription took, `detail` one sentence about a failure."""

    source: Path
    status: str  # done, exists, failed, stopped
    detail: str = ""
    transcript: Transcript | None = None
    seconds: float = 0.0


def summary(outcomes: Sequence[Outcome]) -> str:
    """A table: file, duration, speed (times real time), speakers, status."""
    rows = [("file", "duration", "speed", "speakers", "status")]
    for outcome in outcomes:
        duration = speed = speakers = "-"
        if outcome.transcript:
            duration = timestamp(outcome.transcript.duration)[:-4]
            speed = f"{outcome.transcript.duration / max(outcome.seconds, 1e-3):.1f}x"
            speakers = str(len(_speakers(outcome.transcript)) or "-")
        rows.append((shown(outcome.source), duration, speed, speakers, outcome.status))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join([*map(str.ljust, row[:4], widths), row[4]]) for row in rows)


def shown(source: Path) -> str:
    """As it is called from here, without what a terminal would take for an order."""
    return printable(str(source.relative_to(Path.cwd()) if source.is_relative_to(Path.cwd()) else source))


def _speakers(transcript: Transcript) -> set[str]:
    heard = {turn.speaker for turn in transcript.turns}
    return heard | {chunk.speaker for chunk in transcript.chunks if chunk.speaker}
