"""What the tests allow: `bounds.json`, written from what was measured, with the measured figure beside each bound.

A bound is just above what was measured: another processor's arithmetic may turn a word or two, and no more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.real.recording import NOBODY_SPEAKS
from tests.real.row import Row
from tests.real.tables import unsaid, wrong_language
from tests.real.time_tables import TURNS, summed
from tests.real.timing import APART, quantiles
from turnscribe.cli.evaluation.measures import Figures, Ratio, total
from turnscribe.files import write_whole

FILE = Path(__file__).with_name("bounds.json")
MORE_ERRORS = 0.05  # of the errors that were measured, and at least
LEAST_MORE = 2  # words
MORE_TIME = 0.01  # of the speech, for DER
MORE_SECONDS = (0.1, 0.02)  # of an error of times, and at least so much
SPEAKERS = ("der", "cpwer", "tcpwer")
# What is counted over all recordings.
COUNTS: dict[str, Callable[[Row], int]] = {
    "words where nobody speaks": lambda row: unsaid(row) if row.recording.kind in NOBODY_SPEAKS else 0,
    "words told twice": lambda row: row.told_twice,
    "wrong languages": wrong_language,
    "wrong languages of 10 s and more": lambda row: wrong_language(row) and row.in_known_language,
    "words in silence": lambda row: row.timing.outside,
    "stretches without a word": lambda row: row.timing.missed,
}


def read() -> dict[str, Any]:
    return json.loads(FILE.read_text("utf-8"))


def write(rows: Sequence[Row]) -> None:
    groups = sorted(
        {row.recording.group for row in rows if row.recording.kind not in NOBODY_SPEAKS and row.figures.wer}
    )
    words = {name: word_errors(rows, name) for name in groups}
    several = {row.recording.name: row.figures for row in rows if row.figures.der is not None}
    measured = {
        "words": {name: _most(ratio, _more_words(ratio)) for name, ratio in words.items() if ratio},
        "speakers": {name: _speakers(figures) for name, figures in several.items()},
        "times": {name: {"measured": round(size, 3), "most": _more_time(size)} for name, size in times(rows).items()},
        "counts": {name: _counted(sum(map(count, rows))) for name, count in COUNTS.items()},
    }
    write_whole(FILE, json.dumps(measured, indent=1) + "\n")


def word_errors(rows: Sequence[Row], group: str) -> Ratio | None:
    return total(row.figures for row in rows if row.recording.group == group and row.figures.wer).wer


def times(rows: Sequence[Row]) -> dict[str, float]:
    """Errors in seconds, by set and measure."""
    found: dict[str, float] = {}
    for kind in APART:
        errors = summed(rows, kind)
        first, last = quantiles(errors.starts), quantiles(errors.ends)
        found |= {f"{kind}, first word, {name}": size for name, size in first.items()}
        found |= {f"{kind}, last word, {name}": size for name, size in last.items() if name != "worst"}
    for kind in TURNS:
        sizes = quantiles(summed(rows, kind).boundaries)
        found |= {f"{kind}, boundaries, {name}": size for name, size in sizes.items() if name != "worst"}
    return found


def _speakers(figures: Figures) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in SPEAKERS:
        ratio = getattr(figures, name)
        if ratio is not None:
            more = MORE_TIME * ratio.whole if name == "der" else _more_words(ratio)
            found[name] = _most(ratio, more)
    assert figures.speakers_found is not None
    return found | {"speakers": int(figures.speakers_found.part)}


def _most(ratio: Ratio, more: float) -> dict[str, float]:
    """Rounded up: what was measured always passes."""
    assert ratio.value is not None
    most = (ratio.part + more) / ratio.whole
    return {"measured": round(ratio.value, 4), "most": math.ceil(most * 1e4) / 1e4}


def _counted(count: int) -> dict[str, int]:
    """What does not happen must not happen."""
    return {"measured": count, "most": count and count + LEAST_MORE}


def _more_words(ratio: Ratio) -> float:
    return max(LEAST_MORE, MORE_ERRORS * ratio.part)


def _more_time(seconds: float) -> float:
    share, least = MORE_SECONDS
    return math.ceil((seconds + max(least, share * seconds)) * 1e3) / 1e3
