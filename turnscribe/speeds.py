"""How fast a machine is at the stages of a request: seconds of work for a second of audio, as seen so far.

`how` says by what a stage is done, its models and its device: what was seen of one tells nothing of another. Rates
differ with the length of a recording too, as more windows share a pass: those of similar lengths count most.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from turnscribe.files import write_whole

MOST_SEEN = 8  # of a stage done one way: what was long ago was perhaps another machine's
MOST_KEPT = 100  # ways
FADING = 0.8  # the weight of what was seen once more before, beside the next
VERSION = 1  # of the file


@dataclass(frozen=True)
class Expected:
    """Seconds that a stage will take; `seen` where that was seen here, and is no guess.

    A guess that is right on some other machine `tells` how fast this one is.
    """

    seconds: float
    seen: bool
    tells: bool = False


class Speeds:
    """What was seen of each stage; may be used by several threads."""

    def __init__(self, seen: Mapping[str, list[tuple[float, float]]] | None = None) -> None:
        self._seen = {key: list(pairs) for key, pairs in (seen or {}).items()}  # audio and work, in seconds
        self._lock = threading.Lock()

    def expect(self, stage: str, how: str, audio: float, *, guess: float, tells: bool = False) -> Expected:
        """What `audio` seconds will take; without anything seen, `guess` seconds for each of them, which `tells`."""
        with self._lock:
            pairs = list(self._seen.get(_key(stage, how), ()))
        if not pairs or audio <= 0:
            return Expected(guess * max(audio, 0.0), bool(pairs), tells)
        weights = [
            FADING**age * math.exp(-abs(math.log(audio / known))) for age, (known, _) in enumerate(reversed(pairs))
        ]
        rates = [work / known for known, work in reversed(pairs)]
        rate = sum(weight * rate for weight, rate in zip(weights, rates, strict=True)) / sum(weights)
        return Expected(rate * audio, True)

    def add(self, stage: str, how: str, audio: float, work: float) -> None:
        """A stage has taken `work` seconds for `audio` seconds."""
        if audio <= 0 or not math.isfinite(work):
            return
        with self._lock:
            pairs = self._seen.pop(_key(stage, how), [])
            self._seen[_key(stage, how)] = [*pairs, (audio, work)][-MOST_SEEN:]  # behind all others
            for key in list(self._seen)[:-MOST_KEPT]:
                del self._seen[key]

    @staticmethod
    def read(path: Path) -> Speeds:
        """What an earlier process has written; nothing where there is no such file, or another's."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["version"] != VERSION:
                return Speeds()
            seen = {str(key): [_pair(*pair) for pair in pairs] for key, pairs in stored["speeds"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return Speeds()
        return Speeds({key: pairs for key, pairs in seen.items() if pairs})

    def write(self, path: Path) -> None:
        """For a later process. Raises `OSError`."""
        with self._lock:
            seen = {key: [(round(audio, 3), round(work, 4)) for audio, work in p] for key, p in self._seen.items()}
        write_whole(path, json.dumps({"version": VERSION, "speeds": seen}, indent=1) + "\n")


def _key(stage: str, how: str) -> str:
    return f"{stage}: {how}"


def _pair(audio: object, work: object) -> tuple[float, float]:
    if not (isinstance(audio, int | float) and isinstance(work, int | float) and audio > 0 <= work):
        raise ValueError("no seconds of audio and of work")
    return float(audio), float(work)
