"""What the tests allow: `bounds.json`, written from what was measured, with the measured figure beside each bound.

A bound is just above what was measured: another processor's arithmetic may turn a word or two, and no more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.real.scoring import Heard
from tests.real.sources import NOBODY_SPEAKS, Recording
from turnscribe.cli.evaluation.measures import Figures, Ratio, total
from turnscribe.files import write_whole

FILE = Path(__file__).with_name("bounds.json")
MORE_ERRORS = 0.05  # of the errors that were measured, and at least
LEAST_MORE = 2  # words
MORE_TIME = 0.01  # of the speech, for DER
SPEAKERS = ("der", "cpwer", "tcpwer")


def read() -> dict[str, Any]:
    return json.loads(FILE.read_text("utf-8"))


def write(rows: Sequence[tuple[Recording, Figures, Heard]]) -> None:
    groups = sorted({one.group for one, figures, _ in rows if one.kind not in NOBODY_SPEAKS and figures.wer})
    words = {name: total(f for one, f, _ in rows if one.group == name and f.wer).wer for name in groups}
    silent = [f.insertions.part for one, f, _ in rows if one.kind in NOBODY_SPEAKS and f.insertions]
    several = {one.name: figures for one, figures, _ in rows if figures.der is not None}
    measured = {
        "words": {name: _most(ratio, _more_words(ratio)) for name, ratio in words.items() if ratio},
        "speakers": {name: _speakers(figures) for name, figures in several.items()},
        "silent": {"measured": int(sum(silent)), "most": int(sum(silent)) + LEAST_MORE},
    }
    write_whole(FILE, json.dumps(measured, indent=1) + "\n")


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


def _more_words(ratio: Ratio) -> float:
    return max(LEAST_MORE, MORE_ERRORS * ratio.part)
