from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from tools.fake_gpu import FakeGpu
from turnscribe.devices import Device
from turnscribe.listener import SILENT, Listener
from turnscribe.side_by_side import side_by_side

WAIT = 10.0  # seconds until a test gives up


def stream(gpu: Device) -> object:
    """What this thread's work is queued in."""
    if isinstance(gpu, FakeGpu):
        return gpu.streams.get(threading.current_thread().name)
    import torch

    return torch.cuda.current_stream().cuda_stream


def test_on_a_gpu_both_run_at_the_same_time_and_both_results_come_back(gpu: Device) -> None:
    here, there = threading.Event(), threading.Event()
    streams = [stream(gpu)]

    def first(listener):
        here.set()
        assert there.wait(WAIT)
        return threading.current_thread()

    def second(listener):
        there.set()
        assert here.wait(WAIT)
        streams.append(stream(gpu))
        return "second"

    ran_in, other = side_by_side(first, second, listener=SILENT, device=gpu)
    assert ran_in is threading.current_thread()
    assert other == "second"
    assert streams[1] not in (streams[0], None)
    assert stream(gpu) == streams[0]


def test_on_a_cpu_one_follows_the_other() -> None:
    order: list[str] = []
    side_by_side(lambda _: order.append("first"), lambda _: order.append("second"), listener=SILENT, device="cpu")
    assert order == ["first", "second"]


@pytest.mark.parametrize("failing", [0, 1])
def test_one_failure_stops_the_other_and_is_raised(failing: int, gpu: Device) -> None:
    stopped = threading.Event()

    def fails(listener):
        raise ValueError("the first thing that went wrong")

    def goes_on(listener):
        until = time.monotonic() + WAIT
        while not listener.should_stop() and time.monotonic() < until:
            time.sleep(0.001)
        stopped.set()
        raise RuntimeError("stopped")

    stages = (fails, goes_on) if failing == 0 else (goes_on, fails)
    with pytest.raises(ValueError, match="first thing"):
        side_by_side(*stages, listener=SILENT, device=gpu)
    assert stopped.is_set()


def test_the_callers_wish_to_stop_reaches_both(gpu: Device) -> None:
    def wish(listener):
        return listener.should_stop()

    for device in (gpu, "cpu"):
        wishes = side_by_side(wish, wish, listener=Listener(should_stop=lambda: True), device=device)
        assert wishes == (True, True)


def test_what_the_stages_worked_on_goes_with_the_error(gpu: Device) -> None:
    held = []

    def fails(listener):
        payload = type("Payload", (), {})()
        held.append(weakref.ref(payload))
        raise ValueError("wrong")

    gc.disable()
    try:
        with pytest.raises(ValueError, match="wrong"):
            side_by_side(fails, fails, listener=SILENT, device=gpu)
        assert len(held) == 2
        assert not any(reference() for reference in held)
    finally:
        gc.enable()
