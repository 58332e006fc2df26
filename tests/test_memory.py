"""What the handler was given is let go of when its call ends, whatever its end: no collection is waited for."""

from __future__ import annotations

import base64
import gc
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

from handler import EndpointHandler
from tests.test_handler import FakeAsr, handler_with
from turnscribe.asr.protocol import Recognition
from turnscribe.errors import TurnscribeError
from turnscribe.waveform import to_wav

INPUT = 2**21  # bytes
TIMES = 4


def silence() -> bytes:
    return to_wav(np.zeros(INPUT // 2, np.float32))


GIVEN: dict[str, Callable[[], Any]] = {
    "a recording": lambda: {"inputs": silence()},
    "a recording in base64": lambda: {"inputs": base64.b64encode(silence()).decode()},
    "wrong base64": lambda: {"inputs": "A" * (INPUT - 1) + "*"},
    "wrong base64 as bytes": lambda: {"inputs": b"A" * (INPUT - 1) + b"="},
    "no audio": lambda: {"inputs": b"\xff" * INPUT},
    "no audio in base64": lambda: {"inputs": "A" * INPUT},
    "a URL": lambda: {"inputs": "https://x/" + "x" * INPUT},
    "wrong parameters": lambda: {"inputs": silence(), "parameters": {"task": "sing" * INPUT}},
    "a wrong instance": lambda: {"instances": [{"inputs": silence()}, {"inputs": "A" * (INPUT - 1) + "*"}]},
    "inputs of a wrong type": lambda: {"inputs": ["A" * INPUT]},
    "an unknown parameter": lambda: {"inputs": silence(), "parameters": {"colour": "x" * INPUT}},
}


class Failing(FakeAsr):
    def transcribe(self, waveform: Any, *_: Any, **__: Any) -> Recognition:
        raise RuntimeError("a fault")


@pytest.mark.parametrize("what", GIVEN)
def test_an_input_is_let_go_of(what: str) -> None:
    refused = what.startswith(("wrong", "no audio", "a wrong", "a URL", "inputs"))
    assert grown_by(handler_with(FakeAsr()), GIVEN[what], fails=refused) < INPUT // 8


def test_the_input_of_a_call_that_fails_inside_is_let_go_of() -> None:
    assert grown_by(handler_with(Failing()), GIVEN["a recording"], fails=True) < INPUT // 8


def grown_by(handler: EndpointHandler, make: Callable[[], Any], *, fails: bool) -> int:
    """Bytes that are held after some calls, and were not after one."""

    def call() -> None:
        with pytest.raises(TurnscribeError) if fails else nullcontext():
            handler(make())

    call()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(TIMES):
            call()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
