"""Two stages of a request at the same time, each in a thread of its own. Knows nothing of what they do.

On a GPU the second works on a stream of its own. On the CPU they share the cores: each starts with half of torch's
threads, and the one that is left over gets all of them, at its next report of progress.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from turnscribe.stages import Progress

First = TypeVar("First")
Second = TypeVar("Second")
ShouldStop = Callable[[], bool]
Stage = Callable[[Progress, ShouldStop], Any]


def side_by_side(
    first: Callable[[Progress, ShouldStop], First],
    second: Callable[[Progress, ShouldStop], Second],
    *,
    progress: tuple[Progress, Progress],
    should_stop: ShouldStop | None = None,
    device: str = "cpu",
) -> tuple[First, Second]:
    """Both results. `first` runs in the caller's thread.

    Each is handed its progress function and a `should_stop` that is also true once the other has failed. Raises what
    the one that failed first did, after both have ended.
    """
    failed: list[BaseException] = []
    results: dict[str, Any] = {}
    threads = _Threads(device)

    def stop() -> bool:
        return bool(failed) or (should_stop is not None and should_stop())

    def run(name: str, stage: Stage, report: Progress) -> None:
        try:
            with threads.share(), _stream(device if name == "second" else "cpu"):
                results[name] = stage(lambda done: threads.widen_before(report, done), stop)
        except BaseException as error:
            failed.append(error)

    context = contextvars.copy_context()
    other = threading.Thread(
        target=context.run, args=(run, "second", second, progress[1]), name="turnscribe-second", daemon=True
    )
    other.start()
    run("first", first, progress[0])
    other.join()
    threads.restore()
    if failed:
        raise failed[0]
    return results["first"], results["second"]


class _Threads:
    """Torch's threads for each of two stages. `torch.set_num_threads` holds for the thread that calls it."""

    def __init__(self, device: str) -> None:
        import torch

        self._set = torch.set_num_threads
        self._all = torch.get_num_threads()
        self._shared = device == "cpu" and self._all > 1
        self._alone = threading.Event()
        self._here = threading.local()

    @contextmanager
    def share(self) -> Iterator[None]:
        """Half of the threads; at the end the other stage may have them all."""
        try:
            if self._shared:
                self._set(self._all // 2)
            yield
        finally:
            self._alone.set()

    def widen_before(self, report: Progress, done: float) -> None:
        """Report, with all threads from here on where the other stage is over."""
        if self._shared and self._alone.is_set() and not getattr(self._here, "wide", False):
            self._here.wide = True
            self._set(self._all)
        report(done)

    def restore(self) -> None:
        """All threads for the caller."""
        if self._shared:
            self._set(self._all)


def _stream(device: str) -> AbstractContextManager[Any]:
    """A CUDA stream of its own, or nothing."""
    if not device.startswith("cuda"):
        return nullcontext()
    import torch

    return torch.cuda.stream(torch.cuda.Stream())
