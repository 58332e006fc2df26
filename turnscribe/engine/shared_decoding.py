"""Recordings that share passes: the windows of several in one `Decoding`.

Whoever leads (`together.py`) calls `SharedDecoding.step` again and again. One step is

    1. Let recordings in from the line, in the order in which they came, as long as they go with those that are in.
    2. Make a decoding with its batch, where there is none: of as many rows as there is something to do for.
    3. Step the decoding. It takes windows of all recordings by turns, encodes them, and has them judged.
    4. Let each recording read its windows that are finished; one with no window left is over.

Where a step fails, what was taken and not read is pending again, and

    out of memory    the next batch has half the rows; where one row is too much, its recording fails
    an error         each recording is decoded alone from then on, so that the one whose fault it is fails alone
    an interrupt     is its thread's: the step can be done again by another
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

from turnscribe.engine.attempts import Attempt, GoOn, Prompt
from turnscribe.engine.decode import Decoding
from turnscribe.engine.engine import Engine
from turnscribe.engine.recordings import OwnedWindow, Participant
from turnscribe.errors import OutOfMemory

log = logging.getLogger("turnscribe")

MORE_AFTER = 64  # windows, after which a batch that memory had cut to fewer rows gets more of them again
ROOM_TO_JOIN = 8  # rows, at least, of a batch that is shared


class SharedDecoding:
    """Decodes recordings with the same options together and others one after the other; the `WindowSource` of its
    decoding.

    `join` and `end` may be called in any thread, the other methods in one at a time.
    """

    def __init__(self, engine: Engine, changed: threading.Condition | None = None) -> None:
        # notified when a recording is over or has news; guards `line`
        self.changed = changed or threading.Condition()
        self.line: deque[Participant] = deque()  # not in the decoding yet
        self.participants: deque[Participant] = deque()  # in the decoding; who comes first is served next
        self.decoding: Decoding[OwnedWindow] | None = None
        self._engine = engine
        self._row_cap: int | None = None  # rows that fit into memory, once more did not
        self._read_at_cap = 0  # windows, with that many

    def join(self, participant: Participant) -> None:
        """Get in line."""
        with self.changed:
            self.line.append(participant)

    def end(self, participant: Participant, error: BaseException | None = None) -> None:
        """Nothing is done for this recording any more; what comes first is why."""
        with self.changed:
            if not participant.over:
                participant.over, participant.error = True, error
            if participant in self.line:
                self.line.remove(participant)
            self.changed.notify_all()

    @property
    def has_work(self) -> bool:
        """Whether there is a recording that is not over."""
        return bool(self.line) or any(not participant.over for participant in tuple(self.participants))

    def tidy(self) -> None:
        """Let go of recordings that are over, and of the decoding after the last one."""
        if any(participant.over for participant in self.participants):
            self.participants = deque(participant for participant in self.participants if not participant.over)
        if not self.participants:
            self.decoding = self._row_cap = None

    def step(self) -> None:
        """See above. Raises interrupts only."""
        self._let_in()  # 1
        if not self.participants:  # the last one has left
            return
        rows = self._rows_to_make()
        try:
            if self.decoding is None:  # 2
                self.decoding = self._engine.decoding(self.participants[0].recording.shared_options, rows, self)
            rows = self.decoding.limit = min(self._row_limit(), self.decoding.batch.rows)
            finished = self.decoding.step()  # 3
            if finished is None:  # or there are too few rows
                self.decoding = None
                self._row_cap = None if self._row_cap is None else 2 * self._row_cap  # it may have been for a moment
                self._read_at_cap = 0
            for owned, attempt in finished or ():
                self._read(owned, attempt)  # 4
            return
        except torch.OutOfMemoryError as error:
            self._take_fewer(max(rows, self.decoding.batch.rows if self.decoding else 0), error)
            traceback.clear_frames(error.__traceback__)  # whoever keeps the error does not keep the batch
        except Exception as error:
            self._separate(error)
            traceback.clear_frames(error.__traceback__)
        except BaseException:  # of this thread alone: another one takes over
            self._put_back()
            raise
        self._engine.forget_batch()  # only here: an error that is being handled holds on to what it was raised in

    def _let_in(self) -> None:
        with self.changed:
            self.tidy()
            # in order: once one that does not fit in waits, nobody overtakes it, and the decoding comes to its end
            while self.line and (not self.participants or self.participants[0].goes_with(self.line[0])):
                self.participants.append(self.line.popleft())

    def _read(self, owned: OwnedWindow, attempt: Attempt) -> None:
        owner = owned.owner
        if owner.over:
            return
        try:
            owner.recording.read(owned.window, attempt)
        except Exception as error:
            self.end(owner, error)
            return
        self._read_at_cap += 1
        del owner.taken[owned.window]
        if not (owner.taken or owner.recording.pending):
            self.end(owner)
        else:
            with self.changed:
                self.changed.notify_all()

    # How many rows ------------------------------------------------------------------------------------

    def _row_limit(self) -> int:
        """The largest `batch_size` of all, and none of them has more rows than it asked for itself.

        Were it the smallest, a request with a batch_size of 1 would have all others wait in line; as it is, a batch
        takes no more memory than one of the requests might take alone.
        """
        largest = max(participant.recording.batch_size for participant in self.participants)
        return largest if self._row_cap is None else min(largest, self._row_cap)

    def _row_demand(self) -> int:
        return min(sum(participant.row_demand for participant in self.participants), self._row_limit())

    def _rows_to_make(self) -> int:
        """Of a new batch: what there is to do; where several share it, room for those that join while it runs."""
        demand = self._row_demand()
        return demand if len(self.participants) == 1 else min(max(2 * demand, ROOM_TO_JOIN), self._row_limit())

    # When a step fails --------------------------------------------------------------------------------

    def _take_fewer(self, rows: int, error: torch.OutOfMemoryError) -> None:
        if rows > 1:
            log.warning("out of memory at batch size %d, trying half", rows)
            self._row_cap, self._read_at_cap = rows // 2, 0
        else:
            # where not even a batch could be made, it is nobody's window
            for participant in [one for one in self.participants if one.taken] or list(self.participants):
                failed = OutOfMemory(
                    "The device has too little memory for one window: choose a smaller model or a larger device."
                )
                failed.__cause__ = error
                self.end(participant, failed)
        self._put_back()

    def _separate(self, error: Exception) -> None:
        """Nobody knows whose fault it was: each by itself from now on, so that it fails alone."""
        if len(self.participants) == 1:
            self.end(self.participants[0], error)
        else:
            log.warning(
                "decoding %d recordings together failed (%s), each is tried alone",
                len(self.participants),
                type(error).__name__,
            )
        self._put_back()
        with self.changed:
            for participant in reversed(self.participants):
                participant.alone = True
                if not participant.over:
                    self.line.appendleft(participant)
            self.participants.clear()

    def _put_back(self) -> None:
        """All windows that were not read, to be decoded from the beginning."""
        self.decoding = None
        for participant in self.participants:
            participant.put_back()

    # What the decoding asks of its `WindowSource` -----------------------------------------------------

    def take(self, count: int) -> Sequence[OwnedWindow]:
        """By turns, so that a short recording is not stuck behind an hour; those of one recording side by side."""
        participants, decoding = self.participants, self.decoding
        assert decoding is not None
        if self._row_demand() >= 2 * decoding.batch.rows:
            return []  # so many wait that it is worth starting anew with more rows, once these have ended
        if self._row_cap is not None and self._read_at_cap >= MORE_AFTER:
            return []  # try with more rows again
        taken: dict[Participant, list[OwnedWindow]] = {}
        skipped = 0
        while count > 0 and skipped < len(participants):
            participant = participants[0]
            windows = participant.next_windows(self._row_limit())
            if len(windows) > count:
                break  # the rows that are free stay so until there are enough for it
            participants.rotate(-1)
            skipped = 0 if windows else skipped + 1
            for window in windows:
                taken.setdefault(participant, []).append(participant.take(window))
            count -= len(windows)
        return [owned for windows in taken.values() for owned in windows]

    def encode(self, windows: Sequence[OwnedWindow]) -> tuple[Tensor, Tensor | None]:
        waveforms = [owned.owner.recording.samples(owned.window) for owned in windows]
        return self._engine.encode(waveforms, windows[0].owner.recording.shared_options)

    def prompts(
        self, windows: Sequence[OwnedWindow], language_scores: Callable[[int, int], Tensor]
    ) -> Sequence[Prompt]:
        prompts: list[Prompt] = []
        for owner, group in groupby(windows, key=lambda owned: owned.owner):
            theirs, first = [owned.window for owned in group], len(prompts)
            prompts += owner.recording.prompts(
                theirs, lambda token, index, first=first: language_scores(token, first + index)
            )
        return prompts

    def judge(self, window: OwnedWindow, attempts: Sequence[Attempt]) -> Attempt | GoOn | float:
        try:
            return window.owner.recording.judge(window.window, attempts)
        except Exception as error:
            self.end(window.owner, error)
            return attempts[-1]

    def seed(self, window: OwnedWindow) -> int:
        return window.owner.recording.seed(window.window)

    def advanced(self, window: OwnedWindow, tokens: int) -> None:
        window.owner.recording.advanced(window.window, tokens)

    def unwanted(self, window: OwnedWindow) -> bool:
        return window.owner.over
