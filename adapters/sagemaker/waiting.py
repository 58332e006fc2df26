"""Waiting at AWS: for an endpoint, a transform job or an asynchronous answer, with every change of state shown.

Outlives a few failed looks. Changes nothing, so that a wait may be interrupted and repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from adapters.sagemaker.errors import Refused, is_passing
from turnscribe.cli.endpoints.waiting import PATIENCE, Tell

Answer = TypeVar("Answer")
REMINDER_S = 60  # without a change, that long between two signs of life
THEN = "`describe` shows it, and repeating the command goes on waiting."


def wait_for(
    look: Callable[[], tuple[str, Answer | None]],
    *,
    what: str,
    timeout: float,
    every: float,
    tell: Tell,
    then: str = THEN,
) -> Answer:
    """What `look` answers beside a state, once it answers anything.

    Raises `Refused` after `timeout` seconds; `then` says what becomes of it.
    """
    started, last, last_at, failures = time.monotonic(), "", 0.0, 0
    while True:
        try:
            state, answer = look()
            failures = 0
        except Exception as error:
            failures += 1
            if not is_passing(error) or failures > PATIENCE:
                raise
            state, answer = last, None
        seconds = time.monotonic() - started
        if state != last or seconds - last_at >= REMINDER_S:
            tell(f"{seconds:6.0f} s  {state}")
            last, last_at = state, seconds
        if answer is not None:
            return answer
        if seconds >= timeout:
            raise Refused(f"{what} is not there after {timeout:.0f} s and goes on ({state}): {then}")
        time.sleep(max(0.0, min(every, timeout - seconds)))
