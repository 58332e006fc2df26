"""The log says what to do, and does not say it a thousand times."""

from __future__ import annotations

import logging

from turnscribe.serving.log_limit import LogLimit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def said(limit: LogLimit, message: str, *values: object, level: int = logging.ERROR) -> str | None:
    """What the log has of it."""
    record = logging.LogRecord("a", level, __file__, 1, message, values, None)
    return record.getMessage() if limit.filter(record) else None


def test_the_same_error_is_said_some_times_a_minute_and_then_how_often() -> None:
    limit = LogLimit(most=3, window_s=60, clock=(clock := Clock()))
    assert [said(limit, "disk %s", number) for number in range(5)] == ["disk 0", "disk 1", "disk 2", None, None]
    assert said(limit, "another %d %%", 1) == "another 1 %"
    clock.now = 59
    assert said(limit, "disk %s", 5) is None
    clock.now = 60
    assert said(limit, "disk %s", "100%") == "disk 100% (3 more like this were left out)"
    assert said(limit, "disk %s", 7) == "disk 7"


def test_lines_that_are_no_warnings_all_pass() -> None:
    limit = LogLimit(most=3)
    assert all(said(limit, "POST /", level=logging.INFO) for _ in range(100))


def test_what_is_remembered_is_bounded() -> None:
    limit = LogLimit(most=3)
    for number in range(5000):
        said(limit, f"of its own {number}")
    assert len(limit._seen) <= 1000
