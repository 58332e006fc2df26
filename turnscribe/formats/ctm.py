"""NIST's ctm: each word with its time, and how likely it is.

https://www.nist.gov/system/files/documents/2021/08/03/OpenASR20_EvalPlan_v1_5.pdf, appendix.
"""

from __future__ import annotations

from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.formats.lines import clean_line, joined, nist_field
from turnscribe.formats.times import milliseconds
from turnscribe.transcript import Chunk, Transcript, Word


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """Words in the order of their times. A line has no place for the speaker: a comment names who goes on."""
    words = [(word, chunk.speaker) for chunk in transcript.chunks for word in _timed(chunk)]
    recording = nist_field(options.recording)
    lines = []
    before = None
    for word, speaker in sorted(words, key=lambda pair: milliseconds(pair[0].start)):
        if speaker != before:
            lines.append(f";; speaker {nist_field(speaker or '')}")
            before = speaker
        start_ms = milliseconds(word.start)
        times = f"{start_ms / 1000:.3f} {max(0, milliseconds(word.end) - start_ms) / 1000:.3f}"
        likely = "" if word.probability is None else f" {min(1.0, max(0.0, word.probability)):.3f}"
        lines.append(f"{recording} 1 {times} {word.text}{likely}")
    return joined(lines)


def _timed(chunk: Chunk) -> list[Word]:
    """Its words, none with a space inside. Those that are not timed share their time evenly."""
    words = chunk.words
    if "".join(word.text for word in words).split() != chunk.text.split():
        words = (Word(chunk.text, chunk.start, chunk.end),)
    return [part for word in words for part in _parts(word)]


def _parts(word: Word) -> list[Word]:
    texts = clean_line(word.text).split()
    share = (word.end - word.start) / max(1, len(texts))
    starts = [word.start + index * share for index in range(len(texts))]
    return [Word(text, start, start + share, word.probability) for text, start in zip(texts, starts, strict=True)]


FORMAT = Format("ctm", "ctm", "text/plain; charset=utf-8", _render)
