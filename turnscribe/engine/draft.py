"""What proposes tokens in a round of speculative decoding: the `Draft` that a `Batch` is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from turnscribe.engine.model import Decoder
from turnscribe.engine.rules import Rules

LONGEST_DRAFT = 8  # tokens a round


@dataclass(frozen=True)
class RowEnds:
    """The last two tokens of each row, and what the rules remember of those before."""

    tokens: Tensor  # [B, 2]
    positions: Tensor  # [B, 2]
    latest_time: Tensor  # [B]; the latest timestamp token so far, or 0
    generated: Tensor  # [B]; how many tokens follow the initial ones


class Draft(Protocol):
    """Proposes tokens for the rows of one batch, and is told all that happens to them.

    `propose` may be recorded in a CUDA graph: it must not ask the device for a value.
    """

    def load_audio(self, encoded: Tensor, rows: slice) -> None:
        """Take the encoder's output `[B, T, D]` for `rows`, once a window."""

    def start(self, rows: slice, tokens: Tensor, positions: Tensor, guess: Sequence[int] = ()) -> None:
        """Begin `rows` anew with the initial `tokens` `[B, I]`; `guess` is what may come after them."""

    def has_more(self, lengths: Sequence[int]) -> bool:
        """Whether there is something to propose for the first rows, which are so long."""

    def propose(self, rows: slice, ends: RowEnds, count: int, *, reach: int) -> Tensor:
        """The tokens of `ends` and `count` proposals after them: `[B, 2 + count]`. No row will be longer than
        `reach`."""

    def swap(self, first: int, second: int) -> None:
        """Exchange two rows."""


class DraftDecoder:
    """A decoder, smaller than the batch's own, that follows the same rules."""

    def __init__(self, decoder: Decoder, rules: Rules, *, rows: int, frames: int, fixed: bool) -> None:
        """`fixed` as in `Cache`: CUDA graphs need it."""
        self.decoder, self.rules = decoder, rules
        self.cache = decoder.cache(rows, frames=frames, slack=LONGEST_DRAFT + 1, fixed=fixed)

    def load_audio(self, encoded: Tensor, rows: slice) -> None:
        self.decoder.load_audio(encoded, self.cache, rows)

    def start(self, rows: slice, tokens: Tensor, positions: Tensor, guess: Sequence[int] = ()) -> None:
        self.decoder(tokens, positions, self.cache, rows, reach=tokens.shape[1])

    def has_more(self, lengths: Sequence[int]) -> bool:
        return True

    def propose(self, rows: slice, ends: RowEnds, count: int, *, reach: int) -> Tensor:
        """Begins with a pass over both last tokens: where all earlier proposals held, it has not seen the first."""
        rules, vocabulary = self.rules, self.decoder.weights.vocabulary
        latest_time, tokens = ends.latest_time, ends.tokens
        unseen, positions = ends.tokens, ends.positions
        for index in range(count):
            hidden = self.decoder(unseen, positions, self.cache, rows, reach=reach)[:, -1:]
            scores = vocabulary.with_bias(hidden, rules.bias.to(hidden.dtype)).float()
            history = rules.history(tokens[:, -2:], latest_time, ends.generated + index)
            unseen = rules.choose(scores, history, scored=False).tokens
            latest_time = torch.where(unseen[:, 0] >= rules.first_time, unseen[:, 0], latest_time)
            tokens = torch.cat([tokens, unseen], dim=1)
            positions = ends.positions[:, 1:] + index + 1
        return tokens

    def swap(self, first: int, second: int) -> None:
        self.cache.swap(first, second)
