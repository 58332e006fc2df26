"""What a soak has measured, as a table and as JSON."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tools.load_test.watch import Sample

HEAD = ("request", "answered", "p50 s", "p95 s", "longest s")


@dataclass
class Figures:
    """Filled by the clients' threads."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    interrupted: int = 0
    failures: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def requests(self) -> int:
        return sum(map(len, list(self.seconds.values())))

    def note(self, kind: str, seconds: float) -> None:
        with self._lock:
            self.seconds[kind].append(seconds)

    def note_interrupted(self) -> None:
        with self._lock:
            self.interrupted += 1

    def fail(self, sentence: str) -> None:
        with self._lock:
            self.failures.append(sentence)

    def rows(self) -> list[dict[str, Any]]:
        with self._lock:
            return [
                {
                    "request": kind,
                    "answered": len(seconds),
                    **{f"p{share}_s": round(quantile(seconds, share), 3) for share in (50, 95)},
                    "longest_s": round(max(seconds), 3),
                }
                for kind, seconds in sorted(self.seconds.items())
            ]


def quantile(values: Sequence[float], share: int) -> float:
    """The smallest value that `share` percent of all do not exceed.

    >>> quantile([3, 1, 2, 4], 50), quantile([3, 1, 2, 4], 95)
    (2, 4)
    """
    ordered = sorted(values)
    return ordered[max(-(-len(ordered) * share // 100), 1) - 1]


def about_process(samples: Sequence[Sample]) -> dict[str, Any]:
    """First, last and largest of what the server held."""
    if not samples:
        return {}
    held: dict[str, Any] = {}
    for name in ("memory_mib", "threads", "descriptors"):
        values = [getattr(sample, name) for sample in samples]
        held[name] = {"first": values[0], "last": values[-1], "max": max(values)}
    return held


def table(rows: Sequence[dict[str, Any]], counts: dict[str, Any], held: dict[str, Any]) -> str:
    """As Markdown: the requests by kind, then everything else."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    lines += [
        f"| {row['request']} | {row['answered']} | {row['p50_s']:.2f} | {row['p95_s']:.2f} | {row['longest_s']:.2f} |"
        for row in rows
    ]
    lines += ["", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in counts.items()]
    for name, values in held.items():
        lines.append(
            f"| {name.replace('_mib', ', MiB')}: first, last, max | {', '.join(map(str, values.values()))} |"
        )
    return "\n".join(lines)


def as_json(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    return [asdict(sample) for sample in samples]


def of_states(states: Counter[str], lost: int) -> dict[str, int]:
    """Jobs by what became of them."""
    named = {name: states.get(name, 0) for name in ("done", "deleted", "maybe deleted")}
    return {"accepted": sum(states.values()), **named, "lost": lost}
