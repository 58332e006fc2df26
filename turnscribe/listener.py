"""Whoever waits for a request: hears how far it is and what was said so far, and may say stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from turnscribe.errors import Cancelled
from turnscribe.transcript import Chunk


@dataclass(frozen=True)
class Estimate:
    """How far a request is: the share of its time that is over, 0 to 1 and never less than before; seconds left."""

    share: float
    remaining: float


OnProgress: TypeAlias = Callable[[float], None]
OnEstimate: TypeAlias = Callable[[Estimate], None]
OnStage: TypeAlias = Callable[[str], None]
OnChunks: TypeAlias = Callable[[Sequence[Chunk]], None]
ShouldStop: TypeAlias = Callable[[], bool]


def _ignore(_: object) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Listener:
    """Functions that a request calls, in the thread of whoever made it. What is left out does nothing.

    `on_progress` gets the share of the request's time that is over, 0 to 1, never less than before. `on_estimate`
    gets the same and the seconds that are left, then and once a second, also in another thread. `on_stage` gets the
    name of a stage, as the answer's `timings` have it, when it begins, and again when one beside it has ended, and
    `on_stage_end` when it is over; both may be called in another thread. `on_chunks` gets further chunks in order of
    time as they are decoded, before their speakers are known. `should_stop` is asked between batches.
    """

    on_progress: OnProgress = _ignore
    on_chunks: OnChunks = _ignore
    should_stop: ShouldStop = _never
    on_stage: OnStage = _ignore
    on_stage_end: OnStage = _ignore
    on_estimate: OnEstimate = _ignore

    def stop_if_asked(self) -> None:
        """Raises `Cancelled` once `should_stop` answers true."""
        if self.should_stop():
            raise Cancelled("The request was cancelled.")


SILENT = Listener()
