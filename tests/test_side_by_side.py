from __future__ import annotations

import threading
import time

import pytest
import torch

from turnscribe.side_by_side import side_by_side

WAIT = 10.0  # seconds until a test gives up


def nothing(done: float) -> None:
    pass


def test_both_run_at_the_same_time_and_both_results_come_back() -> None:
    here, there = threading.Event(), threading.Event()

    def first(report, stop):
        here.set()
        assert there.wait(WAIT)
        return threading.current_thread()

    def second(report, stop):
        there.set()
        assert here.wait(WAIT)
        return "second"

    ran_in, other = side_by_side(first, second, progress=(nothing, nothing))
    assert ran_in is threading.current_thread()
    assert other == "second"


@pytest.mark.parametrize("failing", [0, 1])
def test_one_failure_stops_the_other_and_is_raised(failing: int) -> None:
    stopped = threading.Event()

    def fails(report, stop):
        raise ValueError("the first thing that went wrong")

    def goes_on(report, stop):
        until = time.monotonic() + WAIT
        while not stop() and time.monotonic() < until:
            time.sleep(0.001)
        stopped.set()
        raise RuntimeError("stopped")

    stages = (fails, goes_on) if failing == 0 else (goes_on, fails)
    with pytest.raises(ValueError, match="first thing"):
        side_by_side(*stages, progress=(nothing, nothing))
    assert stopped.is_set()


def test_the_callers_wish_to_stop_reaches_both() -> None:
    result = side_by_side(
        lambda report, stop: stop(),
        lambda report, stop: stop(),
        progress=(nothing, nothing),
        should_stop=lambda: True,
    )
    assert result == (True, True)


def test_each_reports_to_its_own() -> None:
    seen: dict[str, float] = {}
    side_by_side(
        lambda report, stop: report(0.25),
        lambda report, stop: report(0.75),
        progress=(lambda done: seen.update(first=done), lambda done: seen.update(second=done)),
    )
    assert seen == {"first": 0.25, "second": 0.75}


def test_the_cores_are_shared_until_one_is_done_and_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    over = threading.Event()
    try:

        def long(report, stop):
            shared = torch.get_num_threads()
            assert over.wait(WAIT)
            until = time.monotonic() + WAIT
            while torch.get_num_threads() == shared and time.monotonic() < until:
                report(0.5)
            return shared, torch.get_num_threads()

        def short(report, stop):
            over.set()
            return torch.get_num_threads()

        for stages in ((long, short), (short, long)):
            over.clear()
            results = side_by_side(*stages, progress=(nothing, nothing))
            assert sorted(results, key=str) == [(2, 4), 2]
            assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
