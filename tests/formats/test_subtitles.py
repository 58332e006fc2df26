"""Subtitles keep to their limits, and lose nothing on the way."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.anything import QUICK, text_of, transcript
from turnscribe.formats import render
from turnscribe.formats.cues import MIN_CUE_SECONDS, Cue, cues
from turnscribe.formats.line_breaks import even_lines, pieces
from turnscribe.request import SubtitleOptions
from turnscribe.subtitle_limits import SubtitleLimits
from turnscribe.transcript import Chunk, Word

PLAIN = SubtitleLimits()


def spoken(
    text: str, *, seconds_a_word: float = 0.25, gap: float = 0.0, start: float = 0.0, speaker: str | None = "A"
) -> Chunk:
    step = seconds_a_word + gap
    words = tuple(
        Word(f" {word}", start + index * step, start + index * step + seconds_a_word)
        for index, word in enumerate(text.split())
    )
    return Chunk("".join(word.text for word in words), start, words[-1].end, words, speaker)


def cues_of(*chunks: Chunk) -> list[Any]:
    return list(pysubs2.SSAFile.from_string(text_of(*chunks, as_="vtt"), "vtt"))


def lines_of(cue: Any) -> list[str]:
    lines: list[str] = cue.text.split(r"\N")
    return lines


# --- Cutting ------------------------------------------------------------------------------------------------


def test_a_long_chunk_is_cut_at_words() -> None:
    chunk = spoken(" ".join(f"word{index:02d}" for index in range(40)))
    found = cues_of(chunk)
    assert len(found) == 4
    for cue in found:
        assert len(lines_of(cue)) <= 2
        assert all(len(line) <= 42 for line in lines_of(cue))
        assert cue.end - cue.start <= 7000
    assert " ".join(line for cue in found for line in lines_of(cue)) == chunk.text.strip()
    assert (found[0].start, found[-1].end) == (0, 10_000)


def test_a_slow_chunk_is_cut_by_time_and_a_sentence_ends_a_cue() -> None:
    assert [cue.text for cue in cues_of(spoken("a b c", seconds_a_word=1.0, gap=3.0))] == ["a b", "c"]
    first = "This sentence is a good deal longer than half."
    found = cues_of(spoken(f"{first} And this one goes on until the cue is over the limit."))
    assert " ".join(lines_of(found[0])) == first


def test_a_long_chunk_stays_whole_without_the_evidence_of_words() -> None:
    long = spoken("word " * 40)
    assert len(cues_of(Chunk(long.text, 0.0, 10.0))) == 1
    assert len(cues_of(Chunk(long.text, 0.0, 10.0, words=long.words[1:]))) == 1


def test_a_word_that_is_too_long_stays_whole_and_does_not_stay_too_long() -> None:
    (cue,) = cues(transcript(Chunk(" a" * 50, 0.0, 20.0, (Word(" a" * 50, 0.0, 20.0),))), PLAIN)
    assert (cue.start, cue.end) == (0.0, 7.0)
    assert all(len(line) <= 42 for line in cue.lines)


def test_the_speaker_of_srt_counts_as_text() -> None:
    chunk = spoken("five5 " * 14, speaker="SPEAKER_00")  # 83 characters
    assert len(cues(transcript(chunk), PLAIN)) == 1
    named = cues(transcript(chunk), PLAIN, named=True)
    assert len(named) == 2
    assert all(cue.lines[0].startswith("SPEAKER_00: ") for cue in named)
    assert all(len(line) <= 42 for cue in named for line in cue.lines)


def test_a_name_that_is_longer_than_a_line_costs_no_cue_more() -> None:
    assert len(cues(transcript(spoken("one two three", speaker="x" * 60)), PLAIN, named=True)) == 1


# --- Lines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("short", 42, ["short"]),
        (
            "This line would be full and leave one word alone.",
            48,
            ["This line would be full", "and leave one word alone."],
        ),
        ("three lines of this here text", 12, ["three lines", "of this", "here text"]),
        ("Grüße\u00a0! Oui\u202f!", 7, ["Grüße\u00a0!", "Oui\u202f!"]),
        ("今日はとても、いい天気ですね。", 7, ["今日はとて", "も、いい天", "気ですね。"]),
        ("「はい」「いいえ」", 5, ["「はい」", "「いいえ」"]),
        ("", 10, []),
    ],
)
def test_lines_are_even_and_broken_where_they_may_be(text: str, width: int, lines: list[str]) -> None:
    assert list(even_lines(pieces([text]), width)) == lines


def test_without_spaces_lines_are_broken_at_words() -> None:
    assert list(even_lines(pieces(["สวัสดี", "ครับ", "ผม", "ชื่อ"], words=True), 10)) == ["สวัสดีครับ", "ผมชื่อ"]
    assert list(even_lines(pieces(["今日は", "とても", "いい"], words=True), 7)) == ["今日は", "とてもいい"]
    assert list(even_lines(pieces([" Anna-", "Lena", "'s"], words=True), 10)) == ["Anna-Lena's"]


# --- Times --------------------------------------------------------------------------------------------------


def times(*chunks: Chunk, duration: float = 60.0, **limits: Any) -> list[tuple[float, float]]:
    found = cues(transcript(*chunks, duration=duration), SubtitleLimits(**limits))
    return [(cue.start, round(cue.end, 3)) for cue in found]


def test_a_cue_stays_until_it_can_be_read_if_there_is_time() -> None:
    text = "twenty letters of it"
    first, second = Chunk(text, 1.0, 1.5), Chunk(text, 2.5, 3.0)
    assert times(first, second) == [(1.0, 1.5), (2.5, 3.0)]
    assert times(first, second, max_characters_per_second=20.0) == [(1.0, 2.0), (2.5, 3.5)]
    assert times(first, second, max_characters_per_second=10.0) == [(1.0, 2.5), (2.5, 4.5)]
    assert times(first, second, max_characters_per_second=10.0, duration=4.0)[1] == (2.5, 4.0)
    assert times(first, second, max_characters_per_second=2.0, max_cue_duration_s=5.0)[1] == (2.5, 7.5)


def test_between_cues_is_a_gap() -> None:
    first, second, at_once = Chunk("One.", 0.0, 2.0), Chunk("Two.", 2.05, 3.0), Chunk("Three.", 2.5, 4.0, speaker="B")
    assert times(first, second, min_cue_gap_s=0.25) == [(0.0, 1.8), (2.05, 3.0)]
    assert times(first, second, min_cue_gap_s=0.25, max_characters_per_second=1.0)[0] == (0.0, 1.8)
    assert times(second, at_once, min_cue_gap_s=0.25) == [(2.05, 3.0), (2.5, 4.0)]
    assert times(Chunk("Oh.", 2.0, 2.05), second, min_cue_gap_s=0.25)[0] == (2.0, 2.05)  # it would not be seen


# --- Options ------------------------------------------------------------------------------------------------


def test_a_requests_options_are_the_limits_and_have_their_defaults() -> None:
    assert vars(SubtitleOptions()) == vars(SubtitleLimits())
    assert [field.name for field in fields(SubtitleOptions)] == [field.name for field in fields(SubtitleLimits)]


@pytest.mark.parametrize("name", ["srt", "vtt", "ass"])
def test_the_limits_are_those_of_each_format_of_subtitles(name: str) -> None:
    chunk = spoken("one two three four five six seven eight nine ten")
    narrow = SubtitleLimits(max_line_width=15, max_line_count=1)
    file = pysubs2.SSAFile.from_string(str(render(transcript(chunk), name, subtitles=narrow)), name)
    assert len(file) > 3
    assert all(len(cue.plaintext) <= 15 for cue in file)
    whole = pysubs2.SSAFile.from_string(str(render(transcript(chunk), name)), name)
    assert len(whole) == 1
    assert len(whole[0].plaintext.splitlines()) == 2


# --- All of it ----------------------------------------------------------------------------------------------

LIMITS = st.builds(
    SubtitleLimits,
    max_line_width=st.integers(10, 60),
    max_line_count=st.integers(1, 4),
    max_cue_duration_s=st.floats(1, 10),
    max_characters_per_second=st.none() | st.floats(5, 40),
    min_cue_gap_s=st.just(0.0) | st.floats(0, 0.5),
)
SPEAKERS = st.none() | st.sampled_from(["SPEAKER_00", "Ada Lovelace"])


@st.composite
def talks(draw: st.DrawFn) -> list[Chunk]:
    """One chunk after the other, of words with their times."""
    at, chunks = 0.0, []
    for speaker in draw(st.lists(SPEAKERS, max_size=4)):
        words = []
        for text in draw(st.lists(st.text("abé.?今日、", min_size=1, max_size=14), min_size=1, max_size=30)):
            end = at + draw(st.floats(0, 5))
            words.append(Word(f" {text}", at, end))
            at = end + draw(st.just(0.0) | st.floats(0, 4))
        chunks.append(
            Chunk("".join(word.text for word in words), words[0].start, words[-1].end, tuple(words), speaker)
        )
    return chunks


@pytest.mark.property
@QUICK
@given(talks(), LIMITS, st.booleans())
def test_every_cue_keeps_to_the_limits(chunks: list[Chunk], limits: SubtitleLimits, named: bool) -> None:
    found = cues(transcript(*chunks, duration=1000.0), limits, named=named)
    words = {squeezed(word.text) for chunk in chunks for word in chunk.words}
    plain = SubtitleLimits(limits.max_line_width, limits.max_line_count, limits.max_cue_duration_s)
    as_spoken = cues(transcript(*chunks, duration=1000.0), plain, named=named)
    assert [cue.lines for cue in found] == [cue.lines for cue in as_spoken]
    for index, cue in enumerate(found):
        wide = [line for line in cue.lines if len(line) > limits.max_line_width]
        assert not any(" " in line for line in wide)  # a word alone
        assert squeezed(without_speaker(cue, named)) in words or len(cue.lines) <= limits.max_line_count
        assert cue.end - cue.start <= limits.max_cue_duration_s + 1e-6
        assert_time(cue, found[index + 1 :], limits, spoken_end=as_spoken[index].end)


def without_speaker(cue: Cue, named: bool) -> str:
    text = " ".join(cue.lines)
    return text.removeprefix(f"{cue.speaker}: ") if named and cue.speaker else text


def assert_time(cue: Cue, following: list[Cue], limits: SubtitleLimits, *, spoken_end: float) -> None:
    """It ends as far before the next as is wanted, and not before it can be read if there is time."""
    room = following[0].start - limits.min_cue_gap_s if following else 1000.0
    shortest = cue.start + MIN_CUE_SECONDS
    assert cue.end <= max(room, shortest) + 1e-6 or spoken_end > following[0].start
    if limits.max_characters_per_second is None:
        assert cue.end <= spoken_end
        return
    read = cue.start + len(" ".join(cue.lines)) / limits.max_characters_per_second
    assert cue.end >= min(read, room, cue.start + limits.max_cue_duration_s) - 1e-6


@pytest.mark.property
@QUICK
@given(talks(), LIMITS, st.booleans())
def test_no_text_is_lost_at_any_limits(chunks: list[Chunk], limits: SubtitleLimits, named: bool) -> None:
    found = cues(transcript(*chunks), limits, named=named)
    assert all(cue.end > cue.start for cue in found)
    assert squeezed(*(without_speaker(cue, named) for cue in found)) == squeezed(*(chunk.text for chunk in chunks))


def squeezed(*texts: str) -> str:
    return "".join("".join(texts).split())


@pytest.mark.property
@QUICK
@given(st.lists(st.tuples(st.text("ab.?  ", min_size=1, max_size=30), st.floats(0, 5)), min_size=1, max_size=40))
def test_cutting_loses_no_text(texts: list[tuple[str, float]]) -> None:
    words, time = [], 0.0
    for text, seconds in texts:
        words.append(Word(text, time, time + seconds))
        time += seconds
    chunk = Chunk("".join(word.text for word in words), 0.0, time, tuple(words))
    found = cues_of(chunk)
    assert squeezed(*(line for cue in found for line in lines_of(cue))) == squeezed(chunk.text)
    for cue in found:
        assert cue.end > cue.start
        assert len(lines_of(cue)) <= 2
        assert all(len(line) <= 42 for line in lines_of(cue))
        assert cue.end - cue.start <= 7001
