"""A bar for people: which file, what is being done, and how long all of them will take yet."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from turnscribe.bulk.pace import Pace
from turnscribe.files import printable
from turnscribe.formats.times import about
from turnscribe.listener import Estimate, Listener, ShouldStop

STAGES = {  # as the answer's timings name them
    "decode": "reading the file",
    "speech": "finding speech",
    "asr": "transcribing",
    "diarization": "telling speakers apart",
}
COLUMNS = "{percentage:3.0f}%|{bar:20}| {desc}"


class ProgressBar:
    """Of some files, one after the other: on stderr, if that is a terminal, and not where it is to be `quiet`."""

    def __init__(self, sources: Sequence[Path], *, quiet: bool = False) -> None:
        self._sizes = {source: _size(source) for source in sources}
        self._to_come = list(sources)
        self._bar = tqdm(total=1.0, bar_format=COLUMNS, disable=True if quiet else None, leave=False)
        self._pace = Pace()
        self._began = self._file_began = time.monotonic()
        self._source: Path | None = None
        self._name_of_file = self._stage = ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()

    def begin(self, source: Path) -> None:
        """The next file."""
        self._to_come.remove(source)
        self._source, self._stage, self._file_began = source, "", time.monotonic()
        number, of = len(self._sizes) - len(self._to_come), len(self._sizes)
        self._name_of_file = f"{printable(source.name)} ({number}/{of})"
        self._bar.set_description_str(self._name_of_file)

    def listener(self, should_stop: ShouldStop) -> Listener:
        """For the file that was begun."""
        return Listener(should_stop=should_stop, on_stage=self._begin_stage, on_estimate=self._show)

    def end(self, *, transcribed: bool) -> None:
        """The file is over; only one that was transcribed tells how long others will take."""
        assert self._source is not None
        size = self._sizes[self._source]
        if transcribed:
            self._pace.add(size, time.monotonic() - self._file_began)
        self._show(Estimate(1.0, 0.0))

    def write(self, text: str, *, end: str = "\n", to_stdout: bool = False) -> None:
        """Above the bar."""
        tqdm.write(text, end=end, file=sys.stdout if to_stdout else sys.stderr)

    def _begin_stage(self, stage: str) -> None:
        self._stage = STAGES.get(stage, stage)

    def _show(self, estimate: Estimate) -> None:
        now = time.monotonic()
        assert self._source is not None
        pace, others = Pace(), [self._sizes[source] for source in self._to_come]
        pace.add(self._sizes[self._source], now - self._file_began + estimate.remaining)
        rest = self._pace.seconds(*others)
        if rest is None:  # it is the first: they will take as long as it
            rest = pace.seconds(*others) or 0.0
        remaining = estimate.remaining + rest
        share = (now - self._began) / max(now - self._began + remaining, 1e-9)
        left = f"about {about(remaining)} left" if remaining else ""
        self._bar.set_description_str(", ".join(filter(None, [self._name_of_file, self._stage, left])), refresh=False)
        self._bar.update(max(share - self._bar.n, 0.0))
        self._bar.refresh()


def _size(source: Path) -> int:
    try:
        return source.stat().st_size if source.is_file() else 0
    except OSError:
        return 0
