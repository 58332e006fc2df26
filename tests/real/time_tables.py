"""The errors of times as tables in Markdown, by set and program; one that gives no times of words is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.real.markdown import table
from tests.real.row import Row
from tests.real.systems import System
from tests.real.timing import APART, Timing, quantiles

TURNS = ("synthetic", "dialogue", "conversation")


def times(measured: Mapping[System, Sequence[Row]]) -> str:
    """When the first and the last word of a stretch of speech are said, where nothing else is heard."""
    lines = []
    for kind in APART:
        for system, rows in measured.items():
            found = summed(rows, kind)
            if found.starts:
                counts = [str(found.outside), str(found.missed)]
                lines.append([kind, system.name, *_seconds(found.starts), *_seconds(found.ends), *counts])
    heading = ["set", "", "first word, median", "90 %", "worst", "last word, median", "90 %", "worst"]
    return table([*heading, "words in silence", "stretches without a word"], lines) if lines else ""


def boundaries(measured: Mapping[System, Sequence[Row]]) -> str:
    """Of words (synthetic) and of turns (the others), where the words were recognised."""
    lines = []
    for kind in TURNS:
        for system, rows in measured.items():
            found = summed(rows, kind).boundaries
            if found:
                lines.append([kind, system.name, str(len(found)), *_seconds(found)[:2]])
    return table(["set", "", "boundaries", "median", "90 %"], lines) if lines else ""


def summed(rows: Sequence[Row], kind: str) -> Timing:
    return sum((row.timing for row in rows if row.recording.kind == kind), Timing())


def _seconds(errors: Sequence[float]) -> list[str]:
    return [f"{size:.2f} s" for size in quantiles(errors).values()]
