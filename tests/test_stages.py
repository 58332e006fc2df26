from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    stages = Stages(on_stage=seen.append)
    with stages.timed("asr"):
        assert seen == ["asr"]
        with stages.timed("diarization"):
            assert seen == ["asr", "diarization"]
        assert seen == ["asr", "diarization", "asr"], "what still runs"


def test_a_stage_is_named_once_as_it_ends_also_where_it_fails() -> None:
    seen: list[str] = []
    stages = Stages(on_stage=lambda stage: seen.append(f"{stage} begins"), on_stage_end=seen.append)

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


def test_a_part_maps_onto_its_share_of_the_request() -> None:
    seen: list[float] = []
    stages = Stages(seen.append)
    first, second = stages.part(0.4), stages.part(0.6)
    for done in (0.5, 1.0):
        first(done)
    for done in (0.0, 0.5, 1.0):
        second(done)
    assert seen == pytest.approx([0.2, 0.4, 0.7, 1.0])


def test_progress_never_goes_back_or_stands_still() -> None:
    seen: list[float] = []
    report = Stages(seen.append).part(1.0)
    for done in (0.5, 0.3, 0.5, 0.6):
        report(done)
    assert seen == [0.5, 0.6]


def test_what_a_stage_claims_beyond_its_part_is_cut() -> None:
    seen: list[float] = []
    report = Stages(seen.append).part(0.4)
    for done in (-5.0, float("nan"), 7.0, float("nan")):
        report(done)
    assert seen == pytest.approx([0.4])


def test_stages_side_by_side_add_up() -> None:
    seen: list[float] = []
    stages = Stages(seen.append)
    first, second = stages.part(0.4), stages.part(0.6)
    for report, done in ((first, 0.5), (second, 0.5), (first, 1.0), (second, 1.0)):
        report(done)
    assert seen == pytest.approx([0.2, 0.5, 0.7, 1.0])


def test_nobody_has_to_listen() -> None:
    Stages().part(1.0)(0.5)


@pytest.mark.property
@given(st.lists(st.tuples(st.integers(0, 2), st.floats()), max_size=30))
def test_whatever_the_stages_say_progress_rises_within_0_and_1(said: list[tuple[int, float]]) -> None:
    seen: list[float] = []
    stages = Stages(seen.append)
    weights = [0.25, 0.25, 0.5]
    parts = [stages.part(weight) for weight in weights]
    for part, done in said:
        parts[part](done)
    assert all(earlier < later for earlier, later in pairwise(seen))
    assert all(0.0 < done <= 1.0 for done in seen)
    finished = {part for part, done in said if done >= 1.0}
    assert max(seen, default=0.0) >= sum(weights[part] for part in finished) - 1e-9
