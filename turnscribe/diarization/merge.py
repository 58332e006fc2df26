"""Whose words are whose: recognised text and diarized turns put together.

No text is lost on the way: not in silence, not after the last turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from turnscribe.diarization.handovers import handed_over, handover_costs, word_costs
from turnscribe.diarization.speeches import Speech, speeches_of
from turnscribe.transcript import Chunk, SpeakerText, Turn, Word

NAMED = 1e6  # seconds: what a rule says of a word is not weighed

SpeakerRule: TypeAlias = Callable[[Word | Chunk, Sequence[Speech]], str | None]


def no_rule(span: Word | Chunk, speeches: Sequence[Speech]) -> None:
    """Leaves every word and chunk to the others."""


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
    chunks: Sequence[Chunk], turns: Sequence[Turn], *, rule: SpeakerRule = no_rule
) -> tuple[Chunk, ...]:
    """The chunks with their speakers, split where the speaker changes between two words; without turns, nobody.

    All words are judged together, as `handovers.py` says, but for those that `rule` names a speaker for. A chunk
    without words is judged as a whole, by `speaker_of`, and never split.

    Every chunk comes out once and in order, whole or in pieces; the pieces' texts, joined, are its text. A piece
    starts with its first word and ends with its last.
    """
    speeches = speeches_of(turns)
    if not speeches:
        return tuple(chunks)
    owners = iter(_owners(chunks, speeches, rule))
    pieces: list[Chunk] = []
    for chunk in chunks:
        words = tuple(replace(word, speaker=next(owners)) for word in chunk.words)
        if not words:
            pieces.append(replace(chunk, speaker=rule(chunk, speeches) or speaker_of(chunk, speeches)))
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


def _owners(chunks: Sequence[Chunk], speeches: Sequence[Speech], rule: SpeakerRule) -> list[str]:
    """The speaker of each word of all chunks."""
    words = [word for chunk in chunks for word in chunk.words]
    firsts = [not index for chunk in chunks for index in range(len(chunk.words))]
    named = [rule(word, speeches) for word in words]
    columns = {speech.speaker: column for column, speech in enumerate(speeches)}
    costs = word_costs(words, speeches)
    for row, name in enumerate(named):
        if name is not None:
            costs[row] = [0.0 if column == columns.get(name) else NAMED for column in columns.values()]
    path = handed_over(costs, handover_costs(words, firsts))
    return [name or speeches[column].speaker for name, column in zip(named, path, strict=True)]


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
