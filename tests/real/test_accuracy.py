"""Real models on real recordings: errors stay below what was measured when `bounds.json` was written.

`make evaluate-real` prints the figures, `python -m tests.real.evaluate --tested --write-bounds` takes over better
ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.real import bounds
from tests.real.recording import NOBODY_SPEAKS
from tests.real.row import Row
from turnscribe.cli.evaluation.measures import Figures, Ratio

BOUNDS = bounds.read()


def named(measured: Sequence[Row], name: str) -> Figures:
    return next(row.figures for row in measured if row.recording.name == name)


@pytest.mark.parametrize("group", BOUNDS["words"])
def test_word_errors_are_as_few_as_measured(measured: Sequence[Row], group: str) -> None:
    assert_at_most(bounds.word_errors(measured, group), BOUNDS["words"][group], texts(measured, group))


@pytest.mark.parametrize(
    ("name", "measure"), [(n, m) for n, b in BOUNDS["speakers"].items() for m in b if m != "speakers"]
)
def test_speaker_errors_are_as_few_as_measured(measured: Sequence[Row], name: str, measure: str) -> None:
    assert_at_most(getattr(named(measured, name), measure), BOUNDS["speakers"][name][measure], name)


@pytest.mark.parametrize("name", BOUNDS["speakers"])
def test_as_many_people_are_heard_as_measured(measured: Sequence[Row], name: str) -> None:
    found = named(measured, name).speakers_found
    assert found is not None
    assert found.part == BOUNDS["speakers"][name]["speakers"]


@pytest.mark.parametrize("name", BOUNDS["times"])
def test_words_are_where_they_were_measured(measured: Sequence[Row], name: str) -> None:
    assert bounds.times(measured)[name] <= BOUNDS["times"][name]["most"], BOUNDS["times"][name]


@pytest.mark.parametrize("name", BOUNDS["counts"])
def test_no_more_is_counted_than_measured(measured: Sequence[Row], name: str) -> None:
    """Words where nobody speaks, words told twice, wrong languages."""
    counts = {row.recording.name: (bounds.COUNTS[name](row), row.heard.text) for row in measured}
    assert sum(count for count, _ in counts.values()) <= BOUNDS["counts"][name]["most"], {
        recording: counted for recording, counted in counts.items() if counted[0]
    }


def test_every_recording_with_speech_has_text(measured: Sequence[Row]) -> None:
    silent = [row.recording.name for row in measured if not row.heard.text]
    assert not [name for name in silent if name.partition("/")[0] not in NOBODY_SPEAKS]


def test_the_bounds_are_those_of_the_recordings_that_are_chosen(measured: Sequence[Row]) -> None:
    spoken = [row for row in measured if row.recording.kind not in NOBODY_SPEAKS]
    assert {row.recording.group for row in spoken if row.figures.wer} == set(BOUNDS["words"])
    assert {row.recording.name for row in spoken if row.figures.der} == set(BOUNDS["speakers"])
    assert set(bounds.times(measured)) == set(BOUNDS["times"])


def texts(measured: Sequence[Row], group: str) -> str:
    of_group = [row for row in measured if row.recording.group == group]
    return "\n".join(f"{row.recording.name}\n  {row.spoken.text}\n  {row.heard.text}" for row in of_group)


def assert_at_most(found: Ratio | None, bound: dict[str, float], told: str) -> None:
    assert found is not None
    assert found.value is not None
    message = f"{found.value:.4f}, {found.part:g} of {found.whole:g}; measured {bound['measured']}\n{told}"
    assert found.value <= bound["most"], message
