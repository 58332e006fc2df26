"""A draft that is right as often as it is told to be, for speculation's curve on random weights. Synthetic.

The draft model runs as it would, so drafting costs what it costs; only the token it proposes is replaced: by the one
the decoder will choose, known from an earlier run, or by another. Imports torch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from turnscribe.engine.batch import Batch


class ScriptedBatch(Batch):
    """A `Batch` whose proposals hold with the probability `acceptance`, independently of each other."""

    def __init__(self, *args: Any, scripts: Sequence[Sequence[int]], acceptance: float, **kwargs: Any) -> None:
        """`scripts` are the tokens after the initial ones of each window, in the order in which rows start."""
        super().__init__(*args, **kwargs)
        self._scripts = iter(scripts)
        self.script = torch.zeros_like(self.tokens)
        generator = torch.Generator().manual_seed(0)
        coins = torch.rand(self.tokens.shape, generator=generator) < acceptance
        self.coins = coins.to(self.tokens.device)

    @property
    def state(self) -> tuple[Tensor, ...]:
        return (*super().state, self.script, self.coins)

    def start(self, rows: slice, initial: Sequence[int], **kwargs: Any) -> None:
        for row in range(rows.start, rows.stop):
            said = [*initial, *next(self._scripts)]
            self.script[row, : len(said)] = self.script.new_tensor(said)
        super().start(rows, initial, **kwargs)

    def _propose(self, tokens: Tensor, rows: slice, index: int) -> Tensor:
        place = (self.length[rows] + index)[:, None]
        right = self.script[rows].gather(1, place)
        wrong = (right + 1) % self.rules.no_timestamps
        return torch.where(self.coins[rows].gather(1, place), right, wrong)
