from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from turnscribe.waveform import SAMPLE_RATE
from turnscribe.whisper.constants import SAMPLES_PER_FRAME
from turnscribe.whisper.windows import Window, cut_windows


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    samples = round(seconds * SAMPLE_RATE)
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def with_pause(waveform: NDArray[np.float32], start: float, end: float) -> NDArray[np.float32]:
    paused = waveform.copy()
    paused[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] = 0.0
    return paused


def assert_covered_once(windows: list[Window], samples: int, max_seconds: float) -> None:
    assert [window.start for window in windows] == [0, *(window.stop for window in windows[:-1])]
    assert windows[-1].stop == samples
    assert all(0 < window.stop - window.start <= max_seconds * SAMPLE_RATE for window in windows)


def test_nothing_has_no_windows() -> None:
    assert cut_windows(np.zeros(0, np.float32), 30.0) == []


@pytest.mark.parametrize(
    "samples", [1, SAMPLES_PER_FRAME - 1, SAMPLES_PER_FRAME, SAMPLES_PER_FRAME + 1, 30 * SAMPLE_RATE]
)
def test_what_fits_is_one_window(samples: int) -> None:
    assert cut_windows(np.ones(samples, np.float32), 30.0) == [Window(0, samples)]


def test_one_sample_too_many_makes_a_second_window() -> None:
    samples = 30 * SAMPLE_RATE + 1
    windows = cut_windows(noise(31)[:samples], 30.0)
    assert len(windows) == 2
    assert_covered_once(windows, samples, 30.0)


def test_a_window_knows_its_seconds() -> None:
    window = Window(8_000, 24_000)
    assert window.offset == 0.5
    assert window.duration == 1.0


def test_silence_is_cut_as_late_as_can_be() -> None:
    windows = cut_windows(np.zeros(60 * SAMPLE_RATE, np.float32), 30.0)
    assert windows == [Window(0, 30 * SAMPLE_RATE), Window(30 * SAMPLE_RATE, 60 * SAMPLE_RATE)]


@pytest.mark.parametrize("pause", [(15.2, 15.8), (20.0, 20.6), (29.3, 29.9)])
def test_a_cut_falls_into_the_pause_of_the_last_half(pause: tuple[float, float]) -> None:
    waveform = with_pause(noise(50.0), *pause)
    first, *_ = cut_windows(waveform, 30.0)
    assert pause[0] < first.duration < pause[1]


def test_a_cut_keeps_away_from_the_edges_of_a_pause() -> None:
    first, *_ = cut_windows(with_pause(noise(50.0), 20.0, 21.0), 30.0)
    assert 20.1 <= first.duration <= 20.9


def test_the_later_of_two_pauses_is_taken_even_if_it_is_not_the_quietest() -> None:
    waveform = with_pause(noise(50.0), 18.0, 18.6)
    waveform[round(25.0 * SAMPLE_RATE) : round(25.6 * SAMPLE_RATE)] *= 0.1
    first, *_ = cut_windows(waveform, 30.0)
    assert 25.0 < first.duration < 25.6


def test_softer_speech_is_no_pause() -> None:
    waveform = with_pause(noise(50.0), 18.0, 18.6)
    waveform[round(25.0 * SAMPLE_RATE) : round(25.6 * SAMPLE_RATE)] *= 0.3
    first, *_ = cut_windows(waveform, 30.0)
    assert 18.0 < first.duration < 18.6


def test_pauses_are_found_in_noise() -> None:
    waveform = noise(50.0)
    waveform[round(22.0 * SAMPLE_RATE) : round(22.6 * SAMPLE_RATE)] *= 0.5  # 6 dB
    first, *_ = cut_windows(waveform, 30.0)
    assert 22.0 < first.duration < 22.6


def test_a_short_gap_inside_a_word_is_not_a_pause() -> None:
    waveform = with_pause(noise(50.0), 18.0, 18.04)  # a stop consonant
    waveform[round(25.0 * SAMPLE_RATE) : round(25.6 * SAMPLE_RATE)] *= 0.1
    first, *_ = cut_windows(waveform, 30.0)
    assert 25.0 < first.duration < 25.6


def test_a_pause_in_the_first_half_is_left_alone() -> None:
    first, *_ = cut_windows(with_pause(noise(50.0), 5.0, 9.0), 30.0)
    assert first.duration >= 15.0


@pytest.mark.property
@settings(deadline=None)
@given(
    samples=st.integers(1, 80_000),
    max_seconds=st.floats(0.02, 6.0),
    seed=st.integers(0, 99),
    level=st.sampled_from([0.0, 1e-20, 1.0]),
)
def test_windows_cover_every_sample_once_and_none_is_too_long(
    samples: int, max_seconds: float, seed: int, level: float
) -> None:
    waveform = noise(5.0, seed)[:samples] * np.float32(level)
    assert_covered_once(cut_windows(waveform, max_seconds), samples, max_seconds)


@pytest.mark.property
@settings(deadline=None, max_examples=40)
@given(at=st.floats(0.0, 1.0), length=st.floats(0.25, 0.6), seed=st.integers(0, 99))
def test_every_pause_of_the_last_half_is_found(at: float, length: float, seed: int) -> None:
    start = 2.0 + at * (2.0 - length)  # anywhere in the last half of 4 s
    first, *_ = cut_windows(with_pause(noise(6.0, seed), start, start + length), 4.0)
    assert start <= first.duration <= start + length
