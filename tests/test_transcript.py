from __future__ import annotations

import dataclasses

import pytest

from turnscribe.transcript import Chunk, Speculation, Transcript, Turn, Word


def test_the_words_are_those_of_the_chunks_in_order() -> None:
    first, second, third = Word(" a", 0.0, 1.0), Word(" b", 1.0, 2.0), Word(" c", 2.0, 3.0)
    chunks = (Chunk(" a b", 0.0, 2.0, (first, second)), Chunk("", 2.0, 2.0), Chunk(" c", 2.0, 3.0, (third,)))
    assert Transcript("a b c", chunks, 3.0).words == (first, second, third)
    assert Transcript("a", (Chunk(" a", 0.0, 1.0),), 1.0).words == ()


def test_speculations_add_up() -> None:
    assert Speculation(4, 3) + Speculation(2, 0) == Speculation(6, 3)
    assert sum([Speculation(2, 0)], Speculation(4, 3)) == Speculation(6, 3)


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
