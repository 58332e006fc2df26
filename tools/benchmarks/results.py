"""What a benchmark has measured so far: a JSON file, tables and plots. Measures nothing.

The file is written after every measurement and read at the start, so a benchmark that was interrupted goes on.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "pyannote.audio", "faster-whisper", "ctranslate2", "openai-whisper")


@dataclass
class Series:
    """One candidate under one setting; `settings` are what plots and tables sort by."""

    name: str
    settings: dict[str, Any]
    seconds: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def key(self) -> str:
        return json.dumps([self.name, self.settings], sort_keys=True)


class Results:
    """The series in `file`; those of an earlier run under the same `about` are kept."""

    def __init__(self, file: Path, about: dict[str, Any]) -> None:
        self.file, self.about = file, {**about, **machine()}
        self.series: dict[str, Series] = {}
        if file.is_file():
            written = json.loads(file.read_text())
            if written["about"] == json.loads(json.dumps(self.about)):
                for entry in written["series"]:
                    one = Series(**entry)
                    self.series[one.key] = one

    def of(self, name: str, **settings: Any) -> Series:
        """The series of that name and setting, empty where it is new."""
        one = Series(name, settings)
        return self.series.setdefault(one.key, one)

    def write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        contents = {"about": self.about, "series": [vars(one) for one in self.series.values() if one.seconds]}
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(contents, indent=1) + "\n")
        partial.replace(self.file)

    def table(self, settings: Sequence[str], *, reference: str) -> str:
        """Medians, and how many times as fast as the series of that name each is, as Markdown."""
        lines = ["| | " + " | ".join(settings) + " | s | runs | times as fast |", "|---" * (len(settings) + 4) + "|"]
        for one in self.series.values():
            if not one.seconds:
                continue
            same = self.series.get(Series(reference, one.settings).key)
            ratio = f"{same.median / one.median:.2f}" if same and same.seconds else ""
            cells = [str(one.settings.get(name, "")) for name in settings]
            facts = ", ".join(f"{name} {value}" for name, value in one.facts.items())
            label = f"{one.name} ({facts})" if facts else one.name
            lines.append(f"| {label} | {' | '.join(cells)} | {one.median:.2f} | {len(one.seconds)} | {ratio} |")
        return "\n".join(lines)

    def plot(self, over: str, label: str, file: Path) -> bool:
        """Median seconds over one setting, a line a name; `False` where there is nothing to draw or to draw with."""
        try:
            import matplotlib
        except ImportError:
            return False
        matplotlib.use("Agg")
        from matplotlib import pyplot

        lines: dict[str, list[tuple[float, float]]] = {}
        for one in self.series.values():
            if one.seconds and isinstance(one.settings.get(over), int | float):
                lines.setdefault(one.name, []).append((one.settings[over], one.median))
        if not any(len(points) > 1 for points in lines.values()):
            return False
        figure, axes = pyplot.subplots(figsize=(8, 5))
        for name, points in lines.items():
            points.sort()
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.set(xlabel=label, ylabel="seconds (median)", xlim=(0, None), ylim=(0, None))
        axes.legend()
        axes.grid(alpha=0.3)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=100, bbox_inches="tight")
        pyplot.close(figure)
        return True


def machine() -> dict[str, Any]:
    """Processor, cores, device and versions."""
    import torch

    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"processor": _processor(), "threads": torch.get_num_threads(), "gpu": device, "versions": versions}


def _processor() -> str:
    if sys.platform == "linux" and os.path.exists("/proc/cpuinfo"):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
