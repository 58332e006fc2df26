"""A draft that is text: what a window is thought to say, because its audio was heard before, if less of it.

Prompt lookup decoding (Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding) looks a row's last tokens up in
its prompt, and proposes what comes after them there. Here they are looked up in a guess at the text itself: from
where the row was in it last, a few tokens on, so that a word that is said otherwise now, or a timestamp, does not end
the use of the guess. What is proposed is judged as any draft is, so the text is the same whatever the guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from turnscribe.engine.draft import LONGEST_DRAFT, RowEnds
from turnscribe.engine.rules import Rules

SEARCHED = 8  # tokens of the guess, among which a row's last one is looked for
OVERTIME = 8  # tokens by which a text may be longer than the guess at it, timestamps too, before it is given up


class LookupDraft:
    """Proposes the guesses that rows begin with; the end token where there is none, or no more of it."""

    def __init__(self, rules: Rules, *, rows: int, room: int) -> None:
        """`room` is that of the longest guess, in tokens."""
        device = rules.bias.device
        self._first_time, self._end, self._room = rules.first_time, rules.end, room
        # room for what is proposed and looked for behind the end of the longest
        self._guesses = torch.full((rows, room + LONGEST_DRAFT + SEARCHED), rules.end, device=device)
        self._next = torch.zeros(rows, dtype=torch.long, device=device)  # the token of the guess that comes next
        self._seen = torch.zeros(rows, dtype=torch.long, device=device)  # the position of the last token looked at
        self._until = [0] * rows  # the length up to which a row's guess is of use
        self._ahead = torch.arange(max(LONGEST_DRAFT, SEARCHED), device=device)

    def load_audio(self, encoded: Tensor, rows: slice) -> None:
        """Nothing is heard."""

    def start(self, rows: slice, tokens: Tensor, positions: Tensor, guess: Sequence[int] = ()) -> None:
        guess = guess[: self._room]
        self._guesses[rows] = self._end
        if guess:
            self._guesses[rows, : len(guess)] = torch.tensor(guess, device=self._guesses.device)
        self._next[rows] = 0
        self._seen[rows] = positions[:, -1]
        self._until[rows] = [tokens.shape[1] + len(guess) + OVERTIME if guess else 0] * tokens.shape[0]

    def has_more(self, lengths: Sequence[int]) -> bool:
        return any(length < until for length, until in zip(lengths, self._until, strict=False))

    def propose(self, rows: slice, ends: RowEnds, count: int, *, reach: int) -> Tensor:
        latest, place = ends.tokens[:, 1:], ends.positions[:, 1]  # [B, 1], [B]
        agreed = (place - self._seen[rows] - 1).clamp(min=0)  # of the last proposal; the last token was not of it
        following = (self._next[rows] + agreed).clamp(max=self._room)
        searched = self._guesses[rows].gather(1, following[:, None] + self._ahead[:SEARCHED])  # [B, S]
        found = searched == latest
        further = torch.where(found.any(1), found.long().argmax(1) + 1, 0)
        following = (following + further.masked_fill(latest[:, 0] >= self._first_time, 0)).clamp(max=self._room)
        self._next[rows], self._seen[rows] = following, place
        proposals = self._guesses[rows].gather(1, following[:, None] + self._ahead[:count])
        return torch.cat([ends.tokens, proposals], dim=1)

    def swap(self, first: int, second: int) -> None:
        for tensor in (self._guesses, self._next, self._seen):
            tensor[[first, second]] = tensor[[second, first]]
        until = self._until
        until[first], until[second] = until[second], until[first]
