"""A transcript as subtitles show it: in cues that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from turnscribe.formats.lines import one_line
from turnscribe.formats.times import milliseconds
from turnscribe.transcript import Chunk, Transcript

MAX_CUE_CHARACTERS = 2 * 42  # two lines of 42, the usual limit of subtitle guides
MAX_CUE_SECONDS = 7.0  # the same guides' limit for one cue on the screen
MIN_CUE_SECONDS = 0.1  # what a cue of no length gets: players drop a cue that ends when it starts


def cues(transcript: Transcript) -> Iterator[Chunk]:
    """The chunks as a subtitle shows them: none empty, none of no length, the long ones cut at words."""
    for chunk in transcript.chunks:
        for cue in _readable(chunk):
            if one_line(cue.text):
                start = max(0.0, cue.start)
                shown = milliseconds(cue.end) > milliseconds(start)
                yield replace(cue, start=start, end=cue.end if shown else start + MIN_CUE_SECONDS)


def _readable(chunk: Chunk) -> Iterator[Chunk]:
    """`chunk`, or pieces of it no longer than the limits where its words tell their times.

    A piece also ends with a sentence once it is half full. Words that do not spell the chunk's text are no
    evidence: then it stays whole. A single word over the limits stays whole too.
    """
    fits = len(chunk.text.strip()) <= MAX_CUE_CHARACTERS and chunk.end - chunk.start <= MAX_CUE_SECONDS
    if fits or "".join(word.text for word in chunk.words).split() != chunk.text.split():
        yield chunk
        return
    first, text = 0, ""
    for index, word in enumerate(chunk.words):
        full = (
            len((text + word.text).strip()) > MAX_CUE_CHARACTERS
            or word.end - chunk.words[first].start > MAX_CUE_SECONDS
            or (len(text) > MAX_CUE_CHARACTERS / 2 and text.endswith((".", "?", "!", "。", "？", "！")))
        )
        if full and index > first:
            yield _piece(chunk, first, index, text)
            first, text = index, ""
        text += word.text
    yield _piece(chunk, first, len(chunk.words), text)


def _piece(chunk: Chunk, first: int, stop: int, text: str) -> Chunk:
    words = chunk.words[first:stop]
    return replace(chunk, text=text, start=words[0].start, end=words[-1].end, words=words)
