"""Whisper's tokens to segments and words: pure functions over token ids; know no model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from turnscribe.whisper.constants import SECONDS_PER_FRAME

SHORTEST_REST = 1.0  # seconds; less than this after the model's last timestamp is not decoded again
LEAST_ADVANCE = 0.2  # seconds from one decoding of a window to the next, whatever the model says: a loop ends


@dataclass(frozen=True)
class Segment:
    """A run of text tokens between two timestamps of one window; seconds of that window."""

    positions: tuple[int, ...]  # of the text tokens, in the window's tokens
    start: float
    end: float


def read_segments(
    tokens: Sequence[int], *, end_token: int, first_timestamp: int, duration: float, reached_limit: bool = False
) -> tuple[list[Segment], float | None]:
    """Split one window's tokens at its timestamps; no text token is left out that will not be decoded again.

    Also returns where decoding has to go on, in seconds of the window: Whisper closes a window with a pair of
    timestamps when more speech follows that it did not write down, the first of which ends what it did; and where
    the limit of tokens was reached, what follows the last timestamp is decoded again. `None` where the window is
    finished, or at its limit without a timestamp to go on from.
    """
    segments: list[Segment] = []
    text: list[int] = []
    start = 0.0
    for position, token in enumerate(tokens):
        if token >= first_timestamp:
            time = min((token - first_timestamp) * SECONDS_PER_FRAME, duration)
            if text:
                segments.append(Segment(tuple(text), start, max(time, start)))
                text = []
            start = max(time, start)
        elif token < end_token:
            text.append(position)
    going_on = reached_limit and start > 0 and duration - start >= SHORTEST_REST
    if going_on:
        return segments, max(start, LEAST_ADVANCE)
    if text:  # no final timestamp: the text runs to the end of the window
        segments.append(Segment(tuple(text), start, max(duration, start)))
    said = [token for token in tokens if token != end_token]
    pair = len(said) >= 2 and all(token >= first_timestamp for token in said[-2:])
    reached = segments[-1].end if segments else 0.0
    unfinished = pair and reached > 0 and duration - reached >= SHORTEST_REST  # from 0 it would start all over
    return segments, max(reached, LEAST_ADVANCE) if unfinished else None


def split_words(pieces: Sequence[str], *, spaces: bool) -> list[tuple[int, int]]:
    """Group token texts into words: `(first, last + 1)` token of each.

    A word starts at a token that begins with a space; in writing without spaces, at every token that is not
    punctuation. A token that is only part of a character stays with the token that completes it.
    """
    words: list[tuple[int, int]] = []
    first = 0  # of the tokens that make up the next character
    for index, piece in enumerate(pieces):
        if not piece and index + 1 < len(pieces):
            continue
        begins = piece.startswith(" ") if spaces else re.search(r"\w", piece)
        if not words or begins:
            words.append((first, index + 1))
        else:
            words[-1] = (words[-1][0], index + 1)
        first = index + 1
    return words


def token_texts(ids: list[int], decode: Callable[[list[int]], str]) -> list[str]:
    """Each token's share of the decoded text: a token that ends inside a character has the empty text, and the
    one that completes it the whole character; joined, they are the text of all."""
    texts, done = [], 0
    whole = decode(ids)
    for count in range(1, len(ids) + 1):
        so_far = decode(ids[:count]) if count < len(ids) else whole
        complete = so_far.rstrip("\ufffd") if count < len(ids) else so_far
        texts.append(complete[done:] if len(complete) > done else "")
        done = max(done, len(complete))
    return texts
