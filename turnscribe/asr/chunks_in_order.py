"""The chunks of windows that are finished in any order, handed out in order of time."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from math import inf

from turnscribe.transcript import Chunk
from turnscribe.whisper.windows import Window


class ChunksInOrder:
    """Takes each window's chunks once, whichever comes first."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self._left = set(windows)
        self._made: list[tuple[int, list[Chunk]]] = []  # by the window's start
        self._handed_out = 0  # of these

    def add(self, window: Window, chunks: list[Chunk], rest: Window | None) -> list[Chunk]:
        """One window's chunks, and what is left of it to decode.

        Returns the chunks before which nothing is missing any more.
        """
        self._left.remove(window)
        if rest is not None:
            self._left.add(rest)
        insort(self._made, (window.start, chunks), key=lambda made: made[0])
        missing = min((left.start for left in self._left), default=inf)
        before, self._handed_out = self._handed_out, bisect_left(self._made, missing, key=lambda made: made[0])
        return [chunk for _, made in self._made[before : self._handed_out] for chunk in made]

    @property
    def left(self) -> int:
        """Samples that are not transcribed yet."""
        return sum(window.samples for window in self._left)

    def all(self) -> tuple[Chunk, ...]:
        return tuple(chunk for _, made in self._made for chunk in made)
