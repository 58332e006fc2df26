"""Transcripts of anything that may be in one, and what of it has to be found again."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from turnscribe.formats import render
from turnscribe.transcript import Chunk, Transcript, Turn, Word

# The cores are shared: how long an example takes says nothing.
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def transcript(*chunks: Chunk, turns: tuple[Turn, ...] = (), duration: float = 60.0, **details: Any) -> Transcript:
    return Transcript("".join(chunk.text for chunk in chunks), chunks, duration=duration, turns=turns, **details)


def text_of(*chunks: Chunk, as_: str, **details: Any) -> str:
    rendered = render(transcript(*chunks, **details), as_)
    assert isinstance(rendered, str)
    return rendered


# Two times on one line of text: pysubs2 takes any such line for a cue's times, whatever stands between them.
TIMES = re.compile(r"\d:\d\d[.,:]\d.*\d:\d\d[.,:]\d")

PIECES = st.sampled_from(
    [
        "-->",
        "--->",
        " ",
        "\n",
        "\r\n",
        "\n\n",
        "\u2028",
        "\t",
        "<i>",
        "</v>",
        "<",
        ">",
        "&amp;",
        "&",
        '"',
        "7",
    ]
)
TEXTS = st.lists(PIECES | st.text(st.characters(codec="utf-8"), max_size=12), max_size=6).map("".join)
NAMES = st.none() | st.sampled_from(["SPEAKER_00", "Tom & <Jerry>", "A\nB", "-->"]) | st.text("abcé -", max_size=6)
SECONDS = st.floats(min_value=0, max_value=90 * 3600)


@st.composite
def chunks_of_anything(draw: st.DrawFn) -> Chunk:
    start = draw(SECONDS)
    return Chunk(draw(TEXTS), start, start + draw(st.floats(min_value=0, max_value=7)), speaker=draw(NAMES))


ANYTHING = st.lists(chunks_of_anything(), max_size=5).filter(
    lambda chunks: not any(TIMES.search(" ".join(chunk.text.split())) for chunk in chunks)
)


def expected(text: str | None) -> str:
    return " ".join(line.strip() for line in (text or "").splitlines() if line.strip())


def shown(chunks: list[Chunk]) -> list[Chunk]:
    return [chunk for chunk in chunks if expected(chunk.text)]


MARKUP = st.sampled_from(
    ["{\\b1}", "\\N", "\\", "[00:01.00]", "*a*", "_", "# ", "1. ", ";;", "<NA>", '"', "&lt;", "@", "``", "|"]
)
WORD_TEXTS = st.lists(PIECES | MARKUP | st.text(st.characters(codec="utf-8"), max_size=8), max_size=4).map("".join)


@st.composite
def timed_chunks(draw: st.DrawFn) -> Chunk:
    """With words that spell the text, one after the other, and each with a probability or none has."""
    at = start = draw(st.floats(min_value=0, max_value=9 * 3600))
    likely = st.floats(0, 1) if draw(st.booleans()) else st.none()
    words = []
    for text in draw(st.lists(WORD_TEXTS, max_size=6)):
        end = at + draw(st.floats(min_value=0, max_value=3))
        words.append(Word(f" {text}", at, end, draw(likely)))
        at = end
    return Chunk("".join(word.text for word in words), start, at, tuple(words), draw(NAMES))


WITH_WORDS = st.lists(timed_chunks() | chunks_of_anything(), max_size=5)
