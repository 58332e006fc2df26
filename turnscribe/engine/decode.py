"""Decoding: keeps a batch's rows busy. A row that ends gives its place to the next window, or starts again warmer.

Active rows come first and the free ones after them, so that every pass takes a run of rows and none is copied but
the two that change places when a row ends. Knows neither windows nor text: a `Work` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from turnscribe.engine.batch import Batch
from turnscribe.engine.draft_length import DraftLength

Job = TypeVar("Job")

CHECK_EVERY = {"cpu": 1, "cuda": 4}  # steps between two looks at which rows have ended; a look makes a GPU wait
FIRST_WINDOWS = 4  # are heard before the prompt is asked for
LOOP = 64  # tokens: nobody says a phrase of LONGEST_PHRASE tokens eight times over
LONGEST_PHRASE = 8
REFILL_SHARE = {"cpu": 0.0, "cuda": 0.25}  # of all rows that have to be free before new windows are encoded


@dataclass(frozen=True)
class Prompt:
    """What every row begins with, and where it has to stop."""

    initial: tuple[int, ...]
    start_of_transcript: int  # its index
    limit: int  # tokens, the initial ones too


@dataclass(frozen=True)
class Attempt:
    """What a row said: tokens after the initial ones and without the end token."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]  # of the tokens, and of the end token where it was reached
    no_speech: float
    temperature: float
    stuck: bool = False  # it was ended because it said the same over and over
    attention: Tensor | None = None  # [heads, N + 1, T]: before each of the N tokens, and after the last

    @property
    def avg_logprob(self) -> float:
        """The mean over the tokens and the end, as Whisper takes it."""
        return sum(self.logprobs) / (len(self.tokens) + 1)


class Work(Protocol[Job]):
    """Where windows come from and who judges what was made of them."""

    def take(self, count: int) -> Sequence[Job]:
        """The next windows, at most `count`; none when there are no more for now."""

    def encode(self, jobs: Sequence[Job]) -> tuple[Tensor, Tensor | None]:
        """The encoder's output `[B, T, D]`, and that of the draft's own encoder where it has one."""

    def prompt(self, jobs: Sequence[Job], language_scores: Callable[[int, int], Tensor]) -> Prompt:
        """What rows begin with; `language_scores(token, index)` are the scores after one token for one of `jobs`."""

    def judge(self, job: Job, attempts: Sequence[Attempt]) -> Attempt | float:
        """The attempt to keep, or the temperature at which to try again."""

    def seed(self, job: Job) -> int:
        """The seed of what is drawn for this window."""


@dataclass
class _Row(Generic[Job]):
    job: Job
    attempts: list[Attempt]
    temperature: float = 0.0
    looked: int = 0  # tokens at the last look for a loop
    stuck: bool = False


class Decoding(Generic[Job]):
    """Takes windows from `work`, at most as many at once as `batch` has rows, and yields each when it is finished."""

    def __init__(
        self,
        batch: Batch,
        work: Work[Job],
        *,
        temperature: float = 0.0,
        heads: Sequence[tuple[int, int]] = (),
        draft_length: DraftLength | int | None = None,
        encode_at_once: int = 4,
        end_loops: bool = False,
        between_steps: Callable[[], None] | None = None,
    ) -> None:
        """`heads` are those whose attention is wanted; `draft_length` turns speculation on.

        With `end_loops` a row is over once its last `LOOP` tokens are a short phrase again and again. What
        `between_steps` raises ends the run.
        """
        self.batch, self.work, self.heads = batch, work, heads
        self.temperature, self.draft_length, self.encode_at_once = temperature, draft_length, encode_at_once
        self.end_loops, self.between_steps = end_loops, between_steps
        self.proposed = self.accepted = 0
        self.rows: list[_Row[Job]] = []
        self._waiting: list[Job] = []
        self._prompt: Prompt | None = None
        self._longest = 0
        device = batch.tokens.device.type
        self._check_every = CHECK_EVERY.get(device, 1) if draft_length is None else 1
        self._least_free = max(int(REFILL_SHARE.get(device, 0.0) * batch.rows), 1)

    @property
    def unfinished(self) -> list[Job]:
        """Windows that were taken and not yielded."""
        return [row.job for row in self.rows] + self._waiting

    def run(self) -> Iterator[tuple[Job, Attempt]]:
        """Until there is no more work; the consumer may add some at any time."""
        while True:
            self._fill()
            if not self.rows:
                return
            for _ in range(self._check_every):
                self._advance()
            if self.between_steps is not None:
                self.between_steps()
            yield from self._settle()

    def _fill(self) -> None:
        free = self.batch.rows - len(self.rows)
        if self.rows and free < self._least_free:
            return
        self._waiting = list(self.work.take(free))
        while self._waiting:
            # the language is judged by some windows together
            together = self.encode_at_once if self._prompt is not None else max(self.encode_at_once, FIRST_WINDOWS)
            jobs, first = self._waiting[:together], len(self.rows)
            for index in range(0, len(jobs), self.encode_at_once):
                part = jobs[index : index + self.encode_at_once]
                self.batch.hear(*self.work.encode(part), slice(first + index, first + index + len(part)))
            if self._prompt is None:
                self._prompt = self.work.prompt(jobs, self._language_scores)
            self.rows += [_Row(job, [], self.temperature) for job in jobs]
            self._waiting = self._waiting[together:]
            step = len(jobs) if self.temperature == 0 else 1
            for row in range(first, len(self.rows), step):
                self._start(slice(row, row + step))

    def _language_scores(self, token: int, index: int) -> Tensor:
        return self.batch.language_scores(token, len(self.rows) + index)

    def _start(self, rows: slice) -> None:
        """Rows of one temperature; warm ones one by one, each with its own seed."""
        assert self._prompt is not None
        prompt, row = self._prompt, self.rows[rows.start]
        self.batch.start(
            rows,
            prompt.initial,
            start_of_transcript=prompt.start_of_transcript,
            limit=prompt.limit,
            temperature=row.temperature,
            seed=self.work.seed(row.job) * 64 + len(row.attempts),
        )
        self._longest = max(self._longest, len(prompt.initial) + 1)

    def _advance(self) -> None:
        active = len(self.rows)
        if self.draft_length is None:
            self.batch.step(active, self._longest)
            self._longest += 1
            return
        fixed = isinstance(self.draft_length, int)
        count = self.draft_length if fixed else self.draft_length.best(active)  # type: ignore[union-attr]
        assert isinstance(count, int)
        self.batch.speculate(active, count, self._longest)
        self._longest += count + 1

    def _settle(self) -> Iterator[tuple[Job, Attempt]]:
        """Yield the rows that have ended, or start them again."""
        batch, active = self.batch, len(self.rows)
        lengths = batch.length[:active].tolist()
        if self.end_loops:
            self._end_loops(lengths)
        done = batch.done[:active].tolist()
        self._longest = max(lengths)
        if self.draft_length is not None:
            self._count_drafts(active)
        if not any(done):
            return
        going_on = self._part(done)
        kept = self._judged(going_on)
        first = active - len(kept)
        if self.heads and kept:
            kept = self._with_attention(first, kept)
        finished = [row.job for row in self.rows[first:]]
        del self.rows[first:]  # only now: nothing that fails before may lose a window
        yield from zip(finished, kept, strict=True)

    def _part(self, done: Sequence[bool]) -> int:
        """Move the rows that have ended behind those that have not, and count the latter."""
        first_ended = len(done)
        for index in range(len(done) - 1, -1, -1):
            if done[index]:
                first_ended -= 1
                self._swap(index, first_ended)
        return first_ended

    def _judged(self, first: int) -> list[Attempt]:
        """Of the rows from `first` on, start again those that are worth another try, ahead of the others; the
        attempts to keep for those."""
        kept: dict[int, Attempt] = {}  # by the row's identity
        for index in range(first, len(self.rows)):
            row = self.rows[index]
            row.attempts.append(self._attempt(index, row))
            verdict = self.work.judge(row.job, tuple(row.attempts))
            if isinstance(verdict, Attempt):
                kept[id(row)] = verdict
            else:
                row.temperature, row.looked, row.stuck = verdict, 0, False
        for index in range(first, len(self.rows)):
            if id(self.rows[index]) not in kept:
                self._swap(index, first)
                self._start(slice(first, first + 1))
                first += 1
        return [kept[id(row)] for row in self.rows[first:]]

    def _count_drafts(self, active: int) -> None:
        batch = self.batch
        counts = [batch.proposed, batch.accepted, batch.refused]
        proposed, accepted, refused = torch.stack(counts)[:, :active].sum(dim=1).tolist()
        for count in counts:
            count.zero_()
        self.proposed += proposed
        self.accepted += accepted
        if isinstance(self.draft_length, DraftLength):
            self.draft_length.saw(accepted, refused)

    def _swap(self, first: int, second: int) -> None:
        if first != second:
            self.batch.swap(first, second)
            self.rows[first], self.rows[second] = self.rows[second], self.rows[first]

    def _end_loops(self, lengths: Sequence[int]) -> None:
        for index, (row, length) in enumerate(zip(self.rows, lengths, strict=True)):
            if length - int(self.batch.begin[index]) < LOOP or length - row.looked < LOOP // 2:
                continue
            row.looked = length
            tail = self.batch.tokens[index, length - LOOP : length].tolist()
            row.stuck = any(tail[period:] == tail[:-period] for period in range(1, LONGEST_PHRASE + 1))
            if row.stuck:
                self.batch.done[index] = True

    def _attempt(self, index: int, row: _Row[Job]) -> Attempt:
        batch = self.batch
        begin, length = int(batch.begin[index]), int(batch.length[index])
        tokens = batch.tokens[index, begin:length].tolist()
        logprobs = batch.logprobs[index, begin:length].tolist()
        if tokens and tokens[-1] == batch.rules.end:
            tokens.pop()
        no_speech = float(batch.no_speech[index])
        return Attempt(tuple(tokens), tuple(logprobs), no_speech, row.temperature, row.stuck)

    def _with_attention(self, first: int, attempts: Sequence[Attempt]) -> list[Attempt]:
        """The attempts kept, which sit in the rows from `first` on, with what their heads looked at."""
        assert self._prompt is not None
        batch, begin = self.batch, len(self._prompt.initial)
        longest = max(len(attempt.tokens) for attempt in attempts)
        for index, attempt in enumerate(attempts, start=first):
            said = batch.tokens.new_tensor(attempt.tokens)  # not always the last attempt
            batch.tokens[index, begin : begin + len(said)] = said
        looks: Any = batch.attention(slice(first, first + len(attempts)), begin + longest, self.heads)
        return [
            replace(attempt, attention=look[:, begin - 1 : begin + len(attempt.tokens)])
            for attempt, look in zip(attempts, looks, strict=True)
        ]
