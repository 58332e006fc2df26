"""Which way steps are taken, with a clock and threads that are none."""

from __future__ import annotations

from itertools import pairwise

import pytest

from turnscribe.engine.step_threads import LATEST_TRY, StepThreads


class Machine:
    """Whose step takes `seconds` by the number of threads; to change that takes `change` seconds."""

    def __init__(self, seconds: dict[int, float], *, change: float = 0.0, threads: int = 2) -> None:
        self.seconds, self.change = seconds, change
        self.now, self.threads = 0.0, threads
        self.taken: list[int] = []
        self.steps_of = StepThreads(
            clock=lambda: self.now, threads=lambda: self.threads, set_threads=self.set_threads
        )

    def set_threads(self, threads: int) -> None:
        self.now += self.change
        self.threads = threads

    def steps(self, count: int, work: object = "a", times: float = 1.0) -> list[int]:
        """With how many threads each was taken."""
        before = len(self.taken)
        for _ in range(count):
            with self.steps_of.step(work):
                self.taken.append(self.threads)
                self.now += self.seconds[self.threads] * times
        return self.taken[before:]


def test_on_a_quiet_machine_all_threads_are_used_and_tries_get_rare() -> None:
    machine = Machine({1: 1.5, 2: 1.0})
    taken = machine.steps(1000)
    assert taken[:3] == [2, 2, 1]
    tries = [index for index, one in enumerate(taken) if one == 1]
    assert len(tries) < 25
    assert max(b - a for a, b in pairwise(tries)) == LATEST_TRY + 1
    assert machine.threads == 2  # for whatever comes after a step


def test_beside_a_busy_program_one_thread_goes_on_until_it_is_quiet_again() -> None:
    machine = Machine({1: 1.5, 2: 3.0})
    assert machine.steps(20)[3:].count(1) > 13
    machine.seconds = {1: 1.5, 2: 1.0}
    machine.steps(LATEST_TRY + 2)
    assert not machine.steps_of.alone
    machine.seconds = {1: 1.5, 2: 3.0}
    machine.steps(LATEST_TRY + 2)
    assert machine.steps_of.alone


def test_what_is_not_much_sooner_changes_nothing() -> None:
    machine = Machine({1: 0.9, 2: 1.0})
    machine.steps(100)
    assert not machine.steps_of.alone


def test_steps_that_have_less_to_do_are_not_held_against_others() -> None:
    machine = Machine({1: 1.5, 2: 1.0})
    for work in range(50):
        machine.steps(2, work, times=50 - work)
    assert not machine.steps_of.alone


def test_one_core_has_nothing_to_choose_and_a_dear_change_is_not_made() -> None:
    for machine in (Machine({1: 1.0}, threads=1), Machine({1: 1.0, 2: 3.0}, change=0.02)):
        machine.steps(10)
        assert set(machine.taken) == {machine.threads}


def test_a_step_that_fails_leaves_as_many_threads_as_there_were() -> None:
    machine = Machine({1: 1.5, 2: 1.0})
    machine.steps(2)

    def fail() -> None:
        with machine.steps_of.step("a"):
            assert machine.threads == 1
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert machine.threads == 2
    assert not machine.steps_of.alone
