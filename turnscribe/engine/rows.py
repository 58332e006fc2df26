"""The active rows of a batch: which window is in each, how it is decoded, and the attempts so far.

Active rows come first and free rows after them, so that a pass covers one stretch of rows and none is copied for it.
Only the two rows that change places when one ends are copied. This is where the device is asked for values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Generic, TypeVar

import torch

from turnscribe.engine.attempts import LOOP, Attempt, GoOn, Prompt, ends_in_loop
from turnscribe.engine.batch import Batch

WindowT = TypeVar("WindowT")  # a window, as the source of windows knows it


@dataclass
class Row(Generic[WindowT]):
    """A window that is being decoded."""

    window: WindowT
    prompt: Prompt
    temperature: float
    attempts: list[Attempt] = field(default_factory=list)
    checked: int = 0  # tokens at the last search for a loop
    in_loop: bool = False
    proposed: int = 0
    accepted: int = 0
    goes_on: bool = False

    def begin_again(self, verdict: float | GoOn) -> None:
        """The next attempt: at another temperature, or behind the tokens of the latest."""
        if isinstance(verdict, GoOn):
            self.prompt, self.goes_on = replace(self.prompt, forced=verdict.forced, guess=()), True
        else:
            self.temperature = verdict
        self.checked, self.in_loop, self.proposed, self.accepted = 0, False, 0, 0


class Rows(Generic[WindowT]):
    """The windows in the first rows of `batch`, moved together with its tensors."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._rows: list[Row[WindowT]] = []
        batch.done.fill_(True)  # a kept batch may have been left in the middle
        for count in (batch.proposed, batch.accepted, batch.refused):
            count.zero_()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row[WindowT]:
        return self._rows[index]

    def __iter__(self) -> Iterator[Row[WindowT]]:
        return iter(self._rows)

    def append(self, window: WindowT, prompt: Prompt) -> None:
        """A window whose audio is loaded in the first free row."""
        self._rows.append(Row(window, prompt, prompt.temperature))

    def swap(self, first: int, second: int) -> None:
        """Exchange two rows."""
        if first != second:
            self.batch.swap(first, second)
            self._rows[first], self._rows[second] = self._rows[second], self._rows[first]

    def move_to_end(self, ended: Sequence[bool]) -> int:
        """Move the rows that have ended behind those that have not, and count the latter."""
        first_ended = len(ended)
        for index in range(len(ended) - 1, -1, -1):
            if ended[index]:
                first_ended -= 1
                self.swap(index, first_ended)
        return first_ended

    def remove(self, index: int) -> None:
        """Free one row."""
        self.swap(index, len(self._rows) - 1)
        self._rows.pop()

    def remove_from(self, first: int) -> list[WindowT]:
        """Free the rows from `first` on, and return their windows."""
        windows = [row.window for row in self._rows[first:]]
        del self._rows[first:]
        return windows

    def lengths(self) -> list[int]:
        """The tokens in each row, the initial ones too."""
        lengths: list[int] = self.batch.length[: len(self._rows)].tolist()
        return lengths

    def ended(self) -> list[bool]:
        """Which rows have ended."""
        ended: list[bool] = self.batch.done[: len(self._rows)].tolist()
        return ended

    def end(self, indices: Sequence[int]) -> None:
        """End these rows, wherever they are."""
        if indices:
            self.batch.done[indices] = True

    def end_loops(self, lengths: Sequence[int]) -> None:
        """End the rows in which a phrase comes over and over; `lengths` are those of all rows."""
        for index, (row, length) in enumerate(zip(self._rows, lengths, strict=True)):
            if length - len(row.prompt.initial) < LOOP or length - row.checked < LOOP // 2:
                continue
            row.checked = length
            row.in_loop = ends_in_loop(self.batch.tokens[index, length - LOOP : length].tolist())
            if row.in_loop:
                self.batch.done[index] = True

    def count_drafts(self) -> tuple[int, int, int]:
        """How many tokens were proposed and accepted, and how many rounds refused one, since the last count."""
        batch = self.batch
        counts = [batch.proposed, batch.accepted, batch.refused]
        proposed, accepted, refused = torch.stack(counts)[:, : len(self._rows)].tolist()
        for count in counts:
            count.zero_()
        for row, row_proposed, row_accepted in zip(self._rows, proposed, accepted, strict=True):
            row.proposed += row_proposed
            row.accepted += row_accepted
        return sum(proposed), sum(accepted), sum(refused)

    def attempt(self, index: int) -> Attempt:
        """What a row that has ended was decoded to, without the attention."""
        batch, row = self.batch, self._rows[index]
        begin, length = len(row.prompt.initial), int(batch.length[index])
        tokens = batch.tokens[index, begin:length].tolist()
        logprobs = tuple(batch.logprobs[index, begin:length].tolist())
        ended = bool(tokens) and tokens[-1] == batch.rules.end
        if ended:
            tokens.pop()
        return Attempt(
            tokens=tuple(tokens),
            logprobs=logprobs,
            no_speech=float(batch.no_speech[index]),
            temperature=row.temperature,
            in_loop=row.in_loop,
            reached_limit=not (ended or row.in_loop),
            proposed=row.proposed,
            accepted=row.accepted,
            goes_on=row.goes_on,
        )

    def with_attention(
        self, attempts: Sequence[Attempt], first: int, heads: Sequence[tuple[int, int]]
    ) -> list[Attempt]:
        """The attempts kept for the rows from `first` on, with the attention of `heads` to the audio."""
        batch = self.batch
        complete: list[Attempt] = []
        begins = [len(row.prompt.initial) for row in self._rows[first:]]
        for count in run_lengths(begins):  # neighbours with as many initial tokens
            part = attempts[len(complete) : len(complete) + count]
            begin, rows = begins[len(complete)], slice(first + len(complete), first + len(complete) + count)
            for index, attempt in enumerate(part, start=rows.start):
                kept = batch.tokens.new_tensor(attempt.tokens)  # not always the tokens of the last attempt
                batch.tokens[index, begin : begin + len(kept)] = kept
            longest = max(len(attempt.tokens) for attempt in part)
            attention = batch.attention(rows, begin + longest, heads)  # [count, heads, begin + longest, T]
            complete += [
                replace(attempt, attention=row[:, begin - 1 : begin + len(attempt.tokens)])
                for attempt, row in zip(part, attention.unbind(), strict=True)
            ]
        return complete


def run_lengths(values: Iterable[object]) -> list[int]:
    """How many neighbours are equal, each time.

    >>> run_lengths("aabccc")
    [2, 1, 3]
    """
    return [len(list(same)) for _, same in groupby(values)]
