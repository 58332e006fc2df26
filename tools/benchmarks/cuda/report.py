"""What came out so far, as JSON and Markdown. Written anew after every row, so that what breaks off loses nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Row:
    """One figure, or one answer to a question of yes or no."""

    section: str
    name: str
    batch: int | None = None
    seconds: float | None = None  # the median of the rounds
    times_real_time: float | None = None
    gigabytes: float | None = None  # of the device's memory at most, beside the weights; of a start, with them
    passed: bool | None = None  # of what is checked
    note: str = ""


@dataclass
class Report:
    """The rows of one run; `folder` gets `cuda.json` and `cuda.md`."""

    about: Mapping[str, Any]
    folder: Path | None
    rows: list[Row] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    complete: bool = False

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row.passed is False]

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.write()

    def leave_out(self, name: str, why: str) -> None:
        self.left_out.append(f"{name}: {why}")
        self.write()

    def finish(self) -> None:
        self.complete = True
        self.write()

    def write(self) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = {
            "about": dict(self.about),
            "complete": self.complete,
            "rows": [asdict(row) for row in self.rows],
            "left_out": self.left_out,
        }
        for name, text in (("cuda.json", json.dumps(whole, indent=1) + "\n"), ("cuda.md", self.markdown())):
            partial = self.folder / f"{name}.partial"
            partial.write_text(text)
            partial.replace(self.folder / name)

    def markdown(self) -> str:
        lines = ["# A GPU's figures", "", ", ".join(f"{name} {value}" for name, value in self.about.items()) + "."]
        for section in dict.fromkeys(row.section for row in self.rows):
            rows = [row for row in self.rows if row.section == section]
            lines += ["", f"## {section}", ""]
            lines += ["| | batch | s | times real time | GB | passed | |", "|---|---|---|---|---|---|---|"]
            lines += [
                f"| {row.name} | {_cell(row.batch)} | {_cell(row.seconds, '.4f')} | "
                f"{_cell(row.times_real_time, '.0f')} | {_cell(row.gigabytes, '.2f')} | "
                f"{'' if row.passed is None else 'yes' if row.passed else '**no**'} | {row.note} |"
                for row in rows
            ]
        if self.left_out:
            lines += ["", "## Left out", "", *(f"- {one}" for one in self.left_out)]
        if not self.complete:
            lines += ["", "The run has not come to its end."]
        return "\n".join(lines) + "\n"


def _cell(value: float | None, form: str = "") -> str:
    return "" if value is None else format(value, form)
