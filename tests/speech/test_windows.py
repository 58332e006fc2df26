"""Windows of speech: nothing that is said is left out, long pauses are, and a part has the windows of the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnscribe.speech.speech_map import SpeechMap, Stretch
from turnscribe.speech.windows import speech_windows
from turnscribe.waveform import SAMPLE_RATE
from turnscribe.whisper.windows import Window

MARGIN, PAUSE = 0.2, 2.0


@st.composite
def speech_maps(draw: st.DrawFn) -> SpeechMap:
    lengths = draw(st.lists(st.tuples(st.floats(0.1, 5), st.floats(0.1, 20)), max_size=25))
    stretches, time = [], 0.0
    for pause, length in lengths:
        stretches.append(Stretch(time + pause, time + pause + length))
        time = stretches[-1].end
    return SpeechMap(tuple(stretches), time + draw(st.floats(0, 5)))


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32)


def windows_of(speech: SpeechMap, max_seconds: float = 30.0, waveform: np.ndarray | None = None) -> list[Window]:
    waveform = noise(speech.duration) if waveform is None else waveform
    return speech_windows(waveform, speech, max_seconds=max_seconds, margin=MARGIN, longest_pause=PAUSE)


def test_where_nobody_speaks_there_are_no_windows() -> None:
    assert windows_of(SpeechMap((), 20.0)) == []


def test_silence_before_and_after_is_not_heard_but_for_the_margins() -> None:
    (window,) = windows_of(SpeechMap((Stretch(10.0, 12.0),), 30.0))
    assert (window.start, window.stop) == (round(9.8 * SAMPLE_RATE), round(12.2 * SAMPLE_RATE))


def test_a_short_pause_is_kept_and_of_a_long_one_the_margins() -> None:
    (window,) = windows_of(SpeechMap((Stretch(1.0, 2.0), Stretch(3.0, 4.0), Stretch(12.0, 13.0)), 14.0))
    assert window.left_out == ((round(4.2 * SAMPLE_RATE), round(11.8 * SAMPLE_RATE)),)
    assert window.duration == pytest.approx(3.4 + 1.4)


@pytest.mark.parametrize("margin", [2.0, 10.0, 60.0])
def test_margins_do_not_make_a_window_longer_than_the_model_hears(margin: float) -> None:
    speech = SpeechMap((Stretch(60.0, 75.0), Stretch(75.5, 89.0), Stretch(110.0, 139.5)), 200.0)
    waveform = noise(200.0)
    windows = speech_windows(waveform, speech, max_seconds=30.0, margin=margin, longest_pause=PAUSE)
    assert max(window.duration for window in windows) <= 30.0
    assert all(any(window.start / SAMPLE_RATE <= one.start for window in windows) for one in speech.stretches)


@pytest.mark.parametrize("samples", [256_960, 259_520, 262_080, 256_000])
def test_what_is_left_after_the_end_of_a_piece_begins_with_the_next(samples: int) -> None:
    """16.06 s are 256,959.99999999997 samples."""
    window = Window(0, 120 * SAMPLE_RATE, ((samples, 90 * SAMPLE_RATE),))
    assert window.after(samples / SAMPLE_RATE) == Window(90 * SAMPLE_RATE, 120 * SAMPLE_RATE)


def test_half_silent_speech_takes_half_the_windows() -> None:
    speech = SpeechMap(tuple(Stretch(20.0 * index, 20.0 * index + 9) for index in range(9)), 180.0)
    windows = windows_of(speech)
    assert len(windows) == 3
    assert all(len(window.pieces) == 3 for window in windows)


def test_the_cut_is_in_the_longest_pause() -> None:
    stretches = (Stretch(0.0, 14.0), Stretch(14.2, 20.0), Stretch(21.0, 29.0), Stretch(29.1, 40.0))
    first, second = windows_of(SpeechMap(stretches, 40.0))
    assert first.stop <= round(21.0 * SAMPLE_RATE) <= second.stop
    assert second.start >= round(20.0 * SAMPLE_RATE)


def test_an_endless_stretch_is_cut_where_it_is_quietest() -> None:
    waveform = noise(50)
    waveform[24 * SAMPLE_RATE : round(24.4 * SAMPLE_RATE)] *= 0.01
    first, second = windows_of(SpeechMap((Stretch(0.0, 50.0),), 50.0), waveform=waveform)
    assert first.stop == second.start
    assert 24 * SAMPLE_RATE <= first.stop <= 24.4 * SAMPLE_RATE


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(speech=speech_maps(), max_seconds=st.sampled_from([1.0, 8.0, 30.0]))
def test_all_speech_is_heard_once_and_no_window_is_too_long(speech: SpeechMap, max_seconds: float) -> None:
    windows = windows_of(speech, max_seconds)
    samples = round(speech.duration * SAMPLE_RATE)
    heard = np.zeros(samples, int)
    for window in windows:
        assert 0 < window.samples <= max_seconds * SAMPLE_RATE
        for start, stop in window.pieces:
            assert 0 <= start < stop <= samples
            heard[start:stop] += 1
    assert heard.max(initial=0) <= 1
    for stretch in speech.stretches:
        assert heard[round(stretch.start * SAMPLE_RATE) : round(stretch.end * SAMPLE_RATE)].all()
    assert all(before.stop <= after.start for before, after in pairwise(windows))


@pytest.mark.property
@settings(max_examples=40, deadline=None)
@given(speech=speech_maps())
def test_the_part_between_two_cuts_has_the_same_windows(speech: SpeechMap) -> None:
    waveform, windows = noise(speech.duration), windows_of(speech)
    for before, after in pairwise(windows):
        if before.stop == after.start:
            continue  # no pause: a stretch would be cut in two
        cut = (before.stop + after.start) // 2
        shift = cut / SAMPLE_RATE
        rest = tuple(
            Stretch(stretch.start - shift, stretch.end - shift)
            for stretch in speech.stretches
            if stretch.start > shift
        )
        part = windows_of(SpeechMap(rest, speech.duration - shift), waveform=waveform[cut:])
        assert [window.later(cut) for window in part] == [window for window in windows if window.start >= cut]


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(speech=speech_maps(), share=st.floats(0, 1))
def test_a_windows_clock_is_the_recordings(speech: SpeechMap, share: float) -> None:
    for window in windows_of(speech):
        heard = np.concatenate([np.arange(start, stop) for start, stop in window.pieces])
        assert len(heard) == window.samples == len(window.heard(noise(speech.duration)))
        index = min(int(share * len(heard)), len(heard) - 1)
        assert round(window.time(index / SAMPLE_RATE) * SAMPLE_RATE) == heard[index]
        assert round(window.time((index + 1) / SAMPLE_RATE, end=True) * SAMPLE_RATE) == heard[index] + 1
        rest = window.after(index / SAMPLE_RATE)
        assert rest.samples == len(heard) - index
        assert (rest.start, rest.stop) == (heard[index], window.stop)
