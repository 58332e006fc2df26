"""Which words change hands: the turns' evidence against pauses and sentences."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnscribe.diarization.handovers import handed_over
from turnscribe.diarization.merge import assign_speakers, group_turns
from turnscribe.diarization.speeches import Speech
from turnscribe.transcript import Chunk, Turn, Word

LONG_TURN = [Turn("A", 0.0, 4.0), Turn("B", 4.0, 4.3), Turn("A", 4.4, 9.0)]


def chunk_of(*timed: tuple[str, float, float]) -> Chunk:
    words = tuple(Word(*word) for word in timed)
    return Chunk("".join(word.text for word in words), words[0].start, words[-1].end, words)


def told(turns: list[Turn], *chunks: Chunk) -> list[tuple[str, str | None]]:
    return [(piece.text, piece.speaker) for piece in assign_speakers(chunks, turns)]


# A sentence stays in one hand ------------------------------------------------------------------------


def test_turns_that_alternate_within_a_sentence_leave_it_with_one_speaker() -> None:
    turns = [Turn("B", 0.0, 0.5), Turn("A", 0.5, 1.5), Turn("B", 1.5, 1.9), Turn("A", 1.9, 4.0)]
    chunk = chunk_of(
        (" Donald", 0.0, 0.5), (" and", 0.5, 0.8), (" Sarah", 0.8, 1.5), (" with", 1.5, 1.9), (" an", 1.9, 2.2)
    )
    assert told(turns, chunk) == [(" Donald and Sarah with an", "A")]


def test_word_on_the_wrong_side_of_a_turns_edge_stays_in_its_sentence() -> None:
    turns = [Turn("A", 0.0, 2.3), Turn("B", 2.3, 5.0)]
    chunk = chunk_of(
        (" in", 1.0, 1.3), (" Jersey.", 1.3, 1.9), (" And", 2.0, 2.2), (" I'm", 2.2, 2.8), (" Ada", 2.8, 3.5)
    )
    assert told(turns, chunk) == [(" in Jersey.", "A"), (" And I'm Ada", "B")]


def test_touch_of_a_turn_is_no_evidence() -> None:
    """B's turns lie in an eighth of a word each, whatever pauses there are; across chunks, too."""
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.1, 1.2), Turn("A", 2.0, 2.1), Turn("B", 3.0, 3.1), Turn("A", 4.0, 5.0)]
    timed = [(" a", 0.5, 1.0), (" b", 1.1, 1.9), (" c", 2.0, 2.8), (" d", 3.0, 3.9), (" e", 4.0, 4.5)]
    assert told(turns, chunk_of(*timed)) == [(" a b c d e", "A")]
    assert told(turns, *(chunk_of(word) for word in timed)) == [(text, "A") for text, _, _ in timed]


def test_two_words_on_a_fifth_of_a_second_stay_in_their_sentence() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.1, 1.3), Turn("A", 1.8, 3.0)]
    chunk = chunk_of((" one", 0.5, 1.0), (" or", 1.0, 1.2), (" two", 1.2, 1.7), (" three", 1.8, 2.4))
    assert told(turns, chunk) == [(" one or two three", "A")]


# Others do speak -------------------------------------------------------------------------------------


def test_short_backchannel_inside_a_long_turn_keeps_its_word() -> None:
    chunk = chunk_of(
        (" and", 3.0, 3.5), (" then", 3.5, 3.9), (" mhm", 4.0, 4.3), (" we", 4.5, 4.8), (" left", 4.8, 5.2)
    )
    assert told(LONG_TURN, chunk) == [(" and then", "A"), (" mhm", "B"), (" we left", "A")]


def test_short_backchannel_does_not_steal_a_chunk() -> None:
    assert told(LONG_TURN, Chunk(" and then we left", 3.0, 5.2)) == [(" and then we left", "A")]


@pytest.mark.parametrize("ends", [".", "?", "!", "…", '."', "。", "？", "۔", "؟", "।", "።", "။"])
def test_answer_of_one_word_between_two_sentences_stays(ends: str) -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.0, 1.3), Turn("A", 1.3, 3.0)]
    chunk = chunk_of((" one", 0.0, 0.5), (f" two{ends}", 0.5, 1.0), (f" yes{ends}", 1.0, 1.3), (" three", 1.3, 2.0))
    assert told(turns, chunk) == [(f" one two{ends}", "A"), (f" yes{ends}", "B"), (" three", "A")]


def test_long_turn_parts_a_sentence_without_a_pause() -> None:
    turns = [Turn("A", 0.0, 2.0), Turn("B", 2.0, 4.0)]
    chunk = chunk_of(*((f" {n}", n / 2, (n + 1) / 2) for n in range(8)))
    assert told(turns, chunk) == [(" 0 1 2 3", "A"), (" 4 5 6 7", "B")]


def test_word_between_two_others_belongs_to_a_third() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.1, 1.7), Turn("C", 1.8, 3.0)]
    chunk = chunk_of((" one", 0.5, 1.0), (" two", 1.1, 1.7), (" three", 1.8, 2.4))
    assert told(turns, chunk) == [(" one", "A"), (" two", "B"), (" three", "C")]


# Little is known -------------------------------------------------------------------------------------


def test_where_two_speak_at_once_the_sentence_goes_on() -> None:
    turns = [Turn("A", 0.0, 3.0), Turn("B", 2.0, 5.0)]
    early = chunk_of((" one", 1.0, 1.5), (" two", 1.5, 2.0), (" three", 2.0, 2.5), (" four", 2.5, 3.0))
    late = chunk_of((" one", 2.0, 2.5), (" two", 2.5, 3.0), (" three", 3.0, 3.5), (" four", 3.5, 4.0))
    assert told(turns, early) == [(" one two three four", "A")]
    assert told(turns, late) == [(" one two three four", "B")]


def test_words_of_no_length_take_the_turns_they_stand_in() -> None:
    turns = [Turn("A", 0.0, 2.0), Turn("B", 3.0, 6.0)]
    chunk = chunk_of((" so", 1.0, 1.0), (" well.", 1.0, 1.0), (" yes", 4.0, 4.0), (" no", 4.0, 4.0))
    assert told(turns, chunk) == [(" so well.", "A"), (" yes no", "B")]


def test_words_in_no_turn_go_to_the_nearest() -> None:
    turns = [Turn("A", 20.0, 21.0), Turn("B", 22.0, 30.0)]
    early = chunk_of((" who", 1.0, 1.3), (" is", 1.3, 1.6), (" there?", 1.6, 2.0))
    late = chunk_of((" good", 40.0, 40.4), (" bye", 40.4, 40.9))
    assert told(turns, early, late) == [(" who is there?", "A"), (" good bye", "B")]


def test_what_a_rule_names_is_final_and_its_neighbours_follow() -> None:
    turns = [Turn("A", 0.0, 4.0), Turn("B", 4.0, 5.0)]
    chunk = chunk_of((" one", 0.0, 0.4), (" two", 0.4, 0.8), (" three", 0.8, 1.2), (" four", 1.2, 1.5))
    named = {" one": "B", " three": "guest"}
    pieces = assign_speakers([chunk], turns, rule=lambda span, speeches: named.get(span.text))
    assert [(p.text, p.speaker) for p in pieces] == [
        (" one", "B"),
        (" two", "A"),
        (" three", "guest"),
        (" four", "A"),
    ]


def test_a_rule_is_told_what_each_speaker_says() -> None:
    seen: list[list[Speech]] = []
    turns = [Turn("B", 2.0, 3.0), Turn("A", 0.0, 1.0)]
    assign_speakers([Chunk(" hi", 0.0, 1.0)], turns, rule=lambda span, speeches: seen.append(list(speeches)))  # type: ignore[func-returns-value]
    assert seen == [[Speech("A", [0.0], [1.0]), Speech("B", [2.0], [3.0])]]


# Properties ------------------------------------------------------------------------------------------

costs_and_handovers = st.integers(1, 3).flatmap(
    lambda speakers: st.lists(
        st.tuples(st.integers(0, 8), st.lists(st.integers(0, 8), min_size=speakers, max_size=speakers)),
        min_size=1,
        max_size=6,
    )
)


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(costs_and_handovers)
def test_the_way_found_is_the_cheapest_of_all(drawn: list[tuple[int, list[int]]]) -> None:
    handovers, rows = [float(cost) for cost, _ in drawn[1:]], [row for _, row in drawn]

    def price(path: tuple[int, ...]) -> float:
        changes = sum(cost for cost, (a, b) in zip(handovers, itertools.pairwise(path), strict=True) if a != b)
        return changes + sum(row[speaker] for row, speaker in zip(rows, path, strict=True))

    found = handed_over(np.array(rows, float), handovers)
    assert price(tuple(found)) == min(map(price, itertools.product(range(len(rows[0])), repeat=len(rows))))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Chunk], list[Turn]]:
    """Chunks as they are recognised on one channel, in order and apart, and any turns."""
    steps = st.integers(0, 8).map(lambda eighth: eighth / 8)
    now, chunks = 0.0, []
    for _ in range(draw(st.integers(0, 4))):
        timed = []
        for _ in range(draw(st.integers(1, 6))):
            start = now + draw(steps)
            now = start + draw(steps)
            timed.append((draw(st.sampled_from([" a", " b.", " c,", "字", " d"])), start, now))
        chunks.append(chunk_of(*timed))
    moments = st.integers(0, 240).map(lambda eighth: eighth / 8)
    spans = st.tuples(moments, moments).map(sorted)
    turns = st.lists(st.builds(lambda who, span: Turn(who, *span), st.sampled_from("ABC"), spans), max_size=12)
    return chunks, draw(turns)


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(conversations())
def test_chunks_words_and_speakers_parts_are_in_order_and_apart(drawn: tuple[list[Chunk], list[Turn]]) -> None:
    chunks, turns = drawn
    pieces = assign_speakers(chunks, turns)
    words = [word for piece in pieces for word in piece.words]
    for spans in (pieces, words, group_turns(pieces)):
        assert all(span.start <= span.end for span in spans)
        assert all(before.end <= after.start for before, after in itertools.pairwise(spans))
    assert all((piece.start, piece.end) == (piece.words[0].start, piece.words[-1].end) for piece in pieces)
    assert [word.text for word in words] == [word.text for chunk in chunks for word in chunk.words]


def test_an_hour_of_words_of_twenty_people_takes_well_under_a_second() -> None:
    turns = [Turn(f"S{n % 19}", 2.0 * n, 2.0 * n + 1.9) for n in range(1800)]
    turns.append(Turn("S19", 0.0, 3600.0))  # one that overlaps them all
    chunks = [chunk_of(*((" w", n / 3, n / 3 + 0.25) for n in range(k, k + 60))) for k in range(0, 10_800, 60)]
    began = time.process_time()
    pieces = assign_speakers(chunks, turns)
    assert time.process_time() - began < 1.0  # seconds; 0.2 where this was written
    assert sum(len(piece.words) for piece in pieces) == 10_800
