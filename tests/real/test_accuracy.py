"""Real models on real recordings: errors stay below what was measured when `bounds.json` was written.

`make evaluate-real` prints the figures, `python -m tests.real.evaluate --tested --write-bounds` takes over better
ones.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.real import bounds
from tests.real.conftest import Measured
from tests.real.sources import NOBODY_SPEAKS
from turnscribe.cli.evaluation.measures import Ratio, total

BOUNDS = bounds.read()


def named(measured: Measured, name: str) -> Any:
    return next(figures for one, _, _, figures in measured.values() if one.name == name)


@pytest.mark.parametrize("group", BOUNDS["words"])
def test_word_errors_are_as_few_as_measured(measured: Measured, group: str) -> None:
    of_group = [row for row in measured.values() if row[0].group == group and row[3].wer]
    errors = total(figures for *_, figures in of_group).wer
    texts = "\n".join(f"{one.name}\n  {spoken.text}\n  {heard.text}" for one, spoken, heard, _ in of_group)
    assert_at_most(errors, BOUNDS["words"][group], texts)


@pytest.mark.parametrize(
    ("name", "measure"), [(n, m) for n, b in BOUNDS["speakers"].items() for m in b if m != "speakers"]
)
def test_speaker_errors_are_as_few_as_measured(measured: Measured, name: str, measure: str) -> None:
    figures = named(measured, name)
    assert_at_most(getattr(figures, measure), BOUNDS["speakers"][name][measure], str(measured[name][2].passages))


@pytest.mark.parametrize("name", BOUNDS["speakers"])
def test_as_many_people_are_heard_as_measured(measured: Measured, name: str) -> None:
    assert named(measured, name).speakers_found.part == BOUNDS["speakers"][name]["speakers"]


def test_music_and_noise_have_no_more_words_than_measured(measured: Measured) -> None:
    rows = [row for row in measured.values() if row[0].kind in NOBODY_SPEAKS]
    texts = {one.name: heard.text for one, _, heard, _ in rows if heard.text}
    assert len(rows) == 10
    assert sum(figures.insertions.part for *_, figures in rows) <= BOUNDS["silent"]["most"], texts


def test_every_recording_with_speech_has_text(measured: Measured) -> None:
    assert not [
        name for name, (one, _, heard, _) in measured.items() if one.kind not in NOBODY_SPEAKS and not heard.text
    ]


def test_the_bounds_are_those_of_the_recordings_that_are_chosen(measured: Measured) -> None:
    rows = [(one, figures) for one, _, _, figures in measured.values() if one.kind not in NOBODY_SPEAKS]
    assert {one.group for one, figures in rows if figures.wer} == set(BOUNDS["words"])
    assert {one.name for one, figures in rows if figures.der} == set(BOUNDS["speakers"])


def assert_at_most(found: Ratio | None, bound: dict[str, float], told: str) -> None:
    assert found is not None
    assert found.value is not None
    message = f"{found.value:.4f}, {found.part:g} of {found.whole:g}; measured {bound['measured']}\n{told}"
    assert found.value <= bound["most"], message
