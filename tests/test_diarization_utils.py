"""The merge of turns and text against a slow twin, and the loader against fakes and the demo diarizer."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from diarization_utils import assign_speakers, group_turns
from turnscribe.transcript import Chunk, SpeakerText, Turn, Word

REPOSITORY = Path(__file__).resolve().parent.parent
DEMO = REPOSITORY / "demo" / "diarizer"
PYANNOTE = int(importlib.metadata.version("pyannote.audio").split(".")[0])


def words(*timed: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(*word) for word in timed)


def chunk_of(*timed: tuple[str, float, float]) -> Chunk:
    return Chunk("".join(text for text, _, _ in timed), timed[0][1], timed[-1][2], words(*timed))


def owners(chunks: tuple[Chunk, ...]) -> list[tuple[str, str | None]]:
    return [(chunk.text, chunk.speaker) for chunk in chunks]


# Who has a chunk -------------------------------------------------------------------------------------


def test_chunk_takes_the_speaker_whose_turns_overlap_it_most_in_sum() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.0, 2.5), Turn("A", 2.5, 3.5)]
    assert owners(assign_speakers([Chunk(" hi", 0.0, 3.5)], turns)) == [(" hi", "A")]


def test_tie_goes_to_who_spoke_first() -> None:
    turns = [Turn("B", 0.0, 1.0), Turn("A", 1.0, 2.0)]
    assert owners(assign_speakers([Chunk(" hi", 0.5, 1.5)], turns)) == [(" hi", "B")]


def test_silence_gives_no_speaker_and_keeps_the_text() -> None:
    chunks = (Chunk(" hello", 0.0, 1.0, words((" hello", 0.0, 1.0))),)
    assert assign_speakers(chunks, []) == chunks
    assert group_turns(chunks) == ()


def test_empty_transcript_stays_empty() -> None:
    assert assign_speakers([], [Turn("A", 0.0, 1.0)]) == ()
    assert group_turns([]) == ()


def test_text_after_the_last_turn_goes_to_the_nearest_speaker() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.0, 2.0)]
    chunks = [Chunk(" one", 0.0, 1.0), Chunk(" two", 5.0, 6.0), Chunk(" three", 60.0, 61.0)]
    assert owners(assign_speakers(chunks, turns)) == [(" one", "A"), (" two", "B"), (" three", "B")]


def test_text_before_the_first_turn_goes_to_the_nearest_speaker() -> None:
    assert owners(assign_speakers([Chunk(" um", 0.0, 0.2)], [Turn("A", 3.0, 4.0), Turn("B", 4.0, 5.0)])) == [
        (" um", "A")
    ]


def test_gap_between_turns_belongs_to_nobody() -> None:
    """A word in the gap goes to the nearer turn, on either side: no turn reaches over the gap."""
    turns = [Turn("A", 0.0, 2.0), Turn("B", 5.0, 6.0)]
    chunk = chunk_of((" so", 1.0, 1.5), (" well", 2.5, 2.9), (" yes", 4.2, 4.6), (" no", 5.2, 5.5))
    assert owners(assign_speakers([chunk], turns)) == [(" so well", "A"), (" yes no", "B")]


def test_word_of_no_length_takes_the_turn_it_stands_in() -> None:
    turns = [Turn("A", 0.0, 2.0), Turn("B", 3.0, 6.0)]
    assert owners(assign_speakers([Chunk("!", 4.0, 4.0)], turns)) == [("!", "B")]


def test_overlapping_turns_of_one_speaker_count_once() -> None:
    turns = [Turn("A", 0.0, 2.0), Turn("A", 0.5, 1.5), Turn("A", 1.0, 2.0), Turn("B", 2.0, 4.5)]
    assert owners(assign_speakers([Chunk(" x", 0.0, 4.5)], turns)) == [(" x", "B")]


def test_turns_may_come_in_any_order() -> None:
    turns = [Turn("B", 4.0, 6.0), Turn("A", 0.0, 2.0)]
    assert owners(assign_speakers([Chunk(" a", 0.0, 1.0), Chunk(" b", 5.0, 6.0)], turns)) == [
        (" a", "A"),
        (" b", "B"),
    ]


# Splitting -------------------------------------------------------------------------------------------


def test_chunk_is_split_where_the_speaker_changes() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.0, 2.0)]
    chunk = replace(
        chunk_of((" are", 0.1, 0.4), (" you?", 0.4, 0.9), (" I", 1.1, 1.3), (" am.", 1.3, 1.8)),
        start=0.0,
        end=2.0,
        avg_logprob=-0.3,
    )
    first, second = assign_speakers([chunk], turns)
    assert (first.text, first.speaker, first.start, first.end) == (" are you?", "A", 0.0, 0.9)
    assert (second.text, second.speaker, second.start, second.end) == (" I am.", "B", 1.1, 2.0)
    assert [word.speaker for word in first.words + second.words] == ["A", "A", "B", "B"]
    assert first.avg_logprob == second.avg_logprob == -0.3


def test_chunk_without_word_times_is_never_split() -> None:
    turns = [Turn("A", 0.0, 4.0), Turn("B", 4.0, 10.0)]
    assert owners(assign_speakers([Chunk(" are you? I am.", 0.0, 10.0)], turns)) == [(" are you? I am.", "B")]


def test_text_with_other_spaces_than_its_words_is_cut_before_the_space() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.0, 2.0)]
    chunk = Chunk("  Yes,  no. ", 0.0, 2.0, words(("Yes,", 0.1, 0.9), ("no.", 1.1, 1.9)))
    assert owners(assign_speakers([chunk], turns)) == [("  Yes,", "A"), ("  no. ", "B")]


def test_text_that_is_not_made_of_its_words_stays_whole() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.0, 3.0)]
    chunk = Chunk(" Oui, non.", 0.0, 3.0, words((" yes", 0.1, 0.9), (" no", 1.1, 2.9)))
    (whole,) = assign_speakers([chunk], turns)
    assert (whole.text, whole.speaker) == (" Oui, non.", "B")
    assert [word.speaker for word in whole.words] == ["A", "B"]


# Smoothing -------------------------------------------------------------------------------------------

LONG_TURN = [Turn("A", 0.0, 4.0), Turn("B", 4.0, 4.3), Turn("A", 4.4, 9.0)]


def test_short_backchannel_inside_a_long_turn_keeps_its_word() -> None:
    chunk = chunk_of(
        (" and", 3.0, 3.5), (" then", 3.5, 3.9), (" mhm", 4.0, 4.3), (" we", 4.5, 4.8), (" left", 4.8, 5.2)
    )
    assert owners(assign_speakers([chunk], LONG_TURN)) == [(" and then", "A"), (" mhm", "B"), (" we left", "A")]


def test_short_backchannel_does_not_steal_a_chunk() -> None:
    assert owners(assign_speakers([Chunk(" and then we left", 3.0, 5.2)], LONG_TURN)) == [(" and then we left", "A")]


def test_weak_flip_between_two_words_of_one_speaker_is_smoothed() -> None:
    """The middle word touches B's turn by 0.1 s of its 0.6, and nobody else's."""
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.1, 1.3), Turn("A", 1.8, 3.0)]
    chunk = chunk_of((" one", 0.5, 1.0), (" two", 1.2, 1.8), (" three", 1.8, 2.4))
    assert owners(assign_speakers([chunk], turns)) == [(" one two three", "A")]


def test_weak_flip_is_smoothed_across_chunks() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.1, 1.3), Turn("A", 1.8, 3.0)]
    chunks = [chunk_of((" one", 0.5, 1.0)), chunk_of((" two", 1.2, 1.8)), chunk_of((" three", 1.8, 2.4))]
    assert owners(assign_speakers(chunks, turns)) == [(" one", "A"), (" two", "A"), (" three", "A")]


def test_flip_between_two_different_speakers_stays() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.1, 1.3), Turn("C", 1.8, 3.0)]
    chunk = chunk_of((" one", 0.5, 1.0), (" two", 1.2, 1.8), (" three", 1.8, 2.4))
    assert owners(assign_speakers([chunk], turns)) == [(" one", "A"), (" two", "B"), (" three", "C")]


def test_two_flipped_words_in_a_row_stay() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.1, 1.3), Turn("A", 1.8, 3.0)]
    chunk = chunk_of((" one", 0.5, 1.0), (" or", 1.0, 1.2), (" two", 1.2, 1.7), (" three", 1.8, 2.4))
    assert [speaker for _, speaker in owners(assign_speakers([chunk], turns))] == ["A", "B", "A"]


def test_alternating_weak_words_settle_on_one_speaker() -> None:
    """A smoothed word is a flank for the next, so A b A b A becomes A, not a swap of all five."""
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.1, 1.2), Turn("A", 2.0, 2.1), Turn("B", 3.0, 3.1), Turn("A", 4.0, 5.0)]
    chunk = chunk_of((" a", 0.5, 1.0), (" b", 1.1, 1.9), (" c", 2.0, 2.8), (" d", 3.0, 3.9), (" e", 4.0, 4.5))
    assert owners(assign_speakers([chunk], turns)) == [(" a b c d e", "A")]


# Groups ----------------------------------------------------------------------------------------------


def test_groups_join_consecutive_chunks_of_a_speaker() -> None:
    chunks = [
        Chunk(" Hello", 0.0, 1.0, speaker="A"),
        Chunk(" there.", 1.5, 2.0, speaker="A"),
        Chunk(" Hi.", 2.1, 2.5, speaker="B"),
        Chunk(" So", 3.0, 3.5, speaker="A"),
    ]
    assert group_turns(chunks) == (
        SpeakerText("A", "Hello there.", 0.0, 2.0),
        SpeakerText("B", "Hi.", 2.1, 2.5),
        SpeakerText("A", "So", 3.0, 3.5),
    )


def test_group_of_nothing_but_space_is_left_out() -> None:
    assert group_turns([Chunk(" ", 0.0, 1.0, speaker="A"), Chunk("", 1.0, 2.0, speaker="B")]) == ()


# Properties ------------------------------------------------------------------------------------------

eighths = st.integers(0, 160).map(lambda eighth: eighth / 8)  # exact in binary, so sums have one value
spans = st.tuples(eighths, eighths).map(lambda pair: (min(pair), max(pair)))
turn_lists = st.lists(st.builds(lambda s, span: Turn(s, *span), st.sampled_from("ABC"), spans), max_size=12)
texts = st.text(alphabet=" abé,字", max_size=6)


@st.composite
def chunk_lists(draw: st.DrawFn) -> list[Chunk]:
    chunks = []
    for _ in range(draw(st.integers(0, 5))):
        times = sorted(draw(st.lists(spans, max_size=6)))
        timed = tuple(Word(draw(texts), *span) for span in times)
        joined = "".join(word.text for word in timed)
        text = draw(st.one_of(st.just(joined), st.just(joined.strip()), texts))
        chunks.append(Chunk(text, *draw(spans), timed))
    return chunks


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(chunk_lists(), turn_lists)
def test_every_chunk_comes_out_once_in_order_with_its_text(chunks: list[Chunk], turns: list[Turn]) -> None:
    pieces = list(assign_speakers(chunks, turns))
    assert "".join(piece.text for piece in pieces) == "".join(chunk.text for chunk in chunks)
    assert all((piece.speaker is None) == (not turns) for piece in pieces)
    for chunk in chunks:
        own, taken = [pieces.pop(0)], 0
        while len(own[-1].words) + taken < len(chunk.words):
            taken += len(own[-1].words)
            own.append(pieces.pop(0))
        assert "".join(piece.text for piece in own) == chunk.text
        assert [replace(w, speaker=None) for piece in own for w in piece.words] == list(chunk.words)
        assert (own[0].start, own[-1].end) == (chunk.start, chunk.end)
    assert not pieces


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(st.lists(spans, max_size=12), turn_lists)
@example([(1.0, 1.0)], [Turn("A", 1.0, 1.0), Turn("B", 0.0, 1.0)])
def test_fast_assignment_equals_its_slow_twin(times: list[tuple[float, float]], turns: list[Turn]) -> None:
    chunks = [Chunk(" x", *span) for span in times]
    assert [chunk.speaker for chunk in assign_speakers(chunks, turns)] == [slow_speaker(c, turns) for c in chunks]


def slow_speaker(chunk: Chunk, turns: list[Turn]) -> str | None:
    """By comparing the chunk with every turn, an eighth of a second at a time."""
    if not turns:
        return None
    order = [turn.speaker for turn in sorted(turns, key=lambda turn: (turn.start, turn.end))]
    ticks = range(round(8 * chunk.start), round(8 * chunk.end))
    seconds = {
        speaker: sum(any(t.speaker == speaker and t.start <= k / 8 < t.end for t in turns) for k in ticks)
        for speaker in order
    }
    if max(seconds.values()):
        return max(order, key=lambda speaker: seconds[speaker])
    return min(order, key=lambda name: min(t.distance(chunk.start, chunk.end) for t in turns if t.speaker == name))


def test_an_hour_of_words_is_assigned_in_well_under_a_second() -> None:
    import time

    turns = [Turn(f"S{n % 4}", 2.0 * n, 2.0 * n + 1.9) for n in range(1800)]
    turns.append(Turn("S4", 0.0, 3600.0))  # one that overlaps them all
    chunks = [chunk_of(*((" w", n / 3, n / 3 + 0.25) for n in range(k, k + 60))) for k in range(0, 10_800, 60)]
    began = time.process_time()
    pieces = assign_speakers(chunks, turns)
    assert time.process_time() - began < 2.0  # seconds; 0.15 where this was written
    assert sum(len(piece.words) for piece in pieces) == 10_800
