from __future__ import annotations

import threading
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnscribe.listener import Estimate, Listener
from turnscribe.speeds import Expected
from turnscribe.stages import Stages


class Clock:
    """Stands still until told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("turnscribe.stages.time", SimpleNamespace(perf_counter=lambda: self.now))


# --- timings --------------------------------------------------------------------------------------------------


def test_stages_are_timed_and_the_total_holds_what_lies_between(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    stages = Stages()
    for name, seconds in (("decode", 0.5), ("asr", 2.0), ("asr", 1.0)):
        with stages.timed(name):
            clock.now += seconds
        clock.now += 0.25
    assert stages.timings() == {"decode": 0.5, "asr": 3.0, "total": 4.25}


def test_a_stage_is_named_as_it_begins_and_when_one_beside_it_has_ended() -> None:
    seen: list[str] = []
    stages = Stages(Listener(on_stage=seen.append))
    with stages.timed("asr"):
        assert seen == ["asr"]
        with stages.timed("diarization"):
            assert seen == ["asr", "diarization"]
        assert seen == ["asr", "diarization", "asr"], "what still runs"


def test_a_stage_is_named_once_as_it_ends_also_where_it_fails() -> None:
    seen: list[str] = []
    listener = Listener(on_stage=lambda stage: seen.append(f"{stage} begins"), on_stage_end=seen.append)
    stages = Stages(listener)

    def fail() -> None:
        with stages.timed("asr"):
            with stages.timed("diarization"):
                pass
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert seen == ["asr begins", "diarization begins", "diarization", "asr begins", "asr"]


def test_a_stage_that_raises_is_timed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    stages = Stages()

    def fail() -> None:
        clock.now += 1.5
        raise RuntimeError

    with pytest.raises(RuntimeError), stages.timed("decode"):
        fail()
    assert stages.timings() == {"decode": 1.5, "total": 1.5}


def test_real_time_adds_up() -> None:
    stages = Stages()
    with stages.timed("decode"):
        sum(range(10_000))
    with stages.timed("asr"):
        sum(range(10_000))
    timings = stages.timings()
    assert list(timings) == ["decode", "asr", "total"]
    assert timings["total"] >= max(timings["decode"], timings["asr"]) >= 0


# --- progress -------------------------------------------------------------------------------------------------


def planned(seen: list[Estimate], shares: list[float] | None = None) -> Stages:
    """Six seconds of text and then four of speakers, as was seen before."""
    shares = [] if shares is None else shares
    stages = Stages(Listener(on_progress=shares.append, on_estimate=seen.append))  # not entered: no thread tells
    stages.plan({"asr": Expected(6.0, True)}, {"diarization": Expected(4.0, True)})
    return stages


def test_as_expected_the_share_is_that_of_the_time_and_what_is_left_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen, shares = Clock(monkeypatch), list[Estimate](), list[float]()
    stages = planned(seen, shares)
    for stage, seconds in (("asr", 6), ("diarization", 4)):
        with stages.timed(stage):
            report = stages.part(stage)
            for second in range(1, seconds + 1):
                clock.now += 1
                report(second / seconds)
    assert all(earlier < later for earlier, later in pairwise(shares))
    assert [estimate.remaining for estimate in seen] == pytest.approx([10 - 10 * one.share for one in seen], abs=0.5)
    assert seen[-1] == Estimate(1.0, 0.0)
    assert shares[-1] == 1.0


def test_progress_never_goes_back_where_less_is_done_than_was_thought(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen, shares = Clock(monkeypatch), list[Estimate](), list[float]()
    stages = planned(seen, shares)
    with stages.timed("asr"):
        report = stages.part("asr")
        for done in (0.5, 0.51, 0.52, 0.51, float("nan"), -1.0):
            clock.now += 3
            report(done)
    assert all(earlier < later for earlier, later in pairwise(shares))
    assert all(earlier.share <= later.share for earlier, later in pairwise(seen))
    assert seen[2].remaining > seen[1].remaining


def test_nothing_is_told_before_it_is_known_what_is_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen = Clock(monkeypatch), list[Estimate]()
    stages = Stages(Listener(on_estimate=seen.append))
    with stages.timed("decode"):
        clock.now += 1
    assert seen == []


def test_two_halves_of_a_stage_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen = Clock(monkeypatch), list[Estimate]()
    stages = planned(seen)
    with stages.timed("asr"):
        for half in (stages.part("asr", 0.0, 0.5), stages.part("asr", 0.5, 1.0)):
            for done in (0.5, 1.0):
                clock.now += 1.5
                half(done)
    assert [round(estimate.remaining, 2) for estimate in seen[:3]] == [8.5, 7.0, 5.5]


def test_somebody_who_listens_is_told_while_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnscribe.stages.TELL_EVERY", 0.01)
    told, seen = threading.Event(), list[Estimate]()

    def note(estimate: Estimate) -> None:
        seen.append(estimate)
        told.set()

    with Stages(Listener(on_estimate=note)) as stages:
        stages.plan({"asr": Expected(60.0, True)})
        with stages.timed("asr"):
            assert told.wait(10)
    count = len(seen)
    time.sleep(0.05)
    assert len(seen) == count, "and never after the request"
    assert 0 < seen[0].remaining <= 60


def test_nobody_has_to_listen() -> None:
    with Stages() as stages:
        stages.plan({"asr": Expected(1.0, False)})
        with stages.timed("asr"):
            stages.part("asr")(0.5)
            assert not [thread for thread in threading.enumerate() if thread.name == "estimates"]


@pytest.mark.property
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(), st.floats(0, 100)), max_size=30))
def test_whatever_the_stages_say_progress_rises_within_0_and_1(said: list[tuple[int, float, float]]) -> None:
    seen: list[Estimate] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        stages = planned(seen)
        with stages.timed("asr"), stages.timed("diarization"):
            parts = [stages.part("asr"), stages.part("diarization")]
            for part, done, seconds in said:
                clock.now += seconds
                parts[part](done)
    assert all(earlier.share <= later.share for earlier, later in pairwise(seen))
    assert all(0.0 <= estimate.share <= 1.0 and estimate.remaining >= 0.0 for estimate in seen)
