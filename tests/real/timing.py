"""When words are said, against what is known of it: where speech begins and ends, turns, the times of words.

Errors are seconds, and a word that is early has one below zero. A text that is told twice is counted here, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from tests.real.recording import Recording, Spoken
from tests.real.scoring import Heard, normalise
from turnscribe.cli.evaluation.measures import align
from turnscribe.cli.evaluation.references import SpokenWord

APART = ("onset", "pause", "behind")  # kinds whose passages are all that is heard
MARGIN = 0.1  # seconds beside speech in which a word counts as in it
RUN = 5  # inserted words in a row: no mistake of hearing makes so many


@dataclass(frozen=True)
class Timing:
    """Of one recording, or of several: their errors put together."""

    starts: tuple[float, ...] = ()  # of a stretch's first word, against where its sound begins
    ends: tuple[float, ...] = ()  # of its last word
    outside: int = 0  # words that lie where nobody speaks
    missed: int = 0  # stretches without a word
    boundaries: tuple[float, ...] = ()  # both sides of the words or turns that were recognised; absolute

    def __add__(self, other: Timing) -> Timing:
        return Timing(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def timing(recording: Recording, spoken: Spoken, heard: Heard) -> Timing:
    """What is known of `recording`, measured; nothing where a program gives no times of words."""
    if heard.words is None:
        return Timing()
    if recording.kind in APART:
        return _apart(spoken, heard.words)
    if spoken.words or spoken.passages:
        return Timing(boundaries=_boundaries(spoken, heard.words, recording.language))
    return Timing()


def told_twice(recording: Recording, spoken: Spoken, heard: Heard) -> int:
    """Words inserted in runs of `RUN` and more.

    Where a recording has no text nothing is known.
    """
    if not spoken.text:
        return 0
    import jiwer

    said, told = (" ".join(normalise(text, recording.language)) for text in (spoken.text, heard.text))
    chunks = jiwer.process_words(said, told).alignments[0] if said else []
    runs = [chunk.hyp_end_idx - chunk.hyp_start_idx for chunk in chunks if chunk.type == "insert"]
    return sum(run for run in runs if run >= RUN)


def _apart(spoken: Spoken, words: Sequence[SpokenWord]) -> Timing:
    """A word belongs to the passage on its side of the middle of a pause, by its start."""
    known = [(passage.start, passage.end) for passage in spoken.passages]
    middles = [(end + start) / 2 for (_, end), (start, _) in pairwise(known)]
    spans = [word.span for word in words if word.span]
    own: list[list[tuple[float, float]]] = [[] for _ in known]
    for span in spans:
        own[sum(span[0] >= middle for middle in middles)].append(span)
    found = [
        (min(a for a, _ in of), max(b for _, b in of), edges) for of, edges in zip(own, known, strict=True) if of
    ]
    return Timing(
        starts=tuple(first - edges[0] for first, _, edges in found),
        ends=tuple(last - edges[1] for _, last, edges in found),
        outside=sum(_lies_outside(span, known) for span in spans),
        missed=len(known) - len(found),
    )


def _lies_outside(span: tuple[float, float], known: Sequence[tuple[float, float]]) -> bool:
    """More than half of it; all of it where it has no length."""
    start, end = span
    inside = sum(max(0.0, min(end, b + MARGIN) - max(start, a - MARGIN)) for a, b in known)
    if end > start:
        return inside < (end - start) / 2
    return not any(a - MARGIN <= start <= b + MARGIN for a, b in known)


@dataclass(frozen=True)
class _Token:
    """A normalised word, with its start and its end as far as they are known."""

    text: str
    start: float | None = None
    end: float | None = None


def _boundaries(spoken: Spoken, words: Sequence[SpokenWord], language: str | None) -> tuple[float, ...]:
    """Of the words that were recognised: both sides of each whose times are known, else a turn's first and last."""
    if spoken.words:
        said = [token for word in spoken.words for token in _tokens(word.text, word.span, language)]
    else:
        said = [token for one in spoken.passages for token in _tokens(one.text, (one.start, one.end), language)]
    told = [token for word in words for token in _tokens(word.text, word.span, language)]
    if not said or not told:
        return ()
    equal = align([token.text for token in said], [token.text for token in told]).equal
    return tuple(error for i, j in equal for error in _errors(said[i], told[j]))


def _tokens(text: str, span: tuple[float, float] | None, language: str | None) -> list[_Token]:
    texts, (start, end) = normalise(text, language), span or (None, None)
    last = len(texts) - 1
    return [_Token(one, start if i == 0 else None, end if i == last else None) for i, one in enumerate(texts)]


def _errors(said: _Token, told: _Token) -> Iterator[float]:
    if said.start is not None and told.start is not None:
        yield abs(told.start - said.start)
    if said.end is not None and told.end is not None:
        yield abs(told.end - said.end)


def quantiles(errors: Sequence[float]) -> dict[str, Any]:
    """The median, the 90th percentile and the worst, of absolute seconds."""
    import numpy as np

    sizes = np.abs(errors)
    return {
        "median": float(np.median(sizes)),
        "ninety": float(np.percentile(sizes, 90)),
        "worst": float(sizes.max()),
    }
