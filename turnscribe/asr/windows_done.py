"""How far the windows of a recording are, as a share of the time that they take.

Many are decoded at once, so that for long none of them is finished.
"""

from __future__ import annotations

from turnscribe.whisper.cost import TOKENS_A_SECOND
from turnscribe.whisper.windows import Window

UNFINISHED = 0.95  # of a window's decoding, at most, before it has ended: nobody knows which token is the last
LONGEST = 1.35  # times the mean: what rows that are decoded together wait for
FIRST_SECONDS = 30.0  # of speech with `TOKENS_A_SECOND`, beside what this recording has
TELL = 0.01  # a rise that is worth telling


class WindowsDone:
    """Of `samples` in all; `encoding` is the share of a window's time before its first token."""

    def __init__(self, samples: int, encoding: float) -> None:
        self._samples, self._encoding = max(samples, 1), encoding
        self._under_way: dict[Window, float] = {}  # the share done of each
        self._seconds, self._tokens = FIRST_SECONDS, FIRST_SECONDS * TOKENS_A_SECOND
        self._told = 0.0

    def encoded(self, window: Window) -> None:
        self._rise(window, self._encoding)

    def wrote(self, window: Window, tokens: int) -> None:
        """So many, in its latest attempt."""
        expected = max(LONGEST * self._tokens / self._seconds * window.duration, 1.0)
        decoded = min(tokens / expected, UNFINISHED)
        self._rise(window, self._encoding + (1 - self._encoding) * decoded)

    def finished(self, window: Window, tokens: int) -> None:
        self._under_way.pop(window, None)
        self._seconds += window.duration
        self._tokens += tokens

    def share(self, left: int) -> float:
        """Of all, where `left` samples are not transcribed yet."""
        self._told = (
            1 - (left - sum(part * window.samples for window, part in self._under_way.items())) / self._samples
        )
        return self._told

    def risen(self, left: int) -> float | None:
        """As `share`, where that is worth telling."""
        before = self._told
        share = self.share(left)
        if share - before >= TELL:
            return share
        self._told = before
        return None

    def _rise(self, window: Window, done: float) -> None:
        self._under_way[window] = max(self._under_way.get(window, 0.0), done)
