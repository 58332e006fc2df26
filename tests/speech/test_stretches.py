"""From probabilities to stretches: which runs count, and where a stretch begins and ends."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from turnscribe.speech.speech_map import Stretch
from turnscribe.speech.stretches import FRAME, stretches
from turnscribe.waveform import SAMPLE_RATE, Waveform

SECONDS = 6
FRAMES = -(-SECONDS * SAMPLE_RATE // FRAME)


def sounding(*spans: tuple[float, float], level: float = 0.1) -> Waveform:
    """Silence with noise as loud as a voice in the spans, in seconds."""
    samples = np.zeros(SECONDS * SAMPLE_RATE, np.float32)
    voice = np.random.default_rng(0).normal(0, level, len(samples))
    for start, end in spans:
        place = slice(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))
        samples[place] = voice[place]
    return samples


def heard(*spans: tuple[float, float], probability: float = 0.9) -> NDArray[np.float32]:
    probabilities = np.zeros(FRAMES, np.float32)
    for start, end in spans:
        probabilities[int(start * SAMPLE_RATE / FRAME) : int(end * SAMPLE_RATE / FRAME)] = probability
    return probabilities


def found(samples: Waveform, probabilities: NDArray[np.float32], shortest: float = 0.06) -> list[Stretch]:
    return list(stretches(samples, probabilities, threshold=0.5, shortest=shortest))


@pytest.mark.parametrize("network", [(1.0, 3.0), (1.15, 3.1), (0.9, 3.2), (1.2, 2.9)])
def test_edges_lie_where_the_sound_does(network: tuple[float, float]) -> None:
    (stretch,) = found(sounding((1.0, 3.0)), heard(network))
    assert stretch == pytest.approx((1.0, 3.0), abs=0.02)


def test_what_sounds_long_before_the_network_hears_somebody_is_no_speech() -> None:
    (stretch,) = found(sounding((0.0, 6.0)), heard((2.0, 4.0)))
    assert 1.7 < stretch.start < 2.0
    assert 4.0 < stretch.end < 4.3


def test_a_breath_before_speech_stays_outside() -> None:
    samples = sounding((1.0, 3.0)) + sounding((0.82, 0.92), level=0.02)
    (stretch,) = found(samples, heard((1.0, 3.0)))
    assert stretch.start == pytest.approx(1.0, abs=0.02)


def test_a_pause_of_a_tenth_of_a_second_parts_two_stretches_and_less_does_not() -> None:
    parted = found(sounding((1.0, 2.0), (2.15, 3.0)), heard((1.0, 2.0), (2.15, 3.0)))
    assert [edge for stretch in parted for edge in stretch] == pytest.approx([1.0, 2.0, 2.15, 3.0], abs=0.02)
    assert len(found(sounding((1.0, 2.0), (2.07, 3.0)), heard((1.0, 2.0), (2.1, 3.0)))) == 1


def test_a_sound_shorter_than_the_shortest_speech_is_none() -> None:
    click = sounding((1.0, 1.03))
    assert found(click, heard((1.0, 1.2))) == []
    assert len(found(click, heard((1.0, 1.2)), shortest=0.02)) == 1


def test_weak_evidence_counts_if_it_lasts() -> None:
    samples = sounding((1.0, 3.0))
    assert found(samples, heard((1.0, 1.2), probability=0.4)) == []
    assert len(found(samples, heard((1.0, 1.5), probability=0.4))) == 1
    assert found(samples, heard((1.0, 3.0), probability=0.25)) == []


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(0, 30_000), threshold=st.sampled_from([0.05, 0.5, 0.95]))
def test_stretches_are_in_order_apart_and_inside(data: st.DataObject, count: int, threshold: float) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    samples = (
        rng.normal(size=count) * np.repeat(rng.choice([0, 1e-4, 0.1, 1], count // 400 + 1), 400)[:count]
    ).astype("f4")
    probabilities = rng.choice([0.0, 0.02, 0.2, 0.6, 0.99], -(-count // FRAME)).astype(np.float32)
    answer = stretches(samples, probabilities, threshold=threshold, shortest=0.06)
    edges = [edge for stretch in answer for edge in stretch]
    assert edges == sorted(edges)
    assert all(0 <= edge <= count / SAMPLE_RATE for edge in edges)
    assert all(stretch.end - stretch.start >= 0.06 - 1e-9 for stretch in answer)
    assert all(later.start - one.end >= 0.1 - 1e-9 for one, later in pairwise(answer))
