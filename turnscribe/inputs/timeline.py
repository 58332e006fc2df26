"""Where decoded frames belong, by their timestamps: what begins late, is missing, overlaps or drifts.

A decoder hands out one frame after another, and their lengths add up to the time of the next only where nothing is
missing or twice there. Timestamps say more, but are rounded (Matroska, flv), jitter (browsers), stand still or begin
anew, so a small difference is believed only where it lasts.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from av import AudioFrame

JITTER = 0.005  # seconds: less is how timestamps are rounded
STEADY_SECONDS = 0.2  # so long a difference has to last
STEADY_SHARE = 0.7  # of the frames in that time, that have to agree on it
GAP_SECONDS = 0.25  # a hole longer than this is believed at once, and an overlap longer than this never
CODEC_SECONDS = 0.1  # so much a codec may take in before its first frame comes out


@dataclass(frozen=True)
class Clock:
    """Timestamps in seconds: where the track begins by its packets, and the earliest start of all else."""

    start: float = 0.0
    others: float = float("inf")

    @property
    def origin(self) -> float:
        """The file's start."""
        return min(self.start, self.others)


class Placed(NamedTuple):
    """A frame, and where it begins: seconds from the start of the file, `None` for behind the frame before."""

    frame: AudioFrame
    at: float | None = None


class _Held(NamedTuple):
    frame: AudioFrame
    position: float  # where it would begin behind the frame before
    difference: float  # from there to where its timestamp has it


class Timeline:
    """Takes the frames of a track in order and says where each belongs."""

    def __init__(self, clock: Clock) -> None:
        self.missing_seconds = 0.0  # holes longer than `GAP_SECONDS`, without one at the start
        self.position = 0.0  # seconds: where the next frame begins if nothing is wrong
        self._clock = clock
        self._first: float | None = None  # timestamp of the first frame
        self._origin = 0.0  # the timestamp of the file's start
        self._held: list[_Held] = []

    def add(self, frame: AudioFrame) -> list[Placed]:
        """The frames that can be placed now: this one, those that waited for it, or none yet."""
        time, seconds = frame.time, frame.samples / frame.sample_rate
        if self._first is None:
            return [self._begin(frame, time, seconds)]
        position = self.position
        difference = 0.0 if time is None else time - self._origin - position
        self.position += seconds
        if abs(difference) <= JITTER:
            return [*self.release(), Placed(frame)]
        if difference > GAP_SECONDS:
            self.missing_seconds += difference
            self.position += difference
            return [*self.release(), Placed(frame, position + difference)]
        assert time is not None
        if difference < -GAP_SECONDS or time <= self._first + JITTER:  # another clock, of a file that was joined
            self._origin += difference
            self._first = time
            return [*self.release(), Placed(frame)]
        self._held.append(_Held(frame, position, difference))
        if self.position - self._held[0].position < STEADY_SECONDS:
            return []
        return self._settle()

    def release(self) -> list[Placed]:
        """The frames that waited, one behind the other."""
        released = [Placed(held.frame) for held in self._held]
        self._held.clear()
        return released

    def _begin(self, frame: AudioFrame, time: float | None, seconds: float) -> Placed:
        """The first frame: times count from it, or from another track that begins earlier."""
        first = self._clock.start if time is None else time
        start = first if abs(first - self._clock.start) < CODEC_SECONDS else self._clock.start
        self._origin = min(start, self._clock.others)
        self._first = first
        at = first - self._origin
        self.position = at + seconds
        return Placed(frame, at)

    def _settle(self) -> list[Placed]:
        """Those that waited: moved where they agree, else one behind the other."""
        differences = [held.difference for held in self._held]
        moved = statistics.median(differences)
        agreed = sum(abs(difference - moved) <= JITTER for difference in differences)
        at = self._held[0].position + moved
        first, *rest = self.release()
        if agreed < STEADY_SHARE * len(differences):
            return [first, *rest]
        self.position += moved
        return [Placed(first.frame, at), *rest]
