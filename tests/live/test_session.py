"""A session: utterances begin and end, orders are obeyed where they stand in the audio, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.live.fakes import KnowingDetector, KnowingEar, new_spool, said, talk
from turnscribe.errors import InferenceFailed
from turnscribe.live.endpoints import Endpointing
from turnscribe.live.events import (
    Behind,
    Cleared,
    Committed,
    Completed,
    Delta,
    Failed,
    LiveEvent,
    NothingToCommit,
    SpeechStarted,
    SpeechStopped,
)
from turnscribe.live.session import LiveOptions, LiveSession
from turnscribe.live.utterance import Style
from turnscribe.request import Request
from turnscribe.waveform import SAMPLE_RATE

TALK = [*said("a b c d", 1.0), *said("e f g h i j", 5.0), *said("k l", 12.0)]
BY_CLIENT = LiveOptions(Style(Request()), endpointing=None)
BY_VOICE = LiveOptions(Style(Request()))


class Talk:
    """A session over a talk that is known, with what it told."""

    def __init__(self, options: LiveOptions = BY_VOICE, words: Any = TALK) -> None:
        self.events: list[LiveEvent] = []
        self.ear = KnowingEar(words)
        self.session = LiveSession(self.ear, KnowingDetector(words), options, self.events.append, spool=new_spool())
        self._samples = talk(60.0)
        self._place = 0

    def hear(self, until: float, *, piece: float = 0.1) -> None:
        """The talk goes on, in real time as far as the session knows."""
        while self._place < round(until * SAMPLE_RATE):
            self.send(min(self._place / SAMPLE_RATE + piece, until))
            self.work()

    def send(self, until: float) -> None:
        stop = round(until * SAMPLE_RATE)
        self.session.append(self._samples[self._place : stop])
        self._place = stop

    def work(self) -> None:
        while self.session.work():
            pass

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.told(Completed)]


def test_utterances_come_out_in_order_and_whole() -> None:
    heard = Talk()
    heard.hear(16.0)
    assert heard.texts == ["a b c d", "e f g h i j", "k l"]
    for completed in heard.told(Completed):
        kinds = [type(event) for event in heard.events if getattr(event, "item", None) == completed.item]
        assert [kinds[0], kinds[-1]] == [SpeechStarted, Completed]
        assert kinds.index(SpeechStopped) < kinds.index(Committed)
        assert "".join(event.text for event in heard.told(Delta) if event.item == completed.item) == completed.text
    items = [event.item for event in heard.told(Completed)]
    assert [event.previous for event in heard.told(Committed)] == [None, *items[:-1]]
    assert [event.at for event in heard.told(SpeechStarted)] == pytest.approx([0.7, 4.7, 11.7], abs=0.1)
    assert [event.at for event in heard.told(SpeechStopped)] == pytest.approx([2.9, 7.7, 13.1], abs=0.1)


def test_text_comes_while_somebody_speaks() -> None:
    heard = Talk()
    heard.hear(7.2)
    assert heard.texts == ["a b c d"]
    second = heard.told(SpeechStarted)[1].item
    assert "".join(event.text for event in heard.told(Delta) if event.item == second).startswith("e f")


def test_the_final_text_is_heard_once() -> None:
    """Ahead, when the utterance seems to be over, and not again when it is."""
    heard = Talk()
    heard.hear(4.0)
    assert heard.texts == ["a b c d"]
    final = [call for call in heard.ear.calls if not call["prefix"] and call["stop"] > 2.7]
    assert len(final) == 1


def test_what_is_said_after_a_pause_counts_though_it_is_heard_in_another_way_by_then() -> None:
    heard = Talk(BY_CLIENT)
    heard.hear(4.5)  # the first words are settled
    heard.session.change(BY_VOICE)
    heard.hear(16.0)
    assert heard.texts == ["a b c d e f g h i j", "k l"]
    assert all(call["stop"] - call["start"] < 4.5 for call in heard.ear.calls), "the pause is not heard"


def test_what_was_cleared_is_not_told_on() -> None:
    heard = Talk()
    heard.hear(6.6)
    cleared = heard.told(SpeechStarted)[-1].item
    heard.session.clear()
    heard.hear(16.0)
    assert all(event.item != cleared for event in heard.told(Completed))


def test_a_part_that_failed_is_heard_again_with_what_follows() -> None:
    heard = Talk(BY_CLIENT)
    heard.hear(2.4)
    heard.ear.error = InferenceFailed("The models failed.")
    heard.hear(4.5)
    heard.ear.error = None
    heard.hear(9.0)
    heard.session.commit()
    heard.work()
    assert heard.texts == ["a b c d e f g h i j"]


def test_where_voices_cannot_be_told_apart_the_text_is_there() -> None:
    heard = Talk()

    def fail(samples: Any) -> Any:
        raise InferenceFailed("The diarizer failed.")

    heard.ear.voices = fail  # type: ignore[method-assign]
    heard.hear(16.0)
    assert heard.texts == ["a b c d", "e f g h i j", "k l"]


def test_silence_costs_no_pass() -> None:
    heard = Talk(words=[])
    heard.hear(30.0)
    assert heard.events == []
    assert heard.ear.calls == []


@pytest.mark.parametrize("piece", [0.01, 0.37, 4.0, 16.0])
def test_however_the_audio_is_cut_the_text_is_the_same(piece: float) -> None:
    heard = Talk()
    heard.hear(16.0, piece=piece)
    assert heard.texts == ["a b c d", "e f g h i j", "k l"]


def test_where_the_client_commits_text_comes_before_and_pauses_do_not_end_it() -> None:
    heard = Talk(BY_CLIENT)
    heard.hear(10.0)
    assert "".join(event.text for event in heard.told(Delta)).split() == "a b c d e f g h i j".split()
    assert heard.texts == []
    heard.session.commit("ev1")
    heard.work()
    assert heard.texts == ["a b c d e f g h i j"]
    assert heard.told(Completed)[0].seconds == pytest.approx(10.0)
    assert not heard.told(SpeechStarted)
    heard.hear(14.0)
    heard.session.end()
    heard.work()
    assert heard.texts[1:] == ["k l"]
    assert heard.session.over


def test_an_order_is_obeyed_where_it_stands_in_the_audio() -> None:
    """What is sent after it does not belong to it, however far behind the session is."""
    heard = Talk(BY_CLIENT)
    heard.send(4.0)
    heard.session.commit()
    heard.send(9.0)
    heard.session.clear()
    heard.send(16.0)
    heard.session.end()
    heard.work()
    assert heard.texts == ["a b c d", "k l"]
    assert len(heard.told(Cleared)) == 1


def test_nothing_is_committed_where_nothing_came() -> None:
    heard = Talk(BY_CLIENT)
    heard.session.commit("mine")
    heard.work()
    assert heard.events == [NothingToCommit("mine")]
    heard.hear(0.5)
    heard.session.commit()
    heard.work()
    assert heard.texts == [""], "half a second of silence has no words"


def test_an_end_in_the_middle_of_a_word_loses_none() -> None:
    heard = Talk()
    heard.hear(6.5)
    heard.session.end()
    heard.work()
    assert heard.session.over
    assert heard.texts[1].split()[:3] == ["e", "f", "g"]


def test_what_goes_wrong_with_one_utterance_leaves_the_others() -> None:
    heard = Talk()
    heard.hear(4.0)
    heard.ear.error = InferenceFailed("The models failed.")
    heard.hear(9.0)
    heard.ear.error = None
    heard.hear(16.0)
    assert heard.texts == ["a b c d", "k l"]
    assert [event.reason for event in heard.told(Failed)] == ["The models failed."]


def test_an_utterance_ends_sooner_after_a_sentence_where_that_is_asked_for() -> None:
    words = [*said("so then", 1.0), *said("we go.", 3.0), *said("good bye", 6.0)]
    patient = replace(BY_VOICE, endpointing=Endpointing(silence_s=2.0, semantic=True))
    heard = Talk(patient, words)
    heard.hear(10.0)
    assert heard.texts == ["so then we go.", "good bye"]
    assert heard.told(SpeechStopped)[0].at == pytest.approx(4.1, abs=0.1)


def test_it_says_that_it_is_behind() -> None:
    heard = Talk()
    heard.send(16.0)
    heard.work()
    assert [event.seconds for event in heard.told(Behind)] == pytest.approx([15.0])
    assert heard.texts == ["a b c d", "e f g h i j", "k l"]
