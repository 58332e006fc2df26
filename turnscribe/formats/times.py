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


def about(seconds: float) -> str:
    """A time that is left, for people, as exactly as they want to know.

    >>> about(7.4), about(48), about(100), about(1000), about(5000)
    ('8 s', '50 s', '2 min', '17 min', '1 h 23 min')
    """
    if seconds < 10:
        return f"{max(math.ceil(seconds), 1)} s"
    if seconds < 55:
        return f"{5 * math.ceil(seconds / 5)} s"
    minutes = math.ceil(seconds / 60) if seconds < 600 else round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
