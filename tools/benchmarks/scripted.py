"""A draft that is right as often as it is told to be, for speculation's curve on random weights. Synthetic.

The draft model runs as it would, so drafting costs what it costs; only the tokens it proposes are replaced: by those
the decoder will choose, known from an earlier run, or by others. Imports torch alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from turnscribe.engine.draft import LONGEST_DRAFT, DraftDecoder, RowEnds


class ScriptedDraft:
    """A `draft.Draft` whose proposals hold with the probability `acceptance`, independently of each other."""

    def __init__(
        self, draft: DraftDecoder, *, rows: int, scripts: Sequence[Sequence[int]], acceptance: float
    ) -> None:
        """`scripts` are the tokens after the initial ones of each window, in the order in which rows start."""
        self.draft, self._scripts = draft, iter(scripts)
        device = draft.rules.bias.device
        shape = rows, draft.decoder.positions + LONGEST_DRAFT + 1
        self.script = torch.zeros(shape, dtype=torch.long, device=device)
        self.coins = (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < acceptance).to(device)
        self._order = torch.arange(LONGEST_DRAFT, device=device)

    def load_audio(self, encoded: Tensor, rows: slice) -> None:
        self.draft.load_audio(encoded, rows)

    def start(self, rows: slice, tokens: Tensor, positions: Tensor, guess: Sequence[int] = ()) -> None:
        for row, initial in zip(range(rows.start, rows.stop), tokens.tolist(), strict=True):
            script = [*initial, *next(self._scripts)]
            self.script[row, : len(script)] = self.script.new_tensor(script)
        self.draft.start(rows, tokens, positions)

    def has_more(self, lengths: Sequence[int]) -> bool:
        return True

    def propose(self, rows: slice, ends: RowEnds, count: int, *, reach: int) -> Tensor:
        self.draft.propose(rows, ends, count, reach=reach)
        places = ends.positions[:, 1:] + 1 + self._order[:count]  # [B, count]
        right = self.script[rows].gather(1, places)
        wrong = (right + 1) % self.draft.rules.no_timestamps
        proposals = torch.where(self.coins[rows].gather(1, places), right, wrong)
        return torch.cat([ends.tokens, proposals], dim=1)

    def swap(self, first: int, second: int) -> None:
        self.draft.swap(first, second)
        for tensor in (self.script, self.coins):
            tensor[[first, second]] = tensor[[second, first]]
