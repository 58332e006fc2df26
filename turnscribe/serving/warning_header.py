"""What there was to say about a request, in a header where the answer is plain text."""

from __future__ import annotations

from collections.abc import Iterable

WARNING_HEADER = "X-Turnscribe-Warning"
LONGEST = 1000  # characters: proxies take headers of 4 to 8 kB, all of them together


def warning_headers(warnings: Iterable[str]) -> dict[str, str]:
    """One line of ASCII, cut where it is long; no header without a warning."""
    text = " ".join(warnings).encode("ascii", "backslashreplace").decode()
    line = "".join(character if character.isprintable() else " " for character in text)
    if len(line) > LONGEST:
        line = line[: LONGEST - 3] + "..."
    return {WARNING_HEADER: line} if line else {}
