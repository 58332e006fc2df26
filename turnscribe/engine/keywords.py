"""Keywords weigh more: names and terms that a recording may have, as a bonus on the scores of their tokens.

Shallow fusion with an automaton of the keywords' tokens (Aho and Corasick 1975), whose state says which keyword is
under way. The first token of a keyword is `FIRST` nats likelier than the model has it, each that goes on with one
`FURTHER`. A token that leaves a keyword in its middle gives back what it was lent, which counts where beams are
compared. Log-probabilities that are reported are the model's own, without any of this.

Nothing is lent to a first token, though it could be: on real recordings that found fewer names than the prompt does,
and put keywords where others were said. See docs/parameters.md, "Keywords".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FIRST = 0.0
FURTHER = 2.0
ROOT = 0  # the state in which no keyword is under way


@dataclass(frozen=True, eq=False)
class Automaton:
    """The states of some keywords.

    Column 0 of its tables is for every token that is in no keyword, column `1 + i` for the token `tokens[i]`.
    """

    tokens: NDArray[np.int64]  # [K - 1]
    following: NDArray[np.int64]  # [S, K]; the state after each token
    gains: NDArray[np.float32]  # [S, K]; what it brings, in nats

    def walk(self, tokens: Sequence[int]) -> int:
        """The state after some tokens."""
        columns = {int(token): column for column, token in enumerate(self.tokens, start=1)}
        state = ROOT
        for token in tokens:
            state = int(self.following[state, columns.get(token, 0)])
        return state


def automaton(keywords: Sequence[Sequence[int]], *, first: float = FIRST, further: float = FURTHER) -> Automaton:
    """The automaton of keywords, each a sequence of tokens.

    >>> made = automaton([(5, 6), (5, 7)], first=1, further=4)
    >>> made.tokens.tolist(), made.walk([5]), made.gains[made.walk([5])].tolist()
    ([5, 6, 7], 1, [-1.0, 0.0, 4.0, 4.0])
    """
    tokens = sorted({token for keyword in keywords for token in keyword})
    columns = {token: column for column, token in enumerate(tokens, start=1)}
    children: list[dict[int, int]] = [{}]
    lent, ends = [0.0], [False]  # by state: nats on the way to it, and whether it ends a keyword
    for keyword in keywords:
        state = ROOT
        for column in (columns[token] for token in keyword):
            if column not in children[state]:
                children[state][column] = len(children)
                children.append({})
                lent.append(lent[state] + (first if state == ROOT else further))
                ends.append(False)
            state = children[state][column]
        ends[state] = True
    given = np.array(lent, np.float32)
    following = np.zeros((len(children), len(columns) + 1), np.int64)
    gains = np.zeros(following.shape, np.float32)
    kept = np.zeros(len(children), np.float32)  # of what was lent: it was for a keyword that is complete
    queue = deque([(ROOT, ROOT)])  # states in order of their depth, and those whose keywords could be under way too
    while queue:
        state, shorter = queue.popleft()
        further_from = following[shorter].copy()
        following[state] = further_from
        gains[state] = given[further_from] - (given[state] - kept[state])
        for column, child in children[state].items():
            following[state, column], gains[state, column] = child, given[child] - given[state]
            kept[child] = given[child] if ends[child] else kept[state]
            queue.append((child, int(further_from[column]) if state != ROOT else ROOT))
    return Automaton(np.array(tokens, np.int64), following, gains)


class KeywordBias:
    """An automaton on a device. Its tensors have room to spare, so that another one's fit into the same."""

    def __init__(self, automaton: Automaton, *, vocabulary: int, device: torch.device) -> None:
        states, columns = map(_with_room, automaton.following.shape)
        self.following = torch.zeros(states, columns, dtype=torch.long, device=device)
        self.gains = torch.zeros(states, columns, device=device)
        self.tokens = torch.zeros(columns, dtype=torch.long, device=device)
        self.columns = torch.zeros(vocabulary, dtype=torch.long, device=device)
        self.load(automaton)

    def fits(self, automaton: Automaton) -> bool:
        """Whether `load` has room for it."""
        return all(size <= room for size, room in zip(automaton.following.shape, self.following.shape, strict=True))

    def load(self, automaton: Automaton) -> None:
        """From now on these keywords."""
        states, columns = automaton.following.shape
        device = self.tokens.device
        self.automaton = automaton
        self.following[:states, :columns] = torch.from_numpy(automaton.following).to(device)
        gains = torch.from_numpy(automaton.gains).to(device)
        self.gains[:states] = gains[:, :1]  # a column without a token brings what any other token brings
        self.gains[:states, :columns] = gains
        tokens = torch.from_numpy(automaton.tokens).to(device)
        self.tokens.zero_()[1:columns] = tokens
        self.columns.zero_()[tokens] = torch.arange(1, columns, device=device)

    def after(self, states: Tensor, tokens: Tensor) -> Tensor:
        """The states after one more token each, of any shape."""
        return self.following[states, self.columns[tokens]]

    def along(self, states: Tensor, tokens: Tensor) -> Tensor:
        """The states `[B, Q + 1]` from `states` `[B]` on, along `tokens` `[B, Q]`."""
        found = [states]
        for index in range(tokens.shape[1]):
            found.append(self.after(found[-1], tokens[:, index]))
        return torch.stack(found, dim=1)

    def bonus(self, states: Tensor) -> Tensor:
        """What each token brings `[..., V]` after `states` `[...]`, in nats."""
        gains = self.gains[states]  # [..., K]
        others = gains[..., :1]
        scores = gains.new_zeros(*states.shape, self.columns.shape[0])
        return scores.index_add_(-1, self.tokens, gains - others) + others


def _with_room(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length()
