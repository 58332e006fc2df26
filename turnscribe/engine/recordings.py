"""Recordings that are decoded together: what one has to offer, and where it stands."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from torch import Tensor

from turnscribe.engine.attempts import Attempt, GoOn, Prompt
from turnscribe.engine.engine import SharedOptions
from turnscribe.waveform import Waveform
from turnscribe.whisper.windows import Window


class Recording(Protocol):
    """One caller's windows, and what is made of them.

    `has_news`, `report` and `stop_if_asked` are called in the caller's own thread, the others in the thread of
    whichever caller leads. What `judge` and `read` raise ends this recording alone.
    """

    shared_options: SharedOptions
    batch_size: int  # windows of it that are decoded at once, at most
    pending: deque[Window]  # to be decoded; `read` may put back what is left of a window

    @property
    def windows_at_once(self) -> int:
        """How many pending windows have to be taken at once: several where they decide on the language."""

    def samples(self, window: Window) -> Waveform: ...

    def prompts(
        self, windows: Sequence[Window], language_scores: Callable[[int, int], Tensor]
    ) -> Sequence[Prompt]: ...

    def judge(self, window: Window, attempts: Sequence[Attempt]) -> Attempt | GoOn | float: ...

    def seed(self, window: Window) -> int: ...

    def advanced(self, window: Window, tokens: int) -> None:
        """So many tokens are written in the window's latest attempt."""

    def read(self, window: Window, attempt: Attempt) -> None:
        """Make text of a window that is finished."""

    @property
    def has_news(self) -> bool:
        """Whether there is something to report."""

    def report(self) -> None:
        """Call the caller's functions."""

    def stop_if_asked(self) -> None:
        """Raises `Cancelled`."""


@dataclass(eq=False)
class Participant:
    """A recording in line or in the shared decoding."""

    recording: Recording
    taken: dict[Window, None] = field(default_factory=dict)  # and not read, in order
    alone: bool = False  # it was in a decoding that failed, and is not decoded with others again
    over: bool = False  # nothing is to be done for it any more
    error: BaseException | None = None

    @property
    def row_demand(self) -> int:
        """Rows it could fill now."""
        return min(self.recording.batch_size, len(self.taken) + len(self.recording.pending))

    def goes_with(self, other: Participant) -> bool:
        """Whether windows of both can be in one decoding."""
        return not (self.alone or other.alone) and self.recording.shared_options == other.recording.shared_options

    def next_windows(self, limit: int) -> list[Window]:
        """The windows to take next: all of them or none, at most `limit`. They stay pending."""
        recording = self.recording
        room = min(recording.batch_size - len(self.taken), limit)
        return list(islice(recording.pending, max(min(recording.windows_at_once, room), 0)))

    def take(self, window: Window) -> OwnedWindow:
        """The first of the pending windows, from now on being decoded."""
        self.taken[window] = None  # first: an interrupt in between must not lose it, see `put_back`
        self.recording.pending.popleft()
        return OwnedWindow(self, window)

    def put_back(self) -> None:
        """What was taken is pending again."""
        pending = self.recording.pending
        pending.extendleft([window for window in reversed(self.taken) if window not in pending])
        self.taken.clear()


@dataclass(frozen=True, eq=False)
class OwnedWindow:
    """A window, and whose it is."""

    owner: Participant
    window: Window
