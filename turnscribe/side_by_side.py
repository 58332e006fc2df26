"""Two stages of a request at the same time, the second in a thread and on a CUDA stream of its own.

On the CPU they run one after the other: both keep every core busy, and sharing the cores made a request of 30 s of
audio (Whisper base, ResNet34, two cores) 9.7 s where it takes 9.3 s.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from turnscribe.devices import Device, device_of
from turnscribe.listener import Listener

First = TypeVar("First")
Second = TypeVar("Second")


def side_by_side(
    first: Callable[[Listener], First],
    second: Callable[[Listener], Second],
    *,
    listener: Listener,
    device: str | Device,
) -> tuple[First, Second]:
    """Both results. `first` runs in the caller's thread.

    Each is handed the listener, which also says stop once the other has failed. Raises what the one that failed
    first did, after both have ended.
    """
    runs_on = device_of(device)
    if runs_on.kind != "cuda":
        return first(listener), second(listener)
    failed: list[BaseException] = []
    results: list[Second] = []

    def stop() -> bool:
        return bool(failed) or listener.should_stop()

    listener_of_both = replace(listener, should_stop=stop)

    def run_second() -> None:
        try:
            with runs_on.own_stream():
                results.append(second(listener_of_both))
        except BaseException as error:
            failed.append(error)

    other = threading.Thread(target=contextvars.copy_context().run, args=(run_second,), daemon=True)
    other.start()
    try:
        result = first(listener_of_both)
    except BaseException as error:
        failed.append(error)
    other.join()
    if failed:
        failure = failed[0]
        failed.clear()
        try:
            raise failure
        finally:
            del failure  # it holds this frame, which would hold it and all that the stages worked on
    return result, results[0]
