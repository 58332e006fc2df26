"""What is left of a request, on a clock made up here: requests whose stages go as they are told to."""

from __future__ import annotations

import pytest

from turnscribe.forecast import Forecast
from turnscribe.speeds import Expected

TRUE = {"decode": 0.5, "speech": 1.5, "asr": 30.0, "diarization": 68.0}  # seconds that the stages take
REPORTS = 50  # of each stage


def worst_error(expected: dict[str, Expected], *, beside: bool = False) -> float:
    """Of what is left, as a share of it, from a tenth of the way to nine tenths of a request that takes `TRUE`."""
    forecast = Forecast()
    steps = [{stage: one} for stage, one in expected.items()]
    if beside:
        steps[-2:] = [{**steps[-2], **steps[-1]}]
    forecast.plan(steps)
    events: list[tuple[float, str, int]] = []
    began = 0.0
    for step in steps:
        for stage in step:
            events += [(began + TRUE[stage] * part / REPORTS, stage, part) for part in range(REPORTS + 1)]
        began += max(TRUE[stage] for stage in step)
    worst = 0.0
    for now, stage, part in sorted(events):
        if part == 0:
            forecast.begin(stage, now)
        elif part == REPORTS:
            forecast.end(stage, now)
        else:
            forecast.report(stage, part / REPORTS, now)
        if 0.1 * began <= now <= 0.9 * began:
            remaining = forecast.remaining(now)
            assert remaining is not None
            worst = max(worst, abs(remaining / (began - now) - 1))
    return worst


def times(factor: float, *, seen: bool, tells: str = "speech asr", **others: float) -> dict[str, Expected]:
    """All stages were expected to take so many times as long as they do; some by factors of their own."""
    return {
        stage: Expected(seconds * others.get(stage, factor), seen, stage in tells.split())
        for stage, seconds in TRUE.items()
    }


@pytest.mark.parametrize("beside", [False, True])
def test_what_was_seen_before_is_right_at_once(beside: bool) -> None:
    assert worst_error(times(1.0, seen=True), beside=beside) < 0.02


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 4.0])
def test_how_fast_a_machine_is_shows_in_the_first_stages(factor: float) -> None:
    assert worst_error(times(factor, seen=False)) < 0.2


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_a_model_that_was_guessed_wrong_tells_nothing_of_the_others(factor: float) -> None:
    assert worst_error(times(1.0, seen=False, tells="speech", asr=factor)) < 0.2


@pytest.mark.parametrize("factor", [0.75, 1.33])
def test_a_busier_or_calmer_machine_than_last_time_shows_as_it_goes_on(factor: float) -> None:
    assert worst_error(times(factor, seen=True)) < 0.2


def test_a_stage_that_takes_longer_than_expected_has_something_left_until_it_ends() -> None:
    forecast = Forecast()
    forecast.plan([{"asr": Expected(10.0, True)}, {"diarization": Expected(5.0, True)}])
    forecast.begin("asr", 0.0)
    lefts = [forecast.remaining(float(now)) for now in (0, 5, 10, 20, 100)]
    assert lefts == pytest.approx([15.0, 10.0, 5.5, 6.0, 10.0])
    forecast.end("asr", 100.0)
    assert forecast.remaining(100.0) == pytest.approx(5 * (100 + 1.5) / (10 + 1.5)), "and so will the next"


def test_a_plan_may_be_made_again_when_more_is_known() -> None:
    forecast = Forecast()
    assert forecast.remaining(0.0) is None
    forecast.begin("decode", 0.0)
    forecast.plan([{"decode": Expected(1.0, True)}, {"asr": Expected(10.0, True)}])
    assert forecast.remaining(0.5) == pytest.approx(10.5)
    forecast.end("decode", 1.0)
    forecast.plan([{"decode": Expected(1.0, True)}, {"asr": Expected(4.0, True)}])
    assert forecast.remaining(1.0) == pytest.approx(4.0)
