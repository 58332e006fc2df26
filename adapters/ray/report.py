"""How far the job is: the manifest with every entry, and a line or a bar for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from tqdm import tqdm

from turnscribe.bulk.manifest import REPORT, Entry, summary, to_text
from turnscribe.bulk.pace import Pace
from turnscribe.bulk.places import PlaceError, absolute, join, shown, write
from turnscribe.files import printable
from turnscribe.formats.times import about

REPORT_SECONDS = 5.0  # between two writings at least, and twenty times as long as one takes
LINE_SECONDS = 10.0  # between lines, where there is no terminal
COLUMNS = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} files [{elapsed}{postfix}]"


class Report:
    """The entries of a job, written when it begins, now and then, and however it ends.

    `others`, of earlier jobs with the same output, stay in what is written and are not counted.
    """

    def __init__(self, entries: Sequence[Entry], output: str, *, others: Sequence[Entry] = ()) -> None:
        self.others = others
        self.entries = {entry.uri: entry for entry in entries}
        self.place = join(absolute(output), REPORT)
        ended = sum(entry.status is not None for entry in entries)
        self.bar = tqdm(total=len(entries), initial=ended, unit="file", disable=None, bar_format=COLUMNS)
        self.began = time.monotonic()
        self.done: list[int] = []  # sizes, of those that ended since
        self.next_write = self.next_line = 0.0

    def __enter__(self) -> Report:
        """Raises `PlaceError` where nothing can be written."""
        self._write()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.close()
        self._write()

    def ended(self, entry: Entry) -> None:
        self.entries[entry.uri] = entry
        self.done.append(entry.size)
        if left := self.left():
            self.bar.set_postfix_str(left, refresh=False)
        self.bar.update()
        if entry.status == "failed":
            self.show(f"failed: {shown(entry.uri)}: {entry.error}")
        now = time.monotonic()
        if now >= self.next_write:
            try:
                self._write()
            except PlaceError as error:  # the next one may be written
                self.show(f"warning: {error}")
        if self.bar.disable and now >= self.next_line:
            self.next_line = now + LINE_SECONDS
            ended = sum(entry.status is not None for entry in self.entries.values())
            left = self.left()
            self.show(f"{ended} of {len(self.entries)}{f', {left}' if left else ''}: {self.summary()}")

    def left(self) -> str:
        """How long the others will take, in words, once that can be told; they go on as before, many at once."""
        elapsed = time.monotonic() - self.began
        if elapsed < LINE_SECONDS:
            return ""
        pace, each = Pace(), elapsed / max(len(self.done), 1)
        for size in self.done:
            pace.add(size, each)
        seconds = pace.seconds(*(entry.size for entry in self.entries.values() if entry.status is None))
        return f"about {about(seconds)} left" if seconds else ""

    def show(self, text: str) -> None:
        self.bar.write(printable(text), file=sys.stderr)
        sys.stderr.flush()

    def summary(self) -> str:
        return summary(list(self.entries.values()))

    @property
    def failed(self) -> bool:
        return any(entry.status == "failed" for entry in self.entries.values())

    def _write(self) -> None:
        began = time.monotonic()
        write(self.place, to_text([*self.entries.values(), *self.others]))
        now = time.monotonic()
        self.next_write = now + max(REPORT_SECONDS, 20 * (now - began))
