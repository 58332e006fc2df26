"""Where somebody speaks in a recording."""
from __future__ import annotations
from dataclasses import dataclass
from typing import NamedTuple
class Stretch(NamedTuple):
    start: float
    end: float
@dataclass(frozen=True)
class SpeechMap:
    stretches: tuple[Stretch, ...]
    duration: float
    @property
    def seconds(self) -> float:
        return sum(s.end - s.start for s in self.stretches)
