"""Seconds as formats write them."""

from __future__ import annotations

import math


def timestamp(seconds: float, *, separator: str = ".") -> str:
    """`HH:MM:SS` and milliseconds, rounded to the nearest; a negative time is 0, hours grow past 99.

    >>> timestamp(59.9996, separator=",")
    '00:01:00,000'
    """
    minutes, ms = divmod(milliseconds(seconds), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}{separator}{ms % 1000:03d}"


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, rounded to the nearest, never negative. Source of every time written below."""
    assert math.isfinite(seconds), "times inside a transcript are finite"
    return max(0, round(seconds * 1000))
