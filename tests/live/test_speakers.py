"""Who says what, while the talk goes on."""

from __future__ import annotations

import numpy as np

from turnscribe.live.speakers import Speakers

ANNA, BEN = np.array([1.0, 0.0, 0.0], np.float32), np.array([0.0, 1.0, 0.0], np.float32)


def one(speakers: Speakers, voice: np.ndarray, seconds: float) -> str:
    """The name of the only speaker of a part."""
    return speakers.names({"A": voice}, {"A": seconds})["A"]


def test_a_voice_that_is_like_none_is_a_new_speaker() -> None:
    speakers = Speakers(0.6)
    assert [one(speakers, voice, 3.0) for voice in (ANNA, BEN, ANNA, BEN)] == [
        "SPEAKER_00",
        "SPEAKER_01",
        "SPEAKER_00",
        "SPEAKER_01",
    ]
    assert speakers.names({"x": BEN, "y": ANNA}, {"x": 1.0, "y": 1.0}) == {"x": "SPEAKER_01", "y": "SPEAKER_00"}
    assert speakers.names({}, {}) == {}
    assert speakers.corrections() == {}


def test_two_of_one_part_are_two_people_however_alike() -> None:
    speakers = Speakers(0.6)
    assert set(speakers.names({"x": ANNA, "y": ANNA}, {"x": 3.0, "y": 2.0}).values()) == {"SPEAKER_00", "SPEAKER_01"}
    assert speakers.corrections() == {}


def test_a_few_words_make_no_new_speaker_and_change_no_voice() -> None:
    speakers = Speakers(0.6)
    assert one(speakers, ANNA, 0.5) == "SPEAKER_00"
    assert one(speakers, BEN, 1.0) == "SPEAKER_00"
    assert one(speakers, BEN, 2.0) == "SPEAKER_01"


def test_there_are_no_more_than_there_may_be() -> None:
    speakers = Speakers(0.6, most=1)
    assert {one(speakers, voice, 3.0) for voice in (ANNA, BEN, BEN)} == {"SPEAKER_00"}


def test_two_voices_that_turn_out_to_be_one_are_told_again() -> None:
    speakers = Speakers(0.8)
    for segment, voice, seconds, name in (
        ("s0", ANNA, 2.0, "SPEAKER_00"),
        ("s1", np.array([0.7, 0.714, 0.0], np.float32), 2.0, "SPEAKER_01"),
    ):
        assert one(speakers, voice, seconds) == name
        speakers.told(segment, name)
    assert speakers.corrections() == {}
    assert one(speakers, np.array([0.97, 0.26, 0.0], np.float32), 10.0) == "SPEAKER_00"
    assert speakers.corrections() == {"s1": "SPEAKER_00"}
    assert speakers.corrections() == {}


def test_a_voice_known_from_a_clip_has_its_name_and_takes_no_place() -> None:
    speakers = Speakers(0.6, most=1)
    speakers.know({"Anna": ANNA, "Ben": BEN})
    assert one(speakers, np.array([0.0, 0.0, 1.0], np.float32), 0.5) == "SPEAKER_00", "a stranger, however short"
    assert one(speakers, BEN, 0.5) == "Ben"
    assert speakers.corrections() == {}


def test_who_is_known_later_turns_out_to_be_who_was_heard() -> None:
    speakers = Speakers(0.6)
    speakers.told("seg_1", one(speakers, ANNA, 3.0))
    speakers.told("seg_2", one(speakers, BEN, 3.0))
    speakers.know({"Anna": ANNA, "Anna's twin": ANNA})
    assert speakers.corrections() == {"seg_1": "Anna"}, "and two who are known stay two"
    speakers.know({"Anna": BEN})
    assert one(speakers, ANNA, 2.0) in ("Anna", "Anna's twin"), "a name that is known keeps its voice"


def test_how_many_there_may_be_can_be_said_later() -> None:
    speakers = Speakers(0.6)
    assert one(speakers, ANNA, 3.0) == "SPEAKER_00"
    speakers.limit(0.6, 1)
    assert one(speakers, BEN, 3.0) == "SPEAKER_00"
