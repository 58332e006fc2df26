"""What a check is and what it found. A check that breaks is a failed check, and the others go on.

Knows nothing of what is checked, and prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

GB = 10**9

Status = Literal["ok", "warning", "FAILED"]


@dataclass(frozen=True)
class Result:
    """What a check found; `advice` is what to do, empty where all is well."""

    check: str
    status: Status
    detail: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.status:<8} {self.check:<20} {self.detail}" + (f" -> {self.advice}" if self.advice else "")


Check = Callable[[], Result | Iterable[Result]]


def guarded(name: str, check: Check) -> list[Result]:
    """A check that breaks is a failed check, and the others go on."""
    found: list[Result] = []
    try:
        answer = check()
        found += [answer] if isinstance(answer, Result) else answer
    except Exception as error:
        detail = f"the check broke off ({type(error).__name__})"
        found.append(Result(name, "FAILED", detail, "report this line as a bug of the doctor"))
    return found
