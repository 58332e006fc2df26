"""A transcript as subtitles show it: in cues that can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from turnscribe.formats.line_breaks import even_lines, full_lines, pieces
from turnscribe.formats.lines import one_line
from turnscribe.formats.times import milliseconds
from turnscribe.subtitle_limits import SubtitleLimits
from turnscribe.transcript import Chunk, Transcript, Word

MIN_CUE_SECONDS = 0.1  # what a cue of no length gets: players drop a cue that ends when it starts
SENTENCE_ENDS = (".", "?", "!", "。", "？", "！")


@dataclass(frozen=True)
class Cue:
    """What is on the screen from `start` to `end`, in seconds."""

    lines: tuple[str, ...]
    start: float
    end: float
    speaker: str | None

    @property
    def characters(self) -> int:
        """As reading speed counts them: a break is read as a space."""
        return len(" ".join(self.lines))


def cues(transcript: Transcript, limits: SubtitleLimits, *, named: bool = False) -> list[Cue]:
    """The chunks as a subtitle shows them: none empty, none of no length, the long ones cut at words.

    `named`: the text begins with the speaker, who counts as part of it. Where words have no times, a chunk is one
    cue, however long.
    """
    cut = [cue for chunk in transcript.chunks for cue in _Cutter(chunk, limits, named).cues()]
    return _timed(cut, limits, transcript.duration)


class _Cutter:
    """One chunk in cues no longer than the limits, where its words tell their times.

    A cue also ends with a sentence once it is half full. Words that do not spell the chunk's text are no evidence:
    then it stays whole. A single word over the limits stays whole too.
    """

    def __init__(self, chunk: Chunk, limits: SubtitleLimits, named: bool) -> None:
        self.chunk, self.limits = chunk, limits
        self.prefix = [f"{one_line(chunk.speaker)}: "] if named and chunk.speaker else []
        self.widest = max([limits.max_line_width, *map(len, pieces(self.prefix))])  # a long name cannot be helped

    def cues(self) -> Iterator[Cue]:
        chunk, limits = self.chunk, self.limits
        if not one_line(chunk.text):
            return
        if "".join(word.text for word in chunk.words).split() != chunk.text.split():
            yield self._cue(pieces([*self.prefix, chunk.text]), chunk.start, chunk.end)
            return
        if self._fits(chunk.words, chunk.start):
            yield self._cue(self._pieces(chunk.words), chunk.start, chunk.end)
            return
        for words in self._parts():
            if any(one_line(word.text) for word in words):
                start = words[0].start
                end = min(words[-1].end, start + limits.max_cue_duration_s)
                yield self._cue(self._pieces(words), start, end)

    def _parts(self) -> Iterator[Sequence[Word]]:
        half = self.limits.max_line_width * self.limits.max_line_count / 2
        part: list[Word] = []
        for word in self.chunk.words:
            text = "".join(one.text for one in part)
            ended = len(text) > half and text.rstrip().endswith(SENTENCE_ENDS)
            if part and (ended or not self._fits([*part, word], part[0].start)):
                yield part
                part = []
            part.append(word)
        yield part

    def _fits(self, words: Sequence[Word], start: float) -> bool:
        lines = full_lines(self._pieces(words), self.limits.max_line_width)
        end = max(words[-1].end, self.chunk.end) if len(words) == len(self.chunk.words) else words[-1].end
        brief = end - start <= self.limits.max_cue_duration_s
        narrow = all(len(line) <= self.widest for line in lines)
        return brief and narrow and len(lines) <= self.limits.max_line_count

    def _pieces(self, words: Sequence[Word]) -> list[str]:
        return pieces([*self.prefix, *(word.text for word in words)], words=True)

    def _cue(self, shown: Sequence[str], start: float, end: float) -> Cue:
        return Cue(even_lines(shown, self.limits.max_line_width), start, end, self.chunk.speaker)


def _timed(cut: Sequence[Cue], limits: SubtitleLimits, duration: float) -> list[Cue]:
    """Each long enough to be read, as far as the next one leaves time, and with the gap before that.

    Cues that overlap, since people talk at once, stay as they are.
    """
    made = []
    for index, cue in enumerate(cut):
        start, end = max(0.0, cue.start), cue.end
        if milliseconds(end) <= milliseconds(start):
            end = start + MIN_CUE_SECONDS
        following = cut[index + 1].start if index + 1 < len(cut) else None
        room = duration if following is None else following - limits.min_cue_gap_s
        if limits.max_characters_per_second is not None:
            read = start + cue.characters / limits.max_characters_per_second
            end = max(end, min(read, start + limits.max_cue_duration_s, room))
        if following is not None and room < end <= following:
            end = min(end, max(room, start + MIN_CUE_SECONDS))
        made.append(replace(cue, start=start, end=end))
    return made
