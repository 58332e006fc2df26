"""How long many recordings will take yet, by how long others took: in proportion to the sizes of their files.

For files of one kind that is right; of compressed ones beside others it is not, and the estimate comes right as they
are done.
"""

from __future__ import annotations


class Pace:
    """Seconds for a byte, of those that are done. A file of unknown size (0) counts as one of the mean size."""

    def __init__(self) -> None:
        self._bytes = 0
        self._seconds = 0.0
        self._files = 0

    def add(self, size: int, seconds: float) -> None:
        """A file is done, and took so long."""
        self._bytes += size or self._mean
        self._seconds += seconds
        self._files += 1

    def seconds(self, *sizes: int) -> float | None:
        """Of files of these sizes; `None` where nothing is known."""
        if not sizes:
            return 0.0
        if not self._bytes:
            return None
        return sum(size or self._mean for size in sizes) * self._seconds / self._bytes

    @property
    def _mean(self) -> int:
        return self._bytes // self._files if self._files else 0
