"""A transcript in passages: what one speaker says without a long pause. The paragraphs of a document, the turns of a
tier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from turnscribe.formats.lines import clean_line, one_line
from turnscribe.transcript import Chunk, Transcript, Word

PAUSE_SECONDS = 3.0  # a pause of that length ends a passage
FULL_SECONDS = 60.0  # from that length on the end of a sentence ends one: a lecture is not one paragraph
SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")


@dataclass(frozen=True)
class Passage:
    """Consecutive chunks of one speaker, at least one of them with text. Times are seconds."""

    speaker: str | None
    chunks: tuple[Chunk, ...]

    @property
    def text(self) -> str:
        return clean_line("".join(chunk.text for chunk in self.chunks))

    @property
    def start(self) -> float:
        return self.chunks[0].start

    @property
    def end(self) -> float:
        return max(chunk.end for chunk in self.chunks)

    @property
    def words(self) -> tuple[Word, ...]:
        return tuple(word for chunk in self.chunks for word in chunk.words)


def passages(transcript: Transcript) -> list[Passage]:
    """All that was said, in order."""
    return list(_cut(chunk for chunk in transcript.chunks if one_line(chunk.text)))


def _cut(chunks: Iterator[Chunk]) -> Iterator[Passage]:
    held: list[Chunk] = []
    for chunk in chunks:
        if held and _ends_before(held, chunk):
            yield Passage(held[0].speaker, tuple(held))
            held = []
        held.append(chunk)
    if held:
        yield Passage(held[0].speaker, tuple(held))


def _ends_before(held: list[Chunk], chunk: Chunk) -> bool:
    last = held[-1]
    if chunk.speaker != last.speaker or chunk.start - last.end >= PAUSE_SECONDS:
        return True
    return last.end - held[0].start >= FULL_SECONDS and last.text.rstrip().endswith(SENTENCE_ENDS)
