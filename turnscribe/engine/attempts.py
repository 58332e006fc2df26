"""What a row begins with, and what it was decoded to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

LOOP = 64  # tokens: nobody says a phrase of LONGEST_PHRASE tokens eight times over
LONGEST_PHRASE = 8


@dataclass(frozen=True)
class Prompt:
    """What a row begins with, where it has to stop, and its first temperature."""

    initial: tuple[int, ...]
    start_of_transcript: int  # its index
    limit: int  # tokens, the initial ones too
    temperature: float = 0.0
    length_penalty: float = 1.0  # of beam search, see `BeamBatch`
    patience: float = 1.0
    forced: tuple[int, ...] = ()  # tokens of the text itself, known already: decoding goes on after them
    guess: tuple[int, ...] = ()  # what may come after them: a draft may propose it


@dataclass(frozen=True)
class Attempt:
    """One decoding of a window: tokens after the initial ones, the forced ones among them, without the end token."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]  # of the tokens, and of the end token where it was reached
    no_speech: float
    temperature: float
    in_loop: bool = False  # it was ended because a phrase came over and over
    reached_limit: bool = False  # it was ended by its limit of tokens, and would have gone on
    proposed: int = 0  # tokens, by the draft
    accepted: int = 0  # of these
    goes_on: bool = False  # behind the tokens of the attempt before it, see `GoOn`
    attention: Tensor | None = None  # [heads, N + 1, T]: before each of the N tokens, and after the last

    @property
    def avg_logprob(self) -> float:
        """The mean over the tokens and the end, as Whisper takes it."""
        return sum(self.logprobs) / (len(self.tokens) + 1)


@dataclass(frozen=True)
class GoOn:
    """The verdict on an attempt that ended too early: decode on behind `forced`, its tokens and a few more."""

    forced: tuple[int, ...]


def ends_in_loop(tokens: Sequence[int]) -> bool:
    """Whether the last `LOOP` tokens are one phrase of at most `LONGEST_PHRASE` tokens over and over.

    >>> ends_in_loop([7, 8, 9] * 30)
    True
    >>> ends_in_loop([*range(64)])
    False
    """
    tail = list(tokens[-LOOP:])
    return any(tail[period:] == tail[:-period] for period in range(1, LONGEST_PHRASE + 1))
