"""The text of one utterance while it grows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.live.fakes import KnowingEar, new_spool, said, talk
from turnscribe.live.commit import RULES
from turnscribe.live.utterance import Style, Utterance
from turnscribe.request import Request
from turnscribe.transcript import Transcript
from turnscribe.waveform import SAMPLE_RATE

TEXT = " ".join(f"w{index}" for index in range(100))


def grown(ear: KnowingEar, seconds: float, *, rule: str, step: float = 1.0, start: float = 0.0) -> tuple[str, str]:
    """What was shown, and the text in the end, of an utterance that is heard every `step`."""
    spool = new_spool()
    spool.append(talk(start + seconds))
    utterance = Utterance(
        "item",
        round(start * SAMPLE_RATE),
        spool=spool,
        ear=ear,
        style=Style(Request(), rule),  # type: ignore[arg-type]
    )
    shown = ""
    passes = int(seconds / step)
    for count in range(1, passes + 1):
        shown += utterance.update(round((start + count * step) * SAMPLE_RATE))
    stop = round((start + seconds) * SAMPLE_RATE)
    shown += utterance.settle(stop, stop)
    return shown, utterance.text


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seconds", [3.0, 9.0, 40.5])
def test_what_is_shown_is_the_text_and_nothing_of_it_is_taken_back(rule: str, seconds: float) -> None:
    words = said(TEXT)
    ear = KnowingEar(words)
    shown, text = grown(ear, seconds, rule=rule)
    whole = [word for word in words if word.end + 0.15 <= seconds]
    assert shown.split()[: len(whole)] == [word.text.strip() for word in whole]
    assert text.split()[: len(whole)] == shown.split()[: len(whole)]
    assert all(call["stop"] - call["start"] <= 30 for call in ear.calls), "no pass hears more than a window"


def test_a_pass_goes_on_after_what_is_committed_and_buffers_stay_short() -> None:
    ear = KnowingEar(said(TEXT))
    grown(ear, 30.0, rule="alignatt")
    partial = [call for call in ear.calls if call["prefix"]]
    assert len(partial) > 20
    assert max(call["stop"] - call["start"] for call in partial) <= 8.0
    assert partial[3]["prefix"] == " w0 w1 w2 w3 w4 w5 w6 w7"
    assert any(call["earlier"] for call in partial), "what is cut off is told"


def test_a_pass_is_told_what_the_one_before_it_said() -> None:
    ear = KnowingEar(said(TEXT))
    grown(ear, 9.0, rule="alignatt")
    assert [call["guess"] for call in ear.calls[:3]] == ["", " w1 w~", " w3 w~"]
    assert [call["final"] for call in ear.calls[:3]] == [False] * 3
    whole = [call for call in ear.calls if call["final"]]
    assert whole[0]["guess"].startswith(" w0 w1 w2 w3"), "what is final is heard whole, and was heard before"
    assert whole[-1]["guess"].startswith(" w16 w17 w18")


def test_the_language_of_what_is_shown_stays() -> None:
    ear = KnowingEar(said(TEXT))
    grown(ear, 6.0, rule="alignatt")
    assert [call["language"] for call in ear.calls[:3]] == [None, "en", "en"]


def test_the_final_text_is_heard_ahead_once_it_seems_to_be_over() -> None:
    ear = KnowingEar(said("one two three"))
    spool = new_spool()
    spool.append(talk(4.0))
    utterance = Utterance("item", 0, spool=spool, ear=ear, style=Style(Request()))
    utterance.prepare(2 * SAMPLE_RATE)
    assert utterance.settle(round(2.5 * SAMPLE_RATE), round(1.2 * SAMPLE_RATE)) == "one two three"
    assert len(ear.calls) == 1
    utterance = Utterance("item", 0, spool=spool, ear=ear, style=Style(Request()))
    utterance.prepare(SAMPLE_RATE)
    assert utterance.settle(2 * SAMPLE_RATE, round(1.2 * SAMPLE_RATE)) == "one two three", "somebody went on"
    assert len(ear.calls) == 3


def test_times_are_those_of_the_session() -> None:
    words = said("one two three", 10.2)
    ear = KnowingEar(words)
    spool = new_spool()
    spool.append(talk(14.0))
    utterance = Utterance("item", 10 * SAMPLE_RATE, spool=spool, ear=ear, style=Style(Request()))
    utterance.settle(13 * SAMPLE_RATE, 12 * SAMPLE_RATE)
    (chunk,) = utterance.final
    assert [(word.text, round(word.start, 3), round(word.end, 3)) for word in chunk.words] == [
        (word.text, word.start, word.end) for word in words
    ]
    assert (round(chunk.start, 3), round(chunk.end, 3)) == (10.2, 11.4)


def test_what_is_heard_again_behind_a_cut_is_not_shown_twice() -> None:
    """Words are put a little too late, so the buffer is cut in the middle of them."""

    class Late(KnowingEar):
        def hear(self, *arguments: Any, **options: Any) -> Transcript:
            transcript = super().hear(*arguments, **options)
            chunks = tuple(
                replace(one, words=tuple(replace(w, start=w.start - 0.5, end=w.end - 0.5) for w in one.words))
                for one in transcript.chunks
            )
            return replace(transcript, chunks=chunks)

    for text in grown(Late(said(TEXT)), 25.0, rule="alignatt"):
        numbers = [int(word[1:]) for word in text.split() if word[1:].isdigit()]
        assert len(numbers) > 50
        assert numbers == sorted(set(numbers))
