"""Puts words where somebody speaks: dynamic time warping gives a word the pause beside it, and the map takes it away.

Whisper's alignment knows no pauses: a word ends where the next begins. So a word beside a pause lasts through it or
begins in it, and a word that the alignment puts into a pause was said before or after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from turnscribe.speech.speech_map import SpeechMap, Stretch
from turnscribe.transcript import Word
from turnscribe.waveform import SAMPLE_RATE
from turnscribe.whisper.windows import Window

SHORTEST_PAUSE = 0.3  # seconds; less between two stretches may be a stop inside a word
NEAR = 0.5  # seconds from the edge of a stretch to its first or last word, that belong to the word
SHORTEST_WORD = 0.04  # seconds, where there is room


def stretches_in(window: Window, speech: SpeechMap | None) -> list[Stretch]:
    """Where somebody speaks in a window, short pauses bridged; all of its pieces where nothing is known of speech."""
    pieces = [Stretch(start / SAMPLE_RATE, stop / SAMPLE_RATE) for start, stop in window.pieces]
    if speech is None:
        return pieces
    bridged = speech.bridged(SHORTEST_PAUSE).stretches
    return [
        Stretch(max(stretch.start, piece.start), min(stretch.end, piece.end))
        for piece in pieces
        for stretch in bridged
        if stretch.start < piece.end and stretch.end > piece.start
    ]


def place(words: Sequence[Word], stretches: Sequence[Stretch], *, exact: bool = True) -> tuple[Word, ...]:
    """The words, in order, apart, and each inside one of the `stretches`, which are in order, apart and not none.

    A word belongs to the stretch that it overlaps most, or the nearest. Where `exact`, the stretches are where speech
    begins and ends: so are their first and last words.
    """
    placed: list[Word] = []
    homes = [_home(word, stretches) for word in words]
    latest = 0
    for index, home in enumerate(homes):  # words may have come out of order
        latest = homes[index] = max(home, latest)
    for home, members in groupby(zip(homes, words, strict=True), key=lambda pair: pair[0]):
        placed += _inside([word for _, word in members], stretches[home], exact=exact)
    return tuple(placed)


def _home(word: Word, stretches: Sequence[Stretch]) -> int:
    def distance(index: int) -> tuple[float, float]:
        stretch = stretches[index]
        overlap = min(word.end, stretch.end) - max(word.start, stretch.start)
        return (-overlap, 0.0) if overlap > 0 else (0.0, -overlap)

    return min(range(len(stretches)), key=distance)


def _inside(words: Sequence[Word], stretch: Stretch, *, exact: bool) -> list[Word]:
    starts = [min(max(word.start, stretch.start), stretch.end) for word in words]
    ends = [min(max(word.end, stretch.start), stretch.end) for word in words]
    if exact and starts[0] - stretch.start <= NEAR:
        starts[0] = stretch.start
    if exact and stretch.end - ends[-1] <= NEAR:
        ends[-1] = stretch.end
    shortest = min(SHORTEST_WORD, (stretch.end - stretch.start) / len(words))
    reached = stretch.start
    for index in range(len(words)):  # none begins before the one before it ends
        starts[index] = max(starts[index], reached)
        reached = ends[index] = max(ends[index], starts[index] + shortest)
    limit = stretch.end
    for index in reversed(range(len(words))):  # and none is pushed out
        ends[index] = min(ends[index], limit)
        limit = starts[index] = max(min(starts[index], ends[index] - shortest), stretch.start)
    return [
        replace(word, start=start, end=max(end, start)) for word, start, end in zip(words, starts, ends, strict=True)
    ]
