"""The nouns: words, chunks, turns and the transcript they make up. Depends on nothing.

Times are seconds from the start of the recording. An end is never unknown in here: whoever reads a
model's output resolves it first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Token:
    """A model's piece of text, "" where it ends inside a character, and how likely the model took it to be."""

    text: str
    logprob: float


@dataclass(frozen=True)
class Word:
    """One word as it was recognised; `text` keeps the space before it, as Whisper writes it.

    `tokens` are there where they were asked for; joined, their texts are the word's.
    """

    text: str
    start: float
    end: float
    probability: float | None = None
    speaker: str | None = None
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """A stretch of text with its time, and its words where word times were computed.

    The texts of a transcript's chunks, joined, are the whole text. The scores are those Whisper judges its
    own output by; `None` where the backend does not report them.
    """

    text: str
    start: float
    end: float
    words: tuple[Word, ...] = ()
    speaker: str | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None
    temperature: float | None = None
    language: str | None = None  # of what is spoken


@dataclass(frozen=True)
class Turn:
    """Someone speaks from `start` to `end`."""

    speaker: str
    start: float
    end: float


@dataclass(frozen=True)
class SpeakerText:
    """Consecutive chunks of one speaker: one entry of the answer's `speakers`."""

    speaker: str
    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Speculation:
    """Tokens the assistant proposed, and how many of them the main model accepted."""

    proposed: int
    accepted: int

    def __add__(self, other: Speculation) -> Speculation:
        return Speculation(self.proposed + other.proposed, self.accepted + other.accepted)


@dataclass(frozen=True)
class Transcript:
    """What was said, by whom, when; and how it was made.

    `turns` is what the diarizer heard, whether or not text fell into it; `speakers` groups the text. `language` is
    the text's: English for a translation, `None` where nothing was said or the backend does not know.
    `timings` are seconds by stage: decode, asr, diarization, total.
    """

    text: str
    chunks: tuple[Chunk, ...]
    duration: float
    language: str | None = None
    speakers: tuple[SpeakerText, ...] = ()
    turns: tuple[Turn, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    speculation: Speculation | None = None
    task: str = "transcribe"

    @property
    def words(self) -> tuple[Word, ...]:
        """Every word in order; empty when word times were not computed."""
        return tuple(word for chunk in self.chunks for word in chunk.words)


def tokens_of(words: Iterable[Word]) -> list[Token]:
    """In order; none where they were not asked for."""
    return [token for word in words for token in word.tokens]
