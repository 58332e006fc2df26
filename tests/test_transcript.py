from __future__ import annotations

import dataclasses
import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import turnscribe.transcript
from turnscribe.transcript import Chunk, Speculation, Transcript, Turn, Word


def test_the_examples_in_the_docstrings_hold() -> None:
    outcome = doctest.testmod(turnscribe.transcript)
    assert outcome.attempted >= 2
    assert outcome.failed == 0


@pytest.mark.parametrize(
    ("start", "end", "overlap", "distance"),
    [
        (0.0, 1.0, 0.0, 1.0),  # before
        (0.0, 2.0, 0.0, 0.0),  # touching
        (1.0, 3.0, 1.0, 0.0),
        (2.5, 3.0, 0.5, 0.0),  # inside
        (0.0, 9.0, 2.0, 0.0),  # around
        (3.5, 9.0, 0.5, 0.0),
        (6.5, 9.0, 0.0, 2.5),  # after
        (3.0, 3.0, 0.0, 0.0),  # no length
    ],
)
def test_a_turn_overlaps_or_is_apart(start: float, end: float, overlap: float, distance: float) -> None:
    turn = Turn("SPEAKER_00", 2.0, 4.0)
    assert turn.overlap(start, end) == overlap
    assert turn.distance(start, end) == distance


TIMES = st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)).map(sorted)


@pytest.mark.property
@given(TIMES, TIMES)
def test_overlap_and_distance_are_never_both_there_and_have_no_direction(
    ours: list[float], theirs: list[float]
) -> None:
    one, other = Turn("A", *ours), Turn("B", *theirs)
    assert min(one.overlap(*theirs), one.distance(*theirs)) == 0.0
    assert one.overlap(*theirs) == other.overlap(*ours)
    assert one.distance(*theirs) == other.distance(*ours)
    assert one.overlap(*theirs) <= min(ours[1] - ours[0], theirs[1] - theirs[0])


def test_the_words_are_those_of_the_chunks_in_order() -> None:
    first, second, third = Word(" a", 0.0, 1.0), Word(" b", 1.0, 2.0), Word(" c", 2.0, 3.0)
    chunks = (Chunk(" a b", 0.0, 2.0, (first, second)), Chunk("", 2.0, 2.0), Chunk(" c", 2.0, 3.0, (third,)))
    assert Transcript("a b c", chunks, 3.0).words == (first, second, third)
    assert Transcript("a", (Chunk(" a", 0.0, 1.0),), 1.0).words == ()


def test_speculations_add_up() -> None:
    assert Speculation(4, 3) + Speculation(2, 0) == Speculation(6, 3)
    assert sum([Speculation(2, 0)], Speculation(4, 3)) == Speculation(6, 3)  # as the handler does


def test_a_transcript_is_plain_until_told_otherwise() -> None:
    transcript = Transcript("", (), 0.0)
    assert (transcript.language, transcript.speakers, transcript.turns, transcript.warnings) == (None, (), (), ())
    assert (transcript.timings, transcript.speculation, transcript.task) == ({}, None, "transcribe")


@pytest.mark.parametrize(
    ("noun", "name"),
    [(Word(" a", 0.0, 1.0), "end"), (Chunk(" a", 0.0, 1.0), "text"), (Turn("A", 0.0, 1.0), "start")],
)
def test_the_nouns_do_not_change(noun: object, name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(noun, name, 2.0)
