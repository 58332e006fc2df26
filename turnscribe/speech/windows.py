"""Packs stretches of speech into windows that a Whisper model can take: few of them, cut in long pauses.

A window holds neighbouring stretches with a margin around them and what lies between; of a long pause only the
margins are left. Where it ends follows from everything before and after: of all ways to pack a recording the one is
taken that costs least, a window being 1 and a cut the more the shorter its pause. So the part of a recording between
two cuts, packed by itself, gets the same windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from turnscribe.speech.speech_map import SpeechMap
from turnscribe.waveform import SAMPLE_RATE, Waveform
from turnscribe.whisper.windows import Window, cut_windows

CUT_COST = 0.5  # of a cut without a pause, in windows
HALVED_BY = 0.1  # seconds of pause


class _Span(NamedTuple):
    """A stretch of speech, in samples, and the silence before it."""

    start: int
    stop: int
    gap: int


def speech_windows(
    waveform: Waveform, speech: SpeechMap, *, max_seconds: float, margin: float, longest_pause: float
) -> list[Window]:
    """Windows of at most `max_seconds` with all of `speech`, in order and apart.

    `margin` seconds around each stretch are kept, as far as the pause and the window reach; a pause between two
    stretches is left out, but for their margins, from `longest_pause` seconds on.
    """
    spans = _spans(waveform, speech, max_seconds)
    pad = round(margin * SAMPLE_RATE)
    longest = int(max_seconds * SAMPLE_RATE)
    padded = _padded(spans, pad, len(waveform), longest)
    kept = longest_pause * SAMPLE_RATE
    costs, firsts = [0.0], [0]  # of packing the first `n` spans; the last window's first span
    for last in range(len(padded)):
        best, best_first, heard = math.inf, last, 0
        for first in range(last, -1, -1):
            start, end = padded[first]
            heard += end - start
            if first < last and spans[first + 1].gap < kept:
                heard += padded[first + 1][0] - end
            if heard > longest and first < last:
                break
            cost = costs[first] + 1 + (_cut_cost(spans[first].gap) if first else 0.0)
            if cost < best:
                best, best_first = cost, first
        costs.append(best)
        firsts.append(best_first)
    windows = []
    count = len(spans)
    while count:
        first = firsts[count]
        gaps = [
            (padded[index - 1][1], padded[index][0]) for index in range(first + 1, count) if spans[index].gap >= kept
        ]
        gaps = [gap for gap in gaps if gap[1] > gap[0]]
        windows.append(Window(padded[first][0], padded[count - 1][1], tuple(gaps)))
        count = first
    return windows[::-1]


def _spans(waveform: Waveform, speech: SpeechMap, max_seconds: float) -> list[_Span]:
    """The stretches; long ones cut where they are quietest, so that there are enough places to choose from."""
    spans: list[_Span] = []
    before = 0
    for stretch in speech.stretches:
        start, stop = round(stretch.start * SAMPLE_RATE), min(round(stretch.end * SAMPLE_RATE), len(waveform))
        if stop <= start:
            continue
        for piece in cut_windows(waveform[start:stop], max_seconds / 2):
            spans.append(_Span(start + piece.start, start + piece.stop, start + piece.start - before))
            before = start + piece.stop
    return spans


def _padded(spans: Sequence[_Span], pad: int, length: int, longest: int) -> list[tuple[int, int]]:
    """`(start, stop)` of each with its margins, which meet in the middle of a short pause and fit into a window."""
    padded = []
    for index, span in enumerate(spans):
        room_before = span.gap // 2 if index else span.gap
        following = spans[index + 1].gap if index + 1 < len(spans) else 2 * (length - span.stop)
        room = min(pad, max(longest - (span.stop - span.start), 0) // 2)
        padded.append((span.start - min(room, room_before), span.stop + min(room, following - following // 2)))
    return padded


def _cut_cost(gap: int) -> float:
    return CUT_COST / (1 + gap / (HALVED_BY * SAMPLE_RATE))
