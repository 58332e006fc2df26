"""Ctrl-C in two steps: the first asks the work to stop in good order, the second ends it at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import NoReturn, TypeAlias

Action: TypeAlias = Callable[[], None]


@contextmanager
def two_step_interrupt(*, at_first: Action | None = None, second_ends_process: bool = False) -> Iterator[Event]:
    """An event that the first Ctrl-C sets, before it calls `at_first`; the second raises `KeyboardInterrupt`.

    With `second_ends_process` the operating system ends the process at the second, as without any handler: also
    inside a library that does not come back to Python, or that breaks where an exception comes out of nowhere. Only
    for the main thread, as signals are. What handled Ctrl-C before does so again afterwards, unless the process is to
    end at the next one.
    """
    stop = Event()

    def on_interrupt(*_: object) -> None:
        if stop.is_set():
            interrupt()
        stop.set()
        if second_ends_process:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.write(2, b"\nStopping; Ctrl-C again stops at once.\n")  # print is not safe in a signal handler
        if at_first is not None:
            at_first()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        if signal.getsignal(signal.SIGINT) is on_interrupt:
            signal.signal(signal.SIGINT, before)


def interrupt() -> NoReturn:
    """Unwind to whoever catches `KeyboardInterrupt`."""
    raise KeyboardInterrupt
