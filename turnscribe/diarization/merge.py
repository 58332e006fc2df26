"""Whose words are whose: recognised text and diarized turns put together.

No text is lost on the way: not in silence, not after the last turn.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from turnscribe.transcript import Chunk, SpeakerText, Turn, Word


@dataclass(frozen=True)
class Speech:
    """Everything one speaker says: when it starts and ends, by time, without overlaps of its own."""

    speaker: str
    starts: list[float]
    ends: list[float]

    def overlap(self, start: float, end: float) -> float:
        """Seconds of `start`..`end` this speaker speaks in."""
        first, last = bisect.bisect_right(self.ends, start), bisect.bisect_left(self.starts, end)
        spans = zip(self.starts[first:last], self.ends[first:last], strict=True)
        return sum(min(e, end) - max(s, start) for s, e in spans)

    def distance(self, start: float, end: float) -> float:
        """Seconds from `start`..`end` to this speaker's nearest speech."""
        after = bisect.bisect_right(self.starts, end)
        near = range(max(after - 1, 0), min(after + 1, len(self.starts)))
        return min(max(0.0, self.starts[index] - end, start - self.ends[index]) for index in near)


SpeakerRule: TypeAlias = Callable[[Word | Chunk, Sequence[Speech]], str]


def speaker_of(span: Word | Chunk, speeches: Sequence[Speech]) -> str:
    """The speaker whose turns overlap a word, or a chunk without words, most in sum; else that of the nearest turn.

    In a tie of either, who spoke first in the recording. `speeches` are in that order, and not empty.
    """
    overlaps = [speech.overlap(span.start, span.end) for speech in speeches]
    most = max(overlaps)
    if most > 0:
        return speeches[overlaps.index(most)].speaker
    return min(speeches, key=lambda speech: speech.distance(span.start, span.end)).speaker


def assign_speakers(
    chunks: Sequence[Chunk], turns: Sequence[Turn], *, rule: SpeakerRule = speaker_of
) -> tuple[Chunk, ...]:
    """The chunks with their speakers, split where the speaker changes between two words.

    A word takes the speaker that `rule` gives it; with no turns at all, nobody. A chunk without words is judged as a
    whole and never split. A single word that differs from both its neighbours, which agree, goes
    to their speaker unless more than half of it lies inside its own speaker's turns: a backchannel stays.

    Every chunk comes out once and in order, whole or in pieces; the pieces' texts, joined, are its text. The
    outer times of a chunk stay; inside it, pieces start and end with their words.
    """
    speeches = speeches_of(turns)
    if not speeches:
        return tuple(chunks)
    owners = iter(_smoothed([word for chunk in chunks for word in chunk.words], speeches, rule))
    pieces: list[Chunk] = []
    for chunk in chunks:
        words = tuple(replace(word, speaker=next(owners)) for word in chunk.words)
        if not words:
            pieces.append(replace(chunk, speaker=rule(chunk, speeches)))
        else:
            pieces += _split(chunk, words)
    return tuple(pieces)


def group_turns(chunks: Sequence[Chunk]) -> tuple[SpeakerText, ...]:
    """What each speaker said in one go: consecutive chunks of one speaker as one text.

    Chunks without a speaker are in nobody's text and end a group; groups without text are left out.
    """
    groups = []
    for speaker, group in itertools.groupby(chunks, key=lambda chunk: chunk.speaker):
        members = list(group)
        text = "".join(chunk.text for chunk in members).strip()
        if speaker is not None and text:
            end = max(chunk.end for chunk in members)
            groups.append(SpeakerText(speaker, text, members[0].start, end))
    return tuple(groups)


def speeches_of(turns: Iterable[Turn]) -> list[Speech]:
    """By speaker, in the order in which they first speak."""
    speeches: dict[str, Speech] = {}
    for turn in sorted(turns, key=lambda turn: (turn.start, turn.end)):
        speech = speeches.setdefault(turn.speaker, Speech(turn.speaker, [], []))
        if speech.ends and turn.start <= speech.ends[-1]:
            speech.ends[-1] = max(speech.ends[-1], turn.end)
        else:
            speech.starts.append(turn.start)
            speech.ends.append(turn.end)
    return list(speeches.values())


def _smoothed(words: Sequence[Word], speeches: Sequence[Speech], rule: SpeakerRule) -> list[str]:
    """Each word's speaker, without isolated flips; from left to right, so that a flip is no flank of the next."""
    by_name = {speech.speaker: speech for speech in speeches}
    owners = [rule(word, speeches) for word in words]
    for index in range(1, len(words) - 1):
        before, own, after = owners[index - 1 : index + 2]
        if before == after != own:
            word = words[index]
            inside = by_name[own].overlap(word.start, word.end)
            if 2 * inside <= word.end - word.start:
                owners[index] = before
    return owners


def _split(chunk: Chunk, words: tuple[Word, ...]) -> list[Chunk]:
    """The chunk in pieces of one speaker each, or whole where its words cannot be found in its text."""
    runs = [tuple(run) for _, run in itertools.groupby(words, key=lambda word: word.speaker)]
    texts = _cut(chunk.text, runs)
    if len(runs) == 1 or texts is None:
        seconds: dict[str | None, float] = {}
        for word in words:
            seconds[word.speaker] = seconds.get(word.speaker, 0.0) + max(word.end - word.start, 0.0)
        return [replace(chunk, words=words, speaker=max(seconds, key=lambda speaker: seconds[speaker]))]
    bounds = [(run[0].start, run[-1].end) for run in runs]
    bounds[0] = (chunk.start, bounds[0][1])
    bounds[-1] = (bounds[-1][0], chunk.end)
    return [
        replace(chunk, text=text, start=start, end=end, words=run, speaker=run[0].speaker)
        for text, (start, end), run in zip(texts, bounds, runs, strict=True)
    ]


def _cut(text: str, runs: Sequence[Sequence[Word]]) -> list[str] | None:
    """`text` in as many parts as there are runs of words; `None` where the words are not all in it, in order.

    A part starts with the space before its first word, as the words of Whisper do.
    """
    cuts, position = [], 0
    for run in runs:
        for index, word in enumerate(run):
            found = text.find(word.text.strip(), position)
            if found < 0:
                return None
            if not index:
                cuts.append(len(text[:found].rstrip()) if position else 0)
            position = found + len(word.text.strip())
    return [text[start:end] for start, end in itertools.pairwise([*cuts, len(text)])]
