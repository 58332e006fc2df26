from __future__ import annotations

import csv
import html
import io
import json
import re

import mammoth
import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.anything import ANYTHING, QUICK, expected, shown, text_of, transcript
from turnscribe.assemble import assemble
from turnscribe.errors import BadParameters
from turnscribe.formats import FORMATS, render
from turnscribe.formats.plain_values import known
from turnscribe.formats.times import milliseconds, timestamp
from turnscribe.transcript import Chunk, Transcript, Turn, Word

HELLO = Chunk(" Hello.", 0.5, 1.25, speaker="SPEAKER_00")
BYE = Chunk(" Bye & good luck.", 2.0, 3.5, speaker="SPEAKER_01")


# --- Times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "00:00:00.000"),
        (-3.0, "00:00:00.000"),
        (1.2344, "00:00:01.234"),
        (1.2346, "00:00:01.235"),
        (59.9996, "00:01:00.000"),
        (3599.9999, "01:00:00.000"),
        (100 * 3600 + 61.5, "100:01:01.500"),
    ],
)
def test_timestamp_rounds_and_carries(seconds: float, written: str) -> None:
    assert timestamp(seconds) == written
    assert timestamp(seconds, separator=",") == written.replace(".", ",")


def test_a_time_that_is_not_finite_is_our_bug() -> None:
    with pytest.raises(AssertionError):
        timestamp(float("nan"))


@pytest.mark.property
@QUICK
@given(st.floats(min_value=0, max_value=1e6))
def test_timestamp_is_within_a_millisecond(seconds: float) -> None:
    hours, minutes, rest = timestamp(seconds).split(":")
    assert int(minutes) < 60
    assert float(rest) < 60
    assert abs(int(hours) * 3600 + int(minutes) * 60 + float(rest) - seconds) <= 0.0005001


# --- JSON shapes --------------------------------------------------------------------------------------------


def test_json_is_the_text_alone() -> None:
    assert render(transcript(HELLO, BYE), "json") == {"text": " Hello. Bye & good luck."}


def test_verbose_json_has_the_shape_of_openai() -> None:
    words = (Word(" Hello.", 0.5, 1.25, probability=0.9),)
    chunk = Chunk(" Hello.", 0.5, 1.25, words, None, -0.25, 0.8, 0.01, 0.0)
    call = transcript(chunk, BYE, language="en")
    assert render(call, "verbose_json") == {
        "task": "transcribe",
        "language": "english",
        "duration": 60.0,
        "text": " Hello. Bye & good luck.",
        "segments": [
            {
                "id": 0,
                "start": 0.5,
                "end": 1.25,
                "text": " Hello.",
                "temperature": 0.0,
                "avg_logprob": -0.25,
                "compression_ratio": 0.8,
                "no_speech_prob": 0.01,
            },
            {"id": 1, "start": 2.0, "end": 3.5, "text": " Bye & good luck.", "speaker": "SPEAKER_01"},
        ],
        "words": [{"word": "Hello.", "start": 0.5, "end": 1.25}],
    }
    assert "words" not in render(call, "verbose_json", words=False)


def test_verbose_json_of_a_translation_is_english() -> None:
    call = assemble(
        [HELLO], [], duration=2.0, language="es", timings={}, warnings=(), speculations=(), task="translate"
    )
    assert call.language == "en"
    verbose = render(call, "verbose_json")
    assert isinstance(verbose, dict)
    assert (verbose["task"], verbose["language"]) == ("translate", "english")


def test_verbose_json_leaves_out_what_is_not_known() -> None:
    chunk = Chunk(" Hm.", 0.0, 1.0, avg_logprob=float("nan"), compression_ratio=float("inf"))
    assert render(transcript(chunk), "verbose_json") == {
        "task": "transcribe",
        "duration": 60.0,
        "text": " Hm.",
        "segments": [{"id": 0, "start": 0.0, "end": 1.0, "text": " Hm."}],
        "language": None,
    }


def test_diarized_json_has_the_shape_of_openai() -> None:
    assert render(transcript(HELLO, Chunk(" Hm.", 1.25, 1.5)), "diarized_json") == {
        "task": "transcribe",
        "duration": 60.0,
        "text": " Hello. Hm.",
        "segments": [
            {
                "type": "transcript.text.segment",
                "id": "seg_001",
                "start": 0.5,
                "end": 1.25,
                "text": " Hello.",
                "speaker": "SPEAKER_00",
            },
            {"type": "transcript.text.segment", "id": "seg_002", "start": 1.25, "end": 1.5, "text": " Hm."},
        ],
    }


def test_a_list_with_an_unknown_number_is_unknown() -> None:
    assert known({"timestamp": (0.0, float("nan")), 3: (1, 2)}) == {"3": [1, 2]}


# --- Text formats -------------------------------------------------------------------------------------------


def test_text_is_the_text_and_names_speakers_where_known() -> None:
    nobody = Chunk(" Hm.", 3.5, 3.6)
    again = Chunk(" Really.", 3.6, 4.0, speaker="SPEAKER_01")
    assert text_of(Chunk(" One.", 0.0, 1.0), Chunk(" Two.", 1.0, 2.0), as_="text") == "One. Two.\n"
    assert text_of(HELLO, BYE, again, nobody, as_="text") == (
        "SPEAKER_00: Hello.\nSPEAKER_01: Bye & good luck. Really.\nHm.\n"
    )


def test_srt_puts_the_speaker_before_the_text() -> None:
    assert text_of(HELLO, Chunk(" 42", 2.0, 3.0), as_="srt") == (
        "1\n00:00:00,500 --> 00:00:01,250\nSPEAKER_00: Hello.\n\n2\n00:00:02,000 --> 00:00:03,000\n42\n"
    )


def test_vtt_has_voice_tags_and_escapes() -> None:
    odd = Chunk("a <b> --> &c", 4.0, 5.0, speaker="Tom & <Jerry>\n")
    assert text_of(HELLO, odd, as_="vtt") == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.250\n<v SPEAKER_00>Hello.\n\n"
        "00:00:04.000 --> 00:00:05.000\n<v Tom &amp; &lt;Jerry&gt;>a &lt;b&gt; --&gt; &amp;c\n"
    )


def test_line_breaks_and_arrows_do_not_end_a_cue() -> None:
    chunk = Chunk("one\n\n2\r\n00:00 --> \u2028three", 0.0, 1.0)
    assert text_of(chunk, as_="srt") == "1\n00:00:00,000 --> 00:00:01,000\none 2 00:00 → three\n"
    assert text_of(chunk, as_="vtt").endswith("\none 2 00:00 --&gt; three\n")


def test_a_speaker_ending_in_hyphens_does_not_make_an_arrow_with_the_tag() -> None:
    cue = text_of(Chunk("Hi.", 0.0, 1.0, speaker="--"), as_="vtt").splitlines()[-1]
    assert cue == "<v -&#45;>Hi."
    assert html.unescape(cue) == "<v -->Hi."


def test_a_cue_of_no_length_is_shown_and_an_empty_one_is_not() -> None:
    chunks = (
        Chunk(" \n", 0.0, 1.0),
        Chunk(" Oh.", 1.0, 1.0),
        Chunk(" Ah.", 2.0, 1.5),
        Chunk(" So.", -1.0, -0.5),
    )
    cues = pysubs2.SSAFile.from_string(text_of(*chunks, as_="srt"), "srt")
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [
        (1000, 1100, "Oh."),
        (2000, 2100, "Ah."),
        (0, 100, "So."),
    ]


def test_tsv_is_whispers_and_has_speakers_when_known() -> None:
    tab = Chunk(" a\tb\nc", 1.0, 2.0)
    assert text_of(tab, as_="tsv") == "start\tend\ttext\n1000\t2000\ta b c\n"
    assert text_of(HELLO, tab, as_="tsv") == (
        "start\tend\ttext\tspeaker\n500\t1250\tHello.\tSPEAKER_00\n1000\t2000\ta b c\t\n"
    )


def test_rttm_is_the_turns_not_the_text() -> None:
    call = transcript(HELLO, turns=(Turn('the "host" ', 0.25, 1.5), Turn("B", 2.0, 2.0)))
    line = "SPEAKER {} 1 0.250 1.250 <NA> <NA> the_host <NA> <NA>\n"
    assert render(call, "rttm") == line.format("audio")
    assert render(call, "rttm", name="my talk") == line.format("my_talk")
    assert text_of(HELLO, as_="rttm") == "SPEAKER audio 1 0.500 0.750 <NA> <NA> SPEAKER_00 <NA> <NA>\n"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_renders_silence(name: str) -> None:
    silence = {
        "srt": "",
        "vtt": "WEBVTT\n",
        "tsv": "start\tend\ttext\n",
        "text": "",
        "rttm": "",
        "ctm": "",
        "stm": "",
        "lrc": "[ti:audio]\n[length:00:02.00]\n",
        "md": "# audio\n\nDuration: 00:00:02\n",
    }
    others = {  # what they have no more of, where there is something before the text
        "ass": "Dialogue:",
        "textgrid": 'text = "."',
        "eaf": "<ANNOTATION>",
    }
    rendered = render(Transcript("", (), 2.0), name)
    if isinstance(rendered, dict):
        assert rendered["text"] == ""
    elif isinstance(rendered, bytes):
        assert name == "docx"
        assert mammoth.extract_raw_text(io.BytesIO(rendered)).value.split() == ["audio", "Duration:", "00:00:02"]
    elif name in others:
        assert not re.search(others[name], rendered)
    else:
        assert name in silence, "say here what the format makes of silence"
        assert rendered == silence[name]


def test_the_formats_and_their_suffixes() -> None:
    known = {name: FORMATS[name].suffix for name in FORMATS}
    assert known.items() >= {"text": "txt", "srt": "srt", "vtt": "vtt", "tsv": "tsv", "rttm": "rttm"}.items()
    assert known.items() >= {"json": "json", "verbose_json": "verbose.json", "diarized_json": "diarized.json"}.items()


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(BadParameters, match="'pdf': give one of json, verbose_json"):
        render(transcript(), "pdf")


# --- Read back by others' readers ---------------------------------------------------------------------------


def assert_times(chunk: Chunk, start_ms: int, end_ms: int) -> None:
    assert abs(start_ms - chunk.start * 1000) < 1
    assert end_ms > start_ms
    assert abs(end_ms - chunk.end * 1000) < 1 or milliseconds(chunk.end) == milliseconds(chunk.start)


@pytest.mark.property
@QUICK
@given(ANYTHING)
def test_srt_is_read_back_whole(chunks: list[Chunk]) -> None:
    cues = pysubs2.SSAFile.from_string(text_of(*chunks, as_="srt"), "srt", keep_html_tags=True)
    assert len(cues) == len(shown(chunks))
    for cue, chunk in zip(cues, shown(chunks), strict=True):
        speaker = f"{expected(chunk.speaker)}: " if chunk.speaker else ""
        shown_text = "".join(cue.text.replace(r"\N", " ").split())
        assert shown_text == "".join(f"{speaker}{chunk.text}".replace("-->", "→").split())
        assert_times(chunk, cue.start, cue.end)


@pytest.mark.property
@QUICK
@given(ANYTHING)
def test_vtt_is_read_back_whole(chunks: list[Chunk]) -> None:
    cues = pysubs2.SSAFile.from_string(text_of(*chunks, as_="vtt"), "vtt")
    texts = ["".join(html.unescape(cue.text.replace(r"\N", " ")).split()) for cue in cues]
    assert texts == ["".join(chunk.text.split()) for chunk in shown(chunks)]
    for cue, chunk in zip(cues, shown(chunks), strict=True):
        assert_times(chunk, cue.start, cue.end)


@pytest.mark.property
@QUICK
@given(ANYTHING)
def test_vtt_is_valid_and_names_the_voice(chunks: list[Chunk]) -> None:
    import webvtt

    cues = webvtt.from_string(text_of(*chunks, as_="vtt"), strict=True).captions
    texts = ["".join(html.unescape(cue.text).split()) for cue in cues]  # lines may end between two ideographs
    assert texts == ["".join(chunk.text.split()) for chunk in shown(chunks)]
    for cue, chunk in zip(cues, shown(chunks), strict=True):
        assert html.unescape(cue.voice or "") == expected(chunk.speaker)
        assert_times(chunk, cue.start_time.in_milliseconds(), cue.end_time.in_milliseconds())


@pytest.mark.property
@QUICK
@given(ANYTHING)
def test_tsv_is_read_back_whole(chunks: list[Chunk]) -> None:
    written = io.StringIO(text_of(*chunks, as_="tsv"), newline="")
    rows = list(csv.DictReader(written, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == len(chunks)
    for row, chunk in zip(rows, chunks, strict=True):
        assert row["text"] == expected(chunk.text).replace("\t", " ")
        assert row.get("speaker", "") == expected(chunk.speaker)
        assert abs(int(row["start"]) - chunk.start * 1000) < 1
        assert abs(int(row["end"]) - chunk.end * 1000) < 1


@pytest.mark.property
@QUICK
@given(ANYTHING)
def test_json_shapes_survive_json(chunks: list[Chunk]) -> None:
    for name in ("json", "verbose_json", "diarized_json"):
        rendered = render(transcript(*chunks), name)
        assert json.loads(json.dumps(rendered, allow_nan=False)) == rendered


@pytest.mark.property
@QUICK
@given(st.lists(st.tuples(st.text('ab"é \t', max_size=6), st.floats(0, 1e5), st.floats(0, 100)), max_size=6))
def test_rttm_is_read_back_by_pyannote(turns: list[tuple[str, float, float]]) -> None:
    util = pytest.importorskip("pyannote.database.util")
    given_turns = tuple(Turn(speaker, start, start + length) for speaker, start, length in turns)
    written = render(transcript(turns=given_turns), "rttm", name="my talk")
    read = util.load_rttm(io.StringIO(str(written)))
    heard = [turn for turn in given_turns if milliseconds(turn.end) > milliseconds(turn.start)]
    tracks = list(read["my_talk"].itertracks(yield_label=True)) if heard else []
    assert len(tracks) == len(heard)
    by_line = sorted(tracks, key=lambda track: track[1])
    for (segment, _, speaker), turn in zip(by_line, heard, strict=True):
        assert speaker == ("_".join(turn.speaker.replace('"', " ").split()) or "unknown")
        assert abs(segment.start - turn.start) < 0.001
        assert abs(segment.end - turn.end) < 0.0011
