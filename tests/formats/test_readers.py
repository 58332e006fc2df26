"""The formats of documents and of annotation tools, read back by other programs."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import mammoth
import meeteval
import parselmouth
import pympi
import pysubs2
import pytest
from hypothesis import assume, given
from markdown_it import MarkdownIt
from parselmouth.praat import call

from tests.formats.anything import QUICK, WITH_WORDS, expected, shown, text_of, transcript
from turnscribe.formats import render
from turnscribe.formats.lines import clean_line, nist_field
from turnscribe.formats.tiers import tiers
from turnscribe.formats.times import milliseconds
from turnscribe.transcript import Chunk, Word

ADA = Chunk(
    " Good morning.",
    0.5,
    1.5,
    (Word(" Good", 0.5, 0.9, 0.75), Word(" morning.", 0.9, 1.5, 0.5)),
    speaker="Ada Lovelace",
)
BO = Chunk(" {Hi} *all*\\N", 1.25, 2.0, (Word(" {Hi}", 1.25, 1.5), Word(" *all*\\N", 1.5, 2.0)), speaker="Bo")
LATER = Chunk(' "Yes"', 9.0, 9.5)
CALL = (ADA, BO, LATER)


def bytes_of(*chunks: Chunk, as_: str, **details: Any) -> bytes:
    rendered = render(transcript(*chunks, **details), as_, name="my talk")
    assert isinstance(rendered, str | bytes)
    return rendered if isinstance(rendered, bytes) else rendered.encode()


@contextmanager
def written(*chunks: Chunk, as_: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"talk.{as_}"
        file.write_bytes(bytes_of(*chunks, as_=as_))
        yield file


def squeezed(*texts: str) -> str:
    """Letters alone; as a reader has them."""
    return "".join("".join(map(clean_line, texts)).split())


def said(chunks: list[Chunk]) -> str:
    return squeezed(*(f" {expected(chunk.text)}" for chunk in shown(chunks)))


# --- ctm and stm, by meeteval -------------------------------------------------------------------------------


def test_ctm_has_each_word_with_its_time_and_confidence() -> None:
    assert text_of(*CALL, as_="ctm") == (
        ";; speaker Ada_Lovelace\n"
        "audio 1 0.500 0.400 Good 0.750\n"
        "audio 1 0.900 0.600 morning. 0.500\n"
        ";; speaker Bo\n"
        "audio 1 1.250 0.250 {Hi}\n"
        "audio 1 1.500 0.500 *all*\\N\n"
        ";; speaker unknown\n"
        'audio 1 9.000 0.500 "Yes"\n'
    )


@pytest.mark.property
@QUICK
@given(WITH_WORDS)
def test_ctm_is_read_back_by_meeteval(chunks: list[Chunk]) -> None:
    lines = meeteval.io.CTM.parse(bytes_of(*chunks, as_="ctm").decode()).lines
    assert sorted("".join(line.word for line in lines)) == sorted(said(chunks))
    assert {line.filename for line in lines} <= {"my_talk"}
    starts = [line.begin_time for line in lines]
    assert starts == sorted(starts)
    likely = [word.probability for chunk in chunks for word in chunk.words if word.probability is not None]
    assert all(line.confidence is None or 0 <= float(line.confidence) <= 1 for line in lines)
    assert likely or all(line.confidence is None for line in lines)


def test_stm_has_a_line_for_each_passage() -> None:
    assert text_of(*CALL, as_="stm") == (
        "audio 1 Ada_Lovelace 0.500 1.500 Good morning.\n"
        "audio 1 Bo 1.250 2.000 {Hi} *all*\\N\n"
        'audio 1 unknown 9.000 9.500 "Yes"\n'
    )
    assert text_of(Chunk("<NA> no label", 0.0, 1.0), as_="stm") == "audio 1 unknown 0.000 1.000 ‹NA> no label\n"


@pytest.mark.property
@QUICK
@given(WITH_WORDS)
def test_stm_is_read_back_by_meeteval(chunks: list[Chunk]) -> None:
    lines = meeteval.io.STM.parse(bytes_of(*chunks, as_="stm").decode()).lines
    assert sorted("".join("".join(line.transcript.split()) for line in lines).replace("‹", "<")) == sorted(
        said(chunks)
    )
    assert {line.speaker_id for line in lines} == {nist_field(chunk.speaker or "") for chunk in shown(chunks)}
    assert all(line.end_time > line.begin_time for line in lines)


# --- TextGrid, by Praat -------------------------------------------------------------------------------------


def praat_tiers(grid: Any) -> dict[str, list[tuple[str, float, float]]]:
    found = {}
    for tier in range(1, int(call(grid, "Get number of tiers")) + 1):
        count = int(call(grid, "Get number of intervals", tier))
        found[call(grid, "Get tier name", tier)] = [
            (
                call(grid, "Get label of interval", tier, number),
                call(grid, "Get start time of interval", tier, number),
                call(grid, "Get end time of interval", tier, number),
            )
            for number in range(1, count + 1)
        ]
    return found


def test_a_textgrid_has_tiers_of_turns_and_words() -> None:
    with written(*CALL, as_="textgrid") as file:
        found = praat_tiers(parselmouth.Data.read(str(file)))
    assert list(found) == ["Ada Lovelace", "Ada Lovelace - words", "Bo", "Bo - words", "text"]
    assert found["Ada Lovelace"] == [("", 0, 0.5), ("Good morning.", 0.5, 1.5), ("", 1.5, 60)]
    assert found["Bo - words"] == [("", 0, 1.25), ("{Hi}", 1.25, 1.5), ("*all*\\N", 1.5, 2), ("", 2, 60)]
    assert found["text"][1] == ('"Yes"', 9, 9.5)


@pytest.mark.property
@QUICK
@given(WITH_WORDS)
def test_a_textgrid_is_read_back_by_praat(chunks: list[Chunk]) -> None:
    with written(*chunks, as_="textgrid") as file:
        found = praat_tiers(parselmouth.Data.read(str(file)))
    rows = tiers(transcript(*chunks))
    for tier in rows:
        assert labels(found[tier.name]) == [(turn.label, turn.start, turn.end) for turn in tier.turns]
        assert labels(found.get(f"{tier.name} - words", [])) == [
            (word.label, word.start, word.end) for word in tier.words
        ]
    assert sorted(squeezed(*(turn.label for tier in rows for turn in tier.turns))) == sorted(said(chunks))


def labels(intervals: list[tuple[str, float, float]]) -> list[tuple[str, int, int]]:
    return [(label, milliseconds(start), milliseconds(end)) for label, start, end in intervals if label]


# --- eaf, by pympi ------------------------------------------------------------------------------------------


def test_eaf_has_tiers_of_turns_and_below_them_words() -> None:
    with written(*CALL, as_="eaf") as file:
        read = pympi.Eaf(str(file))
    assert list(read.get_tier_names()) == ["Ada Lovelace", "words@Ada Lovelace", "Bo", "words@Bo", "text"]
    assert read.get_annotation_data_for_tier("Ada Lovelace") == [(500, 1500, "Good morning.")]
    assert read.get_annotation_data_for_tier("words@Bo") == [(1250, 1500, "{Hi}"), (1500, 2000, "*all*\\N")]
    below = read.get_parameters_for_tier("words@Bo")
    assert (below["PARENT_REF"], below["PARTICIPANT"]) == ("Bo", "Bo")
    assert read.get_parameters_for_linguistic_type("word")["CONSTRAINTS"] == "Included_In"
    assert "PARTICIPANT" not in read.get_parameters_for_tier("text")


@pytest.mark.property
@QUICK
@given(WITH_WORDS)
def test_eaf_is_read_back_by_pympi(chunks: list[Chunk]) -> None:
    with written(*chunks, as_="eaf") as file:
        read = pympi.Eaf(str(file))
    rows = tiers(transcript(*chunks))
    for tier in rows:
        turns = sorted(read.get_annotation_data_for_tier(tier.name))
        assert turns == [(turn.start, turn.end, turn.label) for turn in tier.turns]
        for turn in tier.turns:
            assert all(turn.start <= word.start < word.end <= turn.end for word in turn.words)
        if tier.words:
            words = sorted(read.get_annotation_data_for_tier(f"words@{tier.name}"))
            assert words == [(word.start, word.end, word.label) for word in tier.words]
    assert list(read.timeslots.values()) == sorted(read.timeslots.values())


# --- lrc and ass, by FFmpeg ---------------------------------------------------------------------------------


def ffmpeg_lines(content: bytes, name: str) -> list[tuple[float, str]]:
    """Start in seconds and text."""
    with av.open(io.BytesIO(content), format=name) as container:
        stream = container.streams.subtitles[0]
        return [
            (float(packet.pts * stream.time_base), bytes(packet).decode().strip())
            for packet in container.demux(stream)
            if packet.pts is not None
        ]


def test_lrc_has_a_line_for_each_cue_and_none_in_a_pause() -> None:
    assert text_of(*CALL, as_="lrc") == (
        "[ti:audio]\n[length:01:00.00]\n"
        "[00:00.50]Ada Lovelace: Good morning.\n"
        "[00:01.25]Bo: {Hi} *all*\\N\n"
        "[00:02.00]\n"
        '[00:09.00]"Yes"\n'
        "[00:09.50]\n"
    )
    assert text_of(Chunk("[Music]", 6000.0, 6001.0), as_="lrc").splitlines()[2] == "[100:00.00](Music)"


@pytest.mark.property
@QUICK
@given(WITH_WORDS)
def test_ass_is_read_back_whole(chunks: list[Chunk]) -> None:
    file = pysubs2.SSAFile.from_string(bytes_of(*chunks, as_="ass").decode(), "ass")
    texts = [cue.plaintext.replace("\u2060", "").replace("｛", "{").replace("｝", "}") for cue in file]
    assert squeezed(*texts) == said(chunks)
    assert all(cue.end > cue.start for cue in file)
    assert all(cue.style in file.styles for cue in file)
    assert {cue.name for cue in file} <= {clean_line(chunk.speaker or "").replace(",", ";") for chunk in chunks} | {
        "Default"
    }


def test_ass_has_a_style_and_a_colour_for_each_speaker() -> None:
    file = pysubs2.SSAFile.from_string(text_of(*CALL, as_="ass"), "ass")
    assert list(file.styles) == ["Default", "Ada Lovelace", "Bo"]
    colours = [file.styles[name].primarycolor for name in ("Ada Lovelace", "Bo")]
    assert colours[0] != colours[1]
    assert [(cue.start, cue.end, cue.style, cue.name) for cue in file] == [
        (500, 1500, "Ada Lovelace", "Ada Lovelace"),
        (1250, 2000, "Bo", "Bo"),
        (9000, 9500, "Default", ""),
    ]


def test_ffmpeg_shows_ass_as_it_was_said() -> None:
    events = ffmpeg_lines(bytes_of(*CALL, as_="ass"), "ass")
    found = [(start, event.split(",", maxsplit=8)[8]) for start, event in events]  # its text is the ninth field
    assert found == [(0.5, "Good morning."), (1.25, "｛Hi｝ *all*\\\u2060N"), (9.0, '"Yes"')]


def test_ffmpeg_reads_lrc() -> None:
    found = ffmpeg_lines(bytes_of(ADA, LATER, as_="lrc"), "lrc")
    assert [line for line in found if line[1]] == [(0.5, "Ada Lovelace: Good morning."), (9.0, '"Yes"')]


@pytest.mark.property
@QUICK
@given(WITH_WORDS)
def test_lrc_is_read_back_by_ffmpeg(chunks: list[Chunk]) -> None:
    nobody = [replace(chunk, speaker=None) for chunk in chunks]
    lines = text_of(*nobody, as_="lrc").splitlines()
    assume(len(set(lines)) == len(lines))  # FFmpeg takes equal lines at one time for one
    texts = [text for _, text in ffmpeg_lines(bytes_of(*nobody, as_="lrc"), "lrc")]
    assert sorted(squeezed(*texts)) == sorted(said(nobody).translate(str.maketrans("[]", "()")))


# --- Markdown, by markdown-it, and docx, by mammoth ---------------------------------------------------------


def markdown_paragraphs(text: str) -> list[str]:
    """The text of each block, as a page shows it."""
    return [
        "".join(child.content for child in token.children or ())
        for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text)
        if token.type == "inline"
    ]


def test_markdown_has_a_title_facts_and_a_paragraph_for_each_passage() -> None:
    assert text_of(*CALL, as_="md", language="en") == (
        "# audio\n\n"
        "Duration: 00:01:00 · Language: English · Speakers: Ada Lovelace, Bo\n\n"
        "`00:00:00` **Ada Lovelace:** Good morning.\n\n"
        "`00:00:01` **Bo:** {Hi} \\*all\\*\\\\N\n\n"
        '`00:00:09` "Yes"\n'
    )


@pytest.mark.property
@QUICK
@given(WITH_WORDS)
def test_markdown_is_shown_as_it_was_said(chunks: list[Chunk]) -> None:
    title, _, *paragraphs = markdown_paragraphs(bytes_of(*chunks, as_="md").decode())
    assert title == "my talk"
    assert_paragraphs(paragraphs, chunks, r"\d+:\d\d:\d\d ")


def test_docx_has_a_title_facts_and_a_paragraph_for_each_passage() -> None:
    written = io.BytesIO(bytes_of(*CALL, as_="docx", language="de"))
    html = mammoth.convert_to_html(written, style_map="p[style-name='Title'] => h1").value
    assert html == (
        "<h1>my talk</h1>"
        "<p>Duration: 00:01:00 · Language: German · Speakers: Ada Lovelace, Bo</p>"
        "<p><strong>Ada Lovelace</strong> <em>[00:00:00]</em> Good morning.</p>"
        "<p><strong>Bo</strong> <em>[00:00:01]</em> {Hi} *all*\\N</p>"
        "<p><em>[00:00:09]</em> &quot;Yes&quot;</p>"
    )


@pytest.mark.property
@QUICK
@given(WITH_WORDS)
def test_docx_is_read_back_by_mammoth(chunks: list[Chunk]) -> None:
    text = mammoth.extract_raw_text(io.BytesIO(bytes_of(*chunks, as_="docx"))).value
    title, _, *paragraphs = [line for line in text.split("\n\n") if line]
    assert title == "my talk"
    assert_paragraphs(paragraphs, chunks, r"\[\d+:\d\d:\d\d\] ")


def assert_paragraphs(paragraphs: list[str], chunks: list[Chunk], time: str) -> None:
    """Each has a time; without speakers and times, they are what was said."""
    texts = []
    for paragraph in paragraphs:
        found = re.search(time, paragraph)
        assert found, paragraph
        texts.append(paragraph.replace(found[0], "", 1))
    speakers = [clean_line(chunk.speaker or "") for chunk in shown(chunks)]
    assert all(any(text.startswith(speaker) for speaker in speakers) for text in texts)
    assert len("".join(texts)) >= len(said(chunks))
    assert all(squeezed(chunk.text) in squeezed(*texts) for chunk in shown(chunks))


def test_a_passage_ends_with_a_pause_and_a_long_one_with_a_sentence() -> None:
    chunks = [Chunk(f" Number {index}.", index * 10.0, index * 10.0 + 9) for index in range(8)]
    assert [line.split()[3:5] for line in text_of(*chunks, as_="stm").splitlines()] == [
        ["0.000", "69.000"],
        ["70.000", "79.000"],
    ]
    apart = [Chunk(" One.", 0.0, 1.0), Chunk(" Two.", 3.9, 5.0), Chunk(" Three.", 8.0, 9.0)]
    assert [line.split(maxsplit=5)[5] for line in text_of(*apart, as_="stm").splitlines()] == ["One. Two.", "Three."]
