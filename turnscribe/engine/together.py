"""Requests that arrive together share passes: the windows of several recordings in one `Decoding`.

There is no thread of its own. One caller leads: it steps the decoding, for all, until a window of its own is read;
then it gives up the lead, hears about it, and whoever waits takes over where it stopped. So nobody works for others
once it has its own, callbacks run in their caller's thread, and a slow one holds up nobody.

Knows neither models nor text: a `Recording` reads its windows, an `Engine` makes batches and encodes.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from turnscribe.engine.decode import Attempt, Decoding, Prompt
from turnscribe.engine.recordings import Engine, Job, Member, Recording
from turnscribe.errors import OutOfMemory

log = logging.getLogger("turnscribe")

LOOK_EVERY = 0.05  # seconds between two looks of a waiting caller at its `should_stop`
MORE_AFTER = 64  # windows, after which a batch that memory had cut to fewer rows gets more of them again
ROOM_TO_JOIN = 8  # rows, at least, of a batch that is shared


class Together:
    """Decodes the recordings of all callers, those of one kind at a time, in the order in which they came."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = threading.Condition()  # guards what follows
        self._queue: deque[Member] = deque()  # not in the decoding yet
        self._led = False
        # only whoever leads looks at these
        self._members: deque[Member] = deque()  # in the decoding; who comes first is served next
        self._decoding: Decoding[Job] | None = None
        self._most: int | None = None  # rows that fit, once more did not
        self._read_since = 0  # windows, with that many

    def decode(self, recording: Recording) -> None:
        """Until every window of `recording` is read.

        Raises `OutOfMemory`, what the recording's own methods raise, or what went wrong while it was decoded.
        """
        if not recording.pending:
            return
        member = Member(recording)
        try:
            with self._changed:
                self._queue.append(member)
            while not self._waited(member):
                pass
        except BaseException as error:
            self._end(member, error)
            member.error = None
            raise
        failure, member.error = member.error, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # it holds this frame, which would hold it

    def _waited(self, member: Member) -> bool:
        """Lead, or wait for whoever does, until there is news; whether the recording is over."""
        leads = False
        try:  # an interrupt may come between any two of these
            with self._changed:
                self._changed.wait_for(lambda: not self._led or member.over or member.recording.has_news, LOOK_EVERY)
                leads = not (self._led or member.over or member.recording.has_news)
                self._led = self._led or leads
            if leads:
                self._lead(member)
        finally:
            if leads:
                self._give_up_lead()
        over = member.over  # asked first: nothing may be left unreported
        member.recording.report()
        if not over:
            member.recording.stop_if_asked()
        return over

    def _lead(self, member: Member) -> None:
        with torch.inference_mode():
            while not (member.over or member.recording.has_news):
                member.recording.stop_if_asked()
                self._step()

    def _give_up_lead(self) -> None:
        with self._changed:
            self._led = False
            self._tidy()
            self._changed.notify_all()

    def _end(self, member: Member, error: BaseException | None = None) -> None:
        with self._changed:
            if not member.over:
                member.over, member.error = True, error
            if member in self._queue:
                self._queue.remove(member)
            if not self._led:
                self._tidy()
            self._changed.notify_all()

    def _tidy(self) -> None:
        """Let go of what is over."""
        if any(member.over for member in self._members):
            self._members = deque(member for member in self._members if not member.over)
        if not self._members:
            self._decoding = self._most = None

    # What the leader does -----------------------------------------------------------------------------

    def _step(self) -> None:
        """Those in line that may join, and the next step."""
        with self._changed:
            self._tidy()
            # in order: once one that does not fit in waits, nobody overtakes it, and the decoding comes to its end
            while self._queue and (not self._members or self._members[0].goes_with(self._queue[0])):
                self._members.append(self._queue.popleft())
        rows = self._rows()
        try:
            if self._decoding is None:
                self._decoding = self._engine.decoding(self._members[0].recording.kind, rows, self)
            rows = self._decoding.limit = min(self._row_limit(), self._decoding.batch.rows)
            finished = self._decoding.step()
            if finished is None:  # or there are too few rows
                self._decoding = None
                self._most = None if self._most is None else 2 * self._most  # it may have been for a moment
                self._read_since = 0
            for job, attempt in finished or ():
                self._read(job, attempt)
            return
        except torch.OutOfMemoryError as error:
            self._take_fewer(max(rows, self._decoding.batch.rows if self._decoding else 0), error)
            traceback.clear_frames(error.__traceback__)  # whoever keeps the error does not keep the batch
        except Exception as error:
            self._part(error)
            traceback.clear_frames(error.__traceback__)
        except BaseException:  # of this thread alone: another one takes over
            self._put_back()
            raise
        self._engine.forget_batch()  # only here: an error that is being handled holds on to what it was raised in

    def _row_limit(self) -> int:
        """The largest `batch_size` of all, and none of them has more rows than it asked for itself.

        Were it the smallest, a request with a batch_size of 1 would have all others wait in line; as it is, a batch
        takes no more memory than one of the requests might take alone.
        """
        largest = max(member.recording.batch_size for member in self._members)
        return largest if self._most is None else min(largest, self._most)

    def _wanted_rows(self) -> int:
        return min(sum(member.wants for member in self._members), self._row_limit())

    def _rows(self) -> int:
        """Of a new batch: what there is to do; where several share it, room for those that join while it runs."""
        wanted = self._wanted_rows()
        return wanted if len(self._members) == 1 else min(max(2 * wanted, ROOM_TO_JOIN), self._row_limit())

    def _read(self, job: Job, attempt: Attempt) -> None:
        member = job.member
        if member.over:
            return
        try:
            member.recording.read(job.window, attempt)
        except Exception as error:
            self._end(member, error)
            return
        self._read_since += 1
        del member.taken[job.window]
        if not (member.taken or member.recording.pending):
            self._end(member)
        else:
            with self._changed:
                self._changed.notify_all()

    def _take_fewer(self, rows: int, error: torch.OutOfMemoryError) -> None:
        if rows > 1:
            log.warning("out of memory at batch size %d, trying half", rows)
            self._most, self._read_since = rows // 2, 0
        else:
            # where not even a batch could be made, it is nobody's window
            for member in [member for member in self._members if member.taken] or list(self._members):
                failed = OutOfMemory(
                    "The device has too little memory for one window: choose a smaller model or a larger device."
                )
                failed.__cause__ = error
                self._end(member, failed)
        self._put_back()

    def _part(self, error: Exception) -> None:
        """Nobody knows whose fault it was: each by itself from now on, so that it fails alone."""
        if len(self._members) == 1:
            self._end(self._members[0], error)
        else:
            log.warning(
                "decoding %d recordings together failed (%s), each is tried alone",
                len(self._members),
                type(error).__name__,
            )
        self._put_back()
        with self._changed:
            for member in reversed(self._members):
                member.alone = True
                if not member.over:
                    self._queue.appendleft(member)
            self._members.clear()

    def _put_back(self) -> None:
        """All windows that were not read, to be decoded from the beginning."""
        self._decoding = None
        for member in self._members:
            member.put_back()

    # What `Decoding` asks, the `decode.Work` -----------------------------------------------------------

    def take(self, count: int) -> Sequence[Job]:
        """By turns, so that a short recording is not stuck behind an hour; those of one recording side by side."""
        members, decoding = self._members, self._decoding
        assert decoding is not None
        if self._wanted_rows() >= 2 * decoding.batch.rows:
            return []  # so many wait that it is worth starting anew with more rows, once these have ended
        if self._most is not None and self._read_since >= MORE_AFTER:
            return []  # try with more rows again
        jobs: dict[Member, list[Job]] = {}
        skipped = 0
        while count > 0 and skipped < len(members):
            member = members[0]
            windows = member.next(self._row_limit())
            if len(windows) > count:
                break  # the rows that are free stay so until there are enough for it
            members.rotate(-1)
            skipped = 0 if windows else skipped + 1
            for window in windows:
                member.taken[window] = None  # first: an interrupt in between must not lose it
                member.recording.pending.popleft()
                jobs.setdefault(member, []).append(Job(member, window))
            count -= len(windows)
        return [job for theirs in jobs.values() for job in theirs]

    def encode(self, jobs: Sequence[Job]) -> tuple[Tensor, Tensor | None]:
        waveforms = [job.member.recording.samples(job.window) for job in jobs]
        return self._engine.encode(waveforms, jobs[0].member.recording.kind)

    def prompts(self, jobs: Sequence[Job], language_scores: Callable[[int, int], Tensor]) -> Sequence[Prompt]:
        prompts: list[Prompt] = []
        for member, group in groupby(jobs, key=lambda job: job.member):
            windows, first = [job.window for job in group], len(prompts)
            prompts += member.recording.prompts(
                windows, lambda token, index, first=first: language_scores(token, first + index)
            )
        return prompts

    def judge(self, job: Job, attempts: Sequence[Attempt]) -> Attempt | float:
        try:
            return job.member.recording.judge(job.window, attempts)
        except Exception as error:
            self._end(job.member, error)
            return attempts[-1]

    def seed(self, job: Job) -> int:
        return job.member.recording.seed(job.window)

    def unwanted(self, job: Job) -> bool:
        return job.member.over
