"""A bar for what is being fetched, read off the growing files: whoever fetches need not tell."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INTERVAL_SECONDS = 0.3


@contextmanager
def growing(
    folder: Path, name: str, total: int, *, without: str = "", interval: float = INTERVAL_SECONDS
) -> Iterator[None]:
    """Shows how the files in `folder` grow by `total` bytes: on stderr, if that is a terminal, else not at all.

    Folders named `without` do not count.
    """
    from tqdm import tqdm

    if not sys.stderr.isatty():
        with without_hub_bars():
            yield
        return
    before, ended = bytes_in(folder, without), threading.Event()
    with (
        without_hub_bars(),
        tqdm(total=total, desc=name, unit="B", unit_scale=True, unit_divisor=1000, leave=False) as bar,
    ):

        def watch() -> None:
            while not ended.wait(interval):
                bar.update(max(bar.n, min(total, bytes_in(folder, without) - before)) - bar.n)

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join()


@contextmanager
def without_hub_bars() -> Iterator[None]:
    """huggingface_hub shows none of its own bars, of which it has one a file, terminal or not."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def bytes_in(folder: Path, without: str = "") -> int:
    """Of all files below but in folders of that name; those that vanish meanwhile do not count."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() and file.parent.name != without else 0
        except OSError:
            continue
    return total
