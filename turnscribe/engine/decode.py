"""Decoding: keeps a batch's rows busy. A row that ends gives its place to the next window, or starts again warmer.

Active rows come first and the free ones after them, so that every pass takes a run of rows and none is copied but
the two that change places when a row ends. Each row has a prompt, a temperature and a limit of its own. Knows neither
windows nor text nor whose they are: a `Work` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from turnscribe.engine.batch import Batch
from turnscribe.engine.draft_length import DraftLength

Job = TypeVar("Job")

CHECK_EVERY = {"cpu": 1, "cuda": 4}  # steps between two looks at which rows have ended; a look makes a GPU wait
LOOP = 64  # tokens: nobody says a phrase of LONGEST_PHRASE tokens eight times over
LONGEST_PHRASE = 8
REFILL_SHARE = {"cpu": 0.0, "cuda": 0.25}  # of all rows that have to be free before new windows are encoded


@dataclass(frozen=True)
class Prompt:
    """What a row begins with, where it has to stop, and how warm it is at first."""

    initial: tuple[int, ...]
    start_of_transcript: int  # its index
    limit: int  # tokens, the initial ones too
    temperature: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """What a row said: tokens after the initial ones and without the end token."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]  # of the tokens, and of the end token where it was reached
    no_speech: float
    temperature: float
    stuck: bool = False  # it was ended because it said the same over and over
    proposed: int = 0  # tokens, by the draft
    accepted: int = 0  # of these
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

    def prompts(self, jobs: Sequence[Job], language_scores: Callable[[int, int], Tensor]) -> Sequence[Prompt]:
        """What the row of each of `jobs` begins with; all that were taken at once are asked about at once, after
        they were heard. `language_scores(token, index)` are the scores after one token for one of `jobs`."""

    def judge(self, job: Job, attempts: Sequence[Attempt]) -> Attempt | float:
        """The attempt to keep, or the temperature at which to try again."""

    def seed(self, job: Job) -> int:
        """The seed of what is drawn for this window."""

    def unwanted(self, job: Job) -> bool:
        """Whether nobody waits for this window any more: its row is ended and not judged. Stays so once it is so."""


@dataclass
class _Row(Generic[Job]):
    job: Job
    prompt: Prompt
    temperature: float
    attempts: list[Attempt] = field(default_factory=list)
    looked: int = 0  # tokens at the last look for a loop
    stuck: bool = False
    proposed: int = 0
    accepted: int = 0

    def again(self, temperature: float) -> None:
        """The next attempt."""
        self.temperature, self.looked, self.stuck, self.proposed, self.accepted = temperature, 0, False, 0, 0


class Decoding(Generic[Job]):
    """Takes windows from `work`, as many at once as there are free rows, and returns each when it is finished."""

    def __init__(
        self,
        batch: Batch,
        work: Work[Job],
        *,
        heads: Sequence[tuple[int, int]] = (),
        draft_length: DraftLength | int | None = None,
        encode_at_once: int = 4,
        end_loops: bool = False,
    ) -> None:
        """`heads` are those whose attention is wanted; `draft_length` turns speculation on.

        With `end_loops` a row is over once its last `LOOP` tokens are a short phrase again and again.
        """
        self.batch, self.work, self.heads = batch, work, heads
        self.draft_length, self.encode_at_once, self.end_loops = draft_length, encode_at_once, end_loops
        self.limit = batch.rows  # of rows in use; may be changed between steps
        self.proposed = self.accepted = 0
        self.rows: list[_Row[Job]] = []
        self._waiting: list[Job] = []  # taken and not heard
        self._heard: list[Job] = []  # in the rows after the active ones, and not started
        self._longest = 0
        device = batch.tokens.device.type
        self._check_every = CHECK_EVERY.get(device, 1) if draft_length is None else 1
        self._refill_share = REFILL_SHARE.get(device, 0.0)
        batch.done.fill_(True)  # a kept batch may have been left in the middle
        for count in (batch.proposed, batch.accepted, batch.refused):
            count.zero_()

    def run(self) -> Iterator[tuple[Job, Attempt]]:
        """Until there is no more work; the consumer may add some at any time."""
        while (finished := self.step()) is not None:
            yield from finished

    def step(self) -> list[tuple[Job, Attempt]] | None:
        """The least that is done at a time: hear some windows, or take every row some tokens further.

        Returns the windows that are finished now; `None` where there was nothing to do.
        """
        free = self.limit - len(self.rows)
        if not self._waiting and (not self.rows or free >= max(int(self._refill_share * self.limit), 1)):
            self._waiting = list(self.work.take(free))
        if self._waiting:
            self._hear()
            return []
        if not self.rows:
            return None
        for _ in range(self._check_every):
            self._advance()
        return self._settle()

    def _hear(self) -> None:
        """A few of the windows taken; once all of them are heard their rows are started."""
        wanted = [job for job in self._waiting if not self.work.unwanted(job)]
        part, self._waiting = wanted[: self.encode_at_once], wanted[self.encode_at_once :]
        if part:
            first = len(self.rows) + len(self._heard)
            self.batch.hear(*self.work.encode(part), slice(first, first + len(part)))
            self._heard += part
        if not self._waiting and self._heard:
            self._begin()

    def _begin(self) -> None:
        """Start the rows of what was heard: neighbours of one prompt in one pass, if nothing is drawn in them."""
        prompts = self.work.prompts(self._heard, self._language_scores)
        first = len(self.rows)
        self.rows += [_Row(job, prompt, prompt.temperature) for job, prompt in zip(self._heard, prompts, strict=True)]
        self._heard = []
        alike = _runs(row.prompt if row.temperature == 0 else index for index, row in enumerate(self.rows[first:]))
        for count in alike:
            self._start(slice(first, first + count))
            first += count

    def _language_scores(self, token: int, index: int) -> Tensor:
        return self.batch.language_scores(token, len(self.rows) + index)

    def _start(self, rows: slice) -> None:
        """Rows of one prompt; warm ones one by one, each with its own seed."""
        row = self.rows[rows.start]
        prompt = row.prompt
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

    def _settle(self) -> list[tuple[Job, Attempt]]:
        """The rows that have ended, but for those that are started again."""
        batch, active = self.batch, len(self.rows)
        lengths = batch.length[:active].tolist()
        if self.end_loops:
            self._end_loops(lengths)
        unwanted = [index for index, row in enumerate(self.rows) if self.work.unwanted(row.job)]
        if unwanted:
            batch.done[unwanted] = True
        done = batch.done[:active].tolist()
        self._longest = max(lengths)
        if self.draft_length is not None:
            self._count_drafts(active)
        if not any(done):
            return []
        going_on = self._part(done)
        self._drop_unwanted(going_on)
        kept = self._judged(going_on)
        first = len(self.rows) - len(kept)
        if self.heads and kept:
            kept = self._with_attention(first, kept)
        finished = [row.job for row in self.rows[first:]]
        del self.rows[first:]
        return list(zip(finished, kept, strict=True))

    def _part(self, done: Sequence[bool]) -> int:
        """Move the rows that have ended behind those that have not, and count the latter."""
        first_ended = len(done)
        for index in range(len(done) - 1, -1, -1):
            if done[index]:
                first_ended -= 1
                self._swap(index, first_ended)
        return first_ended

    def _drop_unwanted(self, first: int) -> None:
        """Of the rows from `first` on, which have ended."""
        for index in range(len(self.rows) - 1, first - 1, -1):
            if self.work.unwanted(self.rows[index].job):
                self._swap(index, len(self.rows) - 1)
                self.rows.pop()

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
                row.again(verdict)
        for index in range(first, len(self.rows)):
            if id(self.rows[index]) not in kept:
                self._swap(index, first)
                self._start(slice(first, first + 1))
                first += 1
        return [kept[id(row)] for row in self.rows[first:]]

    def _count_drafts(self, active: int) -> None:
        batch = self.batch
        counts = [batch.proposed, batch.accepted, batch.refused]
        proposed, accepted, refused = torch.stack(counts)[:, :active].tolist()
        for count in counts:
            count.zero_()
        for row, more, held in zip(self.rows, proposed, accepted, strict=True):
            row.proposed += more
            row.accepted += held
        self.proposed += sum(proposed)
        self.accepted += sum(accepted)
        if isinstance(self.draft_length, DraftLength):
            self.draft_length.saw(sum(accepted), sum(refused))

    def _swap(self, first: int, second: int) -> None:
        if first != second:
            self.batch.swap(first, second)
            self.rows[first], self.rows[second] = self.rows[second], self.rows[first]

    def _end_loops(self, lengths: Sequence[int]) -> None:
        for index, (row, length) in enumerate(zip(self.rows, lengths, strict=True)):
            if length - len(row.prompt.initial) < LOOP or length - row.looked < LOOP // 2:
                continue
            row.looked = length
            tail = self.batch.tokens[index, length - LOOP : length].tolist()
            row.stuck = any(tail[period:] == tail[:-period] for period in range(1, LONGEST_PHRASE + 1))
            if row.stuck:
                self.batch.done[index] = True

    def _attempt(self, index: int, row: _Row[Job]) -> Attempt:
        batch, begin = self.batch, len(row.prompt.initial)
        length = int(batch.length[index])
        tokens = batch.tokens[index, begin:length].tolist()
        logprobs = tuple(batch.logprobs[index, begin:length].tolist())
        if tokens and tokens[-1] == batch.rules.end:
            tokens.pop()
        no_speech = float(batch.no_speech[index])
        drafts = row.proposed, row.accepted
        return Attempt(tuple(tokens), logprobs, no_speech, row.temperature, row.stuck, *drafts)

    def _with_attention(self, first: int, attempts: Sequence[Attempt]) -> list[Attempt]:
        """The attempts kept, which sit in the rows from `first` on, with what their heads looked at."""
        batch = self.batch
        looked: list[Attempt] = []
        begins = [len(row.prompt.initial) for row in self.rows[first:]]
        for count in _runs(begins):  # neighbours with as many initial tokens
            part = attempts[len(looked) : len(looked) + count]
            begin, rows = begins[len(looked)], slice(first + len(looked), first + len(looked) + count)
            for index, attempt in enumerate(part, start=rows.start):
                said = batch.tokens.new_tensor(attempt.tokens)  # not always the last attempt
                batch.tokens[index, begin : begin + len(said)] = said
            longest = max(len(attempt.tokens) for attempt in part)
            looks: Any = batch.attention(rows, begin + longest, self.heads)
            looked += [
                replace(attempt, attention=look[:, begin - 1 : begin + len(attempt.tokens)])
                for attempt, look in zip(part, looks, strict=True)
            ]
        return looked


def _runs(values: Iterable[object]) -> list[int]:
    """How many neighbours are equal, each time.

    >>> _runs("aabccc")
    [2, 1, 3]
    """
    return [len(list(same)) for _, same in groupby(values)]
