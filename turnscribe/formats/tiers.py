"""A transcript in tiers, as annotation tools have it: for each speaker the turns, and the words in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnscribe.formats.lines import clean_line
from turnscribe.formats.passages import Passage, passages
from turnscribe.formats.times import milliseconds
from turnscribe.transcript import Transcript

NOBODY = "text"  # the tier of what no speaker is known for


@dataclass(frozen=True)
class Interval:
    """A label from `start` to `end`, in milliseconds, and at least one of them long."""

    label: str
    start: int
    end: int


@dataclass(frozen=True)
class TieredTurn(Interval):
    """A turn and the words in it: all within its time, in order, none over another."""

    words: tuple[Interval, ...] = ()


@dataclass(frozen=True)
class Tier:
    """One speaker's turns in order, none over another; `name` is the speaker's, or `NOBODY`."""

    name: str
    speaker: str | None
    turns: tuple[TieredTurn, ...]

    @property
    def words(self) -> tuple[Interval, ...]:
        return tuple(word for turn in self.turns for word in turn.words)


def tiers(transcript: Transcript) -> list[Tier]:
    """A tier for each speaker, in the order in which they first speak.

    A tier has no room for two labels at one time, and none for one of no length: where there are such, the later one
    begins when the earlier has ended, and lasts a millisecond.
    """
    spoken: dict[str, list[Passage]] = {}
    for passage in passages(transcript):
        spoken.setdefault(clean_line(passage.speaker or "") or NOBODY, []).append(passage)
    return [Tier(name, said[0].speaker, _in_a_row(said)) for name, said in spoken.items()]


def _in_a_row(said: Sequence[Passage]) -> tuple[TieredTurn, ...]:
    turns = []
    end = 0
    for passage in sorted(said, key=lambda passage: passage.start):
        start = end = max(end, milliseconds(passage.start))
        words = []
        for word in passage.words:
            label = clean_line(word.text)
            if label:
                begin = max(end, milliseconds(word.start))
                end = max(begin + 1, milliseconds(word.end))
                words.append(Interval(label, begin, end))
        end = max(end, start + 1, milliseconds(passage.end))
        turns.append(TieredTurn(passage.text, start, end, tuple(words)))
    return tuple(turns)
