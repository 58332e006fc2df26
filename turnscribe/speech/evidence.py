"""Which words were not said, by their alignment: what nobody had time to say was made up.

Where a Whisper repeats itself, or goes on after the recording has ended, all the words that it makes up are aligned
to one instant. Single words without a length are said, too fast to be seen; many in a row are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from turnscribe.transcript import Word
from turnscribe.whisper.constants import SECONDS_PER_FRAME

LEAST_IN_A_ROW = 3  # words without a length
TIMED_SHARE = 0.8  # of the words of a text that was said have a length


def _has_length(word: Word) -> bool:
    return word.end - word.start > SECONDS_PER_FRAME / 2


def without_time(words: Sequence[Word]) -> list[tuple[int, int]]:
    """`(first, last + 1)` of each run of words that nobody had time to say. Times are as they were aligned."""
    runs, index = [], 0
    for timed, members in groupby(words, key=_has_length):
        count = len(list(members))
        if not timed and count >= LEAST_IN_A_ROW:
            runs.append((index, index + count))
        index += count
    return runs


def takes_time(words: Sequence[Word]) -> bool:
    """Whether the words were said, however often they repeat each other: they take their time."""
    timed = sum(map(_has_length, words))
    return bool(words) and timed >= TIMED_SHARE * len(words) and not without_time(words)
