"""What `together.py` decodes: recordings with windows of their own, what they have in common, and what it needs of an
engine. Knows neither models nor threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from turnscribe.engine.decode import Attempt, Decoding, Prompt, Work
from turnscribe.whisper.windows import Window


@dataclass(frozen=True)
class Kind:
    """What all windows of one `Decoding` have in common."""

    assisted: bool
    words: bool
    end_loops: bool


class Recording(Protocol):
    """One request's windows on their way. Only `report` and `stop_if_asked` are called in the caller's own thread,
    the others by whoever leads; `judge` and `read` may raise, which ends this recording alone."""

    kind: Kind
    batch_size: int  # windows of it at once, at most
    pending: deque[Window]  # `read` may add what is left of a window

    @property
    def heard_together(self) -> int:
        """How many of the pending windows have to be heard at once."""

    @property
    def has_news(self) -> bool:
        """Whether there is something to report."""

    def samples(self, window: Window) -> NDArray[np.float32]: ...

    def prompts(
        self, windows: Sequence[Window], language_scores: Callable[[int, int], Tensor]
    ) -> Sequence[Prompt]: ...

    def judge(self, job: Window, attempts: Sequence[Attempt]) -> Attempt | float: ...

    def seed(self, job: Window) -> int: ...

    def read(self, window: Window, attempt: Attempt) -> None: ...

    def report(self) -> None: ...

    def stop_if_asked(self) -> None:
        """Raises `Cancelled`."""


@dataclass(eq=False)
class Member:
    """A recording that waits or is being decoded."""

    recording: Recording
    taken: dict[Window, None] = field(default_factory=dict)  # and not read, in order
    alone: bool = False  # it was in a decoding that failed
    over: bool = False  # nothing is to be done for it any more
    error: BaseException | None = None

    @property
    def wants(self) -> int:
        """Rows it could fill now."""
        return min(self.recording.batch_size, len(self.taken) + len(self.recording.pending))

    def goes_with(self, other: Member) -> bool:
        return not (self.alone or other.alone) and self.recording.kind == other.recording.kind

    def next(self, limit: int) -> list[Window]:
        """The windows to take next, which all have to be taken, at most `limit`; not taken yet."""
        recording = self.recording
        room = min(recording.batch_size - len(self.taken), limit)
        return list(islice(recording.pending, max(min(recording.heard_together, room), 0)))

    def put_back(self) -> None:
        """What was taken is pending again."""
        self.recording.pending.extendleft(reversed(self.taken))
        self.taken.clear()


@dataclass(frozen=True, eq=False)
class Job:
    """A window, and whose it is."""

    member: Member
    window: Window


class Engine(Protocol):
    """What batches are made of."""

    def decoding(self, kind: Kind, rows: int, work: Work[Job]) -> Decoding[Job]: ...

    def encode(self, waveforms: Sequence[NDArray[np.float32]], kind: Kind) -> tuple[Tensor, Tensor | None]: ...

    def forget_batch(self) -> None:
        """Free what an abandoned decoding took."""
