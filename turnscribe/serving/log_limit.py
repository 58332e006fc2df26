"""A limit on how often the log says the same: a disk that is full, or a client without end, must not fill it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

MOST = 10  # of one message
WINDOW_S = 60.0
MOST_MESSAGES = 1000  # that are remembered


class LogLimit(logging.Filter):
    """Lets a warning or an error through `most` times in `window_s` seconds, whatever stands in its places.

    The first one after that says how many were left out. Lines of requests and jobs, which are no warnings, all pass.
    """

    def __init__(
        self, most: int = MOST, window_s: float = WINDOW_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most, self._window_s, self._clock = most, window_s, clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}  # when its window began, and how many came in it

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        now, message = self._clock(), (record.name, str(record.msg))
        with self._lock:
            began, count = self._seen.pop(message, (now, 0))
            is_over = now - began >= self._window_s
            left_out = max(count - self._most, 0) if is_over else 0
            began, count = (now, 0) if is_over else (began, count)
            self._seen[message] = (began, count + 1)  # the last of them
            if len(self._seen) > MOST_MESSAGES:
                del self._seen[next(iter(self._seen))]
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more like this were left out)", ()
        return count < self._most
