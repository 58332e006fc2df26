"""Decoding: keeps the rows of a batch busy as long as its source has windows.

`Decoding.step` is one round of this loop, and `run` goes round until nothing is left:

    1. Take windows from the source, where enough rows are free.
    2. Encode a few of them, and load their audio into free rows. Until all are encoded, the round ends here.
    3. Ask the source for their prompts, and start their rows.
    4. Take every active row some tokens further.
    5. See which rows have ended: by themselves, in a loop, or because nobody waits for the window any more.
    6. Have the source judge each attempt: it is kept, or the row starts again at a higher temperature, or behind the
       text so far.
    7. Free the rows whose attempts are kept, and return those windows.

A row that ends makes room for the next window at once, so no row waits for the longest of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Generic, Protocol

from torch import Tensor

from turnscribe.engine.attempts import Attempt, GoOn, Prompt
from turnscribe.engine.batch import Batch
from turnscribe.engine.draft_length import DraftLength
from turnscribe.engine.rows import Rows, WindowT, run_lengths
from turnscribe.threads import follow_load

# Steps from one check of which rows have ended to the next. The CPU queues passes ahead of a GPU; to check, it has to
# wait until all of them are done.
CHECK_EVERY = {"cpu": 1, "cuda": 4}
TELL_EVERY = 4  # checks: how far the rows are
REFILL_SHARE = {"cpu": 0.0, "cuda": 0.25}  # of all rows that have to be free before new windows are encoded


class WindowSource(Protocol[WindowT]):
    """Where windows come from, and who judges what was made of them."""

    def take(self, count: int) -> Sequence[WindowT]:
        """The next windows, at most `count`; none when there are no more for now."""

    def encode(self, windows: Sequence[WindowT]) -> tuple[Tensor, Tensor | None]:
        """The encoder's output `[B, T, D]`, and that of the draft's own encoder where it has one."""

    def prompts(self, windows: Sequence[WindowT], language_scores: Callable[[int, int], Tensor]) -> Sequence[Prompt]:
        """The prompt of each of `windows`: all that were taken at once and that somebody still waits for.

        Their audio is loaded: `language_scores(token, index)` are the scores `[V]` after one token for one of them.
        """

    def judge(self, window: WindowT, attempts: Sequence[Attempt]) -> Attempt | GoOn | float:
        """The attempt to keep, or the temperature at which to try again; or what to go on behind, after which there
        is no other temperature to try."""

    def seed(self, window: WindowT) -> int:
        """The seed of what is drawn for this window."""

    def advanced(self, window: WindowT, tokens: int) -> None:
        """So many tokens are written in the window's latest attempt: said now and then."""

    def unwanted(self, window: WindowT) -> bool:
        """Whether nobody waits for this window any more: its row is ended and not judged. Stays so once it is so."""


class Decoding(Generic[WindowT]):
    """Takes windows from `source`, as many at once as there are free rows, and returns each when it is finished."""

    def __init__(
        self,
        batch: Batch,
        source: WindowSource[WindowT],
        *,
        heads: Sequence[tuple[int, int]] = (),
        draft_length: DraftLength | int | None = None,
        encode_at_once: int = 4,
        end_loops: bool = False,
    ) -> None:
        """`heads` are those whose attention is wanted; `draft_length` turns speculation on.

        With `end_loops` a row is ended once its last tokens are a short phrase over and over.
        """
        self.batch, self.source, self.heads = batch, source, heads
        self.draft_length, self.encode_at_once, self.end_loops = draft_length, encode_at_once, end_loops
        self.limit = batch.rows  # of rows in use; may be changed between steps
        self.proposed = self.accepted = 0
        self._rows: Rows[WindowT] = Rows(batch)
        self._taken: list[WindowT] = []  # and not encoded
        self._encoded: list[WindowT] = []  # in the rows after the active ones, and not started
        self._longest = 0  # of the active rows
        self._checks = 0
        kind = batch.graphs.device.kind
        self._check_every = CHECK_EVERY.get(kind, 1) if draft_length is None else 1
        self._refill_share = REFILL_SHARE.get(kind, 0.0)

    def run(self) -> Iterator[tuple[WindowT, Attempt]]:
        """Until the source has no more windows; whoever iterates may give it more at any time."""
        while (finished := self.step()) is not None:
            yield from finished

    def step(self) -> list[tuple[WindowT, Attempt]] | None:
        """One round of the loop. Returns the windows that are finished; `None` where there was nothing to do."""
        self._take()  # 1
        if self._taken:
            self._encode_some()  # 2
            if self._encoded and not self._taken:
                self._start_encoded()  # 3
            return []
        if not self._rows:
            return None
        for _ in range(self._check_every):
            self._advance()  # 4
        ended = self._ended()  # 5
        if not any(ended):
            return []
        first = self._rows.move_to_end(ended)
        self._remove_unwanted(first)
        kept = self._judge(first)  # 6
        return self._finish(kept)  # 7

    def _take(self) -> None:
        free = self.limit - len(self._rows)
        if self._taken or (self._rows and free < max(int(self._refill_share * self.limit), 1)):
            return
        self._taken = list(self.source.take(free))

    def _encode_some(self) -> None:
        wanted = [window for window in self._taken if not self.source.unwanted(window)]
        part, self._taken = wanted[: self.encode_at_once], wanted[self.encode_at_once :]
        if part:
            first = len(self._rows) + len(self._encoded)
            follow_load()
            self.batch.load_audio(*self.source.encode(part), slice(first, first + len(part)))
            self._encoded += part

    def _start_encoded(self) -> None:
        """Neighbours of one prompt start in one pass, if nothing is drawn in them."""
        first = len(self._rows)
        prompts = self.source.prompts(
            self._encoded, lambda token, index: self.batch.language_scores(token, first + index)
        )
        for window, prompt in zip(self._encoded, prompts, strict=True):
            self._rows.append(window, prompt)
        self._encoded = []
        alike = [prompt if prompt.temperature == 0 else index for index, prompt in enumerate(prompts)]
        for count in run_lengths(alike):
            self._start(slice(first, first + count))
            first += count

    def _start(self, rows: slice) -> None:
        """Rows of one prompt; one at a time where tokens are drawn, each by its own seed."""
        row = self._rows[rows.start]
        prompt = row.prompt
        self.batch.start(
            rows,
            prompt,
            temperature=row.temperature,
            seed=self.source.seed(row.window) * 64 + len(row.attempts),
        )
        self._longest = max(self._longest, len(prompt.initial) + len(prompt.forced) + 1)

    def _advance(self) -> None:
        """A token more in each row, or a round of speculation."""
        active, length, draft = len(self._rows), self.draft_length, self.batch.draft
        follow_load()
        if length is None or draft is None or not draft.has_more(self._rows.lengths()):
            self.batch.step(active, self._longest)
            self._longest += 1
        else:
            count = length if isinstance(length, int) else length.best(active)
            self.batch.speculate(active, count, self._longest)
            self._longest += count + 1

    def _ended(self) -> list[bool]:
        rows, lengths = self._rows, self._rows.lengths()
        if self.end_loops:
            rows.end_loops(lengths)
        rows.end([index for index, row in enumerate(rows) if self.source.unwanted(row.window)])
        ended = rows.ended()
        self._longest = max(lengths)
        self._checks += 1
        if self._checks % TELL_EVERY == 0:
            for row, length in zip(rows, lengths, strict=True):
                self.source.advanced(row.window, length - len(row.prompt.initial))
        if self.draft_length is not None:
            proposed, accepted, refused = rows.count_drafts()
            self.proposed += proposed
            self.accepted += accepted
            if isinstance(self.draft_length, DraftLength):
                self.draft_length.record(accepted, refused)
        return ended

    def _remove_unwanted(self, first: int) -> None:
        """Of the rows from `first` on, which have ended."""
        for index in range(len(self._rows) - 1, first - 1, -1):
            if self.source.unwanted(self._rows[index].window):
                self._rows.remove(index)

    def _judge(self, first: int) -> list[Attempt]:
        """Judge the rows from `first` on. Those that get another try start again and come before the others; the
        attempts kept are those of the last rows."""
        kept: dict[int, Attempt] = {}  # by the row's identity
        latest = [self._rows.attempt(index) for index in range(first, len(self._rows))]
        if self.heads:  # whoever judges sees what the latest attempt looked at
            latest = self._rows.with_attention(latest, first, self.heads)
        for row, attempt in zip(list(self._rows)[first:], latest, strict=True):
            verdict = self.source.judge(row.window, (*row.attempts, attempt))
            row.attempts.append(replace(attempt, attention=None))  # large
            if isinstance(verdict, Attempt):
                kept[id(row)] = verdict
            else:
                row.begin_again(verdict)
        for index in range(first, len(self._rows)):
            if id(self._rows[index]) not in kept:
                self._rows.swap(index, first)
                self._start(slice(first, first + 1))
                first += 1
        return [kept[id(self._rows[index])] for index in range(first, len(self._rows))]

    def _finish(self, kept: list[Attempt]) -> list[tuple[WindowT, Attempt]]:
        first = len(self._rows) - len(kept)
        if self.heads and any(attempt.attention is None for attempt in kept):  # an earlier attempt is kept
            kept = self._rows.with_attention(kept, first, self.heads)
        return list(zip(self._rows.remove_from(first), kept, strict=True))
