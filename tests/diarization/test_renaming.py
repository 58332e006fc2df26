"""A transcript's speakers under the names that they are known by already."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes import TRANSCRIPT
from turnscribe.diarization.renaming import named_as
from turnscribe.transcript import Transcript, Turn


def names(transcript: Transcript) -> list[str]:
    """Of the turns; everything else says the same."""
    by_turn = [turn.speaker for turn in transcript.turns]
    assert [chunk.speaker for chunk in transcript.chunks] == by_turn
    assert [one.speaker for one in transcript.speakers] == by_turn
    assert [{word.speaker for word in chunk.words} for chunk in transcript.chunks] == [{name} for name in by_turn]
    return by_turn


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([], ["SPEAKER_00", "SPEAKER_01"]),
        ([Turn("SPEAKER_01", 0.4, 1.5), Turn("SPEAKER_00", 1.9, 3.0)], ["SPEAKER_01", "SPEAKER_00"]),
        ([Turn("Ann", 0.0, 1.0), Turn("Bo", 1.2, 1.4), Turn("Bo", 2.0, 2.5)], ["Ann", "Bo"]),
        ([Turn("SPEAKER_00", 2.0, 2.9)], ["SPEAKER_01", "SPEAKER_00"]),  # the other is a stranger
        ([Turn("SPEAKER_03", 0.0, 2.6)], ["SPEAKER_03", "SPEAKER_00"]),  # one name, one speaker: who shares most
        ([Turn("SPEAKER_00", 8.0, 9.0)], ["SPEAKER_01", "SPEAKER_02"]),  # a name that was told is nobody else's
    ],
)
def test_a_speaker_has_the_name_of_who_was_told_to_speak_then(known: list[Turn], expected: list[str]) -> None:
    assert names(named_as(TRANSCRIPT, known)) == expected


def test_texts_and_times_stay() -> None:
    renamed = named_as(TRANSCRIPT, [Turn("Ann", 0.0, 1.0), Turn("SPEAKER_00", 2.0, 2.5)])
    assert [turn.speaker for turn in renamed.turns] == ["Ann", "SPEAKER_00"]
    assert named_as(renamed, [Turn("SPEAKER_00", 0.0, 1.0), Turn("SPEAKER_01", 2.0, 2.5)]) == TRANSCRIPT


def test_where_nobody_was_told_apart_nobody_is_renamed() -> None:
    alone = replace(TRANSCRIPT, turns=())
    assert named_as(alone, [Turn("Ann", 0.0, 1.0)]) is alone
