"""Which way steps are taken, with a clock and threads that are none."""

from __future__ import annotations

from itertools import pairwise

import pytest

from turnscribe.engine.step_threads import LATEST_TRY, StepThreads


class Machine:
    """Whose step takes `seconds` by the number of threads."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds
        self.now, self.threads = 0.0, 0
        self.taken: list[int] = []

    def set_threads(self, threads: int) -> None:
        self.threads = threads

    def steps(self, threads: StepThreads, count: int) -> list[int]:
        """With how many threads each was taken."""
        before = len(self.taken)
        for _ in range(count):
            with threads.step():
                self.taken.append(self.threads)
                self.now += self.seconds[self.threads]
        return self.taken[before:]


def made(seconds: dict[int, float]) -> tuple[Machine, StepThreads]:
    machine = Machine(seconds)
    return machine, StepThreads(2, machine.set_threads, lambda: machine.now)


def test_on_a_quiet_machine_all_threads_are_used_and_tries_get_rare() -> None:
    machine, threads = made({1: 1.5, 2: 1.0})
    taken = machine.steps(threads, 1000)
    assert taken[:3] == [2, 2, 1]
    tries = [index for index, one in enumerate(taken) if one == 1]
    assert len(tries) < 25
    assert max(b - a for a, b in pairwise(tries)) == LATEST_TRY + 1
    assert machine.threads == 2  # for whatever comes after a step


def test_beside_a_busy_program_one_thread_goes_on_until_it_is_quiet_again() -> None:
    machine, threads = made({1: 1.5, 2: 3.0})
    assert machine.steps(threads, 20)[3:].count(1) > 13
    machine.seconds = {1: 1.5, 2: 1.0}
    machine.steps(threads, LATEST_TRY + 2)
    assert threads.chosen == 2
    machine.seconds = {1: 1.5, 2: 3.0}
    machine.steps(threads, LATEST_TRY + 2)
    assert threads.chosen == 1


def test_what_is_not_much_sooner_changes_nothing() -> None:
    machine, threads = made({1: 0.9, 2: 1.0})
    machine.steps(threads, 100)
    assert threads.chosen == 2


def test_one_core_has_nothing_to_choose() -> None:
    machine = Machine({0: 1.0})
    machine.steps(StepThreads(1, machine.set_threads, lambda: machine.now), 10)
    assert machine.taken == [0] * 10


def test_a_step_that_fails_leaves_all_threads() -> None:
    machine, threads = made({1: 1.5, 2: 1.0})
    machine.steps(threads, 2)

    def fail() -> None:
        with threads.step():
            assert machine.threads == 1
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert machine.threads == 2
    assert threads.chosen == 2
