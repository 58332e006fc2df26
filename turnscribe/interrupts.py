"""Ctrl-C in two steps: the first asks the work to stop in good order, the second ends it at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import TypeAlias

Action: TypeAlias = Callable[[], None]


@contextmanager
def two_step_interrupt(*, at_first: Action | None = None, at_second: Action | None = None) -> Iterator[Event]:
    """An event that the first Ctrl-C sets, before it calls `at_first`. The second calls `at_second`.

    By default the first only sets the event, and the second raises `KeyboardInterrupt`. Only for the main thread, as
    signals are. What handled Ctrl-C before does so again afterwards.
    """
    stop = Event()

    def on_interrupt(*_: object) -> None:
        if stop.is_set():
            (at_second or interrupt)()
            return
        stop.set()
        os.write(2, b"\nStopping; Ctrl-C again stops at once.\n")  # print is not safe in a signal handler
        if at_first is not None:
            at_first()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        if signal.getsignal(signal.SIGINT) is on_interrupt:
            signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    """Unwind to whoever catches `KeyboardInterrupt`."""
    raise KeyboardInterrupt


def end_process() -> None:
    """End this process as an unhandled Ctrl-C does, whatever it is doing."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
