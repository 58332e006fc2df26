"""Which words of an unfinished text will stay: what is committed is shown, and never taken back.

LocalAgreement-n (Liu et al. 2020, arXiv 2005.11185; Whisper-Streaming, arXiv 2307.14743) commits what several passes
in a row have said. The AlignAtt rule (Papi et al. 2023, arXiv 2305.11408) commits what the model, by its alignment
heads, heard some time before the audio's end. Both leave the last word, which may be half of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from turnscribe.transcript import Word

Rule: TypeAlias = Literal["alignatt", "local_agreement"]

MARGIN = 0.5  # seconds before the end of the audio in which a word may still change
EDGES = " \t\n.,;:!?¿¡…\"'()[]-–—"


class CommitRule(Protocol):
    """Of one utterance."""

    def stable(self, words: Sequence[Word], end: float) -> int:
        """How many of the words, those after what is committed, are committed now; times are seconds, as `end` is,
        up to which the pass has heard."""


class AlignAtt:
    """Words that ended `margin` seconds before the audio did."""

    def __init__(self, margin: float = MARGIN) -> None:
        self._margin = margin

    def stable(self, words: Sequence[Word], end: float) -> int:
        count = 0
        while count < len(words) - 1 and words[count].end <= end - self._margin:
            count += 1
        return count


class LocalAgreement:
    """Words that this pass and the one before it have said, but for case and punctuation."""

    def __init__(self) -> None:
        self._before: list[str] = []  # what the last pass said after what is committed

    def stable(self, words: Sequence[Word], end: float) -> int:
        said = [plain(word.text) for word in words]
        agreed = 0
        for one, other in zip(said, self._before, strict=False):
            if one != other:
                break
            agreed += 1
        count = min(agreed, max(len(words) - 1, 0))
        self._before = said[count:]
        return count


RULES: dict[Rule, type[AlignAtt] | type[LocalAgreement]] = {"alignatt": AlignAtt, "local_agreement": LocalAgreement}


def plain(text: str) -> str:
    """A word without what two passes may write in two ways.

    >>> plain(" Hello,")
    'hello'
    """
    return text.strip(EDGES).casefold()
