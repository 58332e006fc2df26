"""What a session tells whoever listens. Times are seconds of the session's audio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from turnscribe.transcript import Token, Word


@dataclass(frozen=True)
class SpeechStarted:
    item: str
    at: float


@dataclass(frozen=True)
class SpeechStopped:
    item: str
    at: float


@dataclass(frozen=True)
class Committed:
    """The utterance is over; its last text follows."""

    item: str
    previous: str | None


@dataclass(frozen=True)
class Cleared:
    """What was not committed is forgotten."""


@dataclass(frozen=True)
class NothingToCommit:
    """There is no audio since the last utterance."""

    cause: str | None  # the client's event


@dataclass(frozen=True)
class Delta:
    """Further text of an utterance, which stays; `end` is that of its last word. Its tokens, where asked for."""

    item: str
    text: str
    end: float
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Segment:
    """A piece of an utterance's final text. One that was told before is told again where its speaker is another."""

    id: str
    item: str
    text: str
    start: float
    end: float
    speaker: str | None
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Completed:
    """An utterance's whole text, whatever its deltas said."""

    item: str
    text: str
    seconds: float
    language: str | None
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Failed:
    """An utterance without a text: what was wrong, in a sentence."""

    item: str
    reason: str


@dataclass(frozen=True)
class Behind:
    """So many seconds of audio have come and are not heard yet: text comes later and in larger pieces."""

    seconds: float


LiveEvent: TypeAlias = (
    SpeechStarted
    | SpeechStopped
    | Committed
    | Cleared
    | NothingToCommit
    | Delta
    | Segment
    | Completed
    | Failed
    | Behind
)
