"""The detector on speech of known times, and on what is no speech."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from turnscribe.errors import Cancelled
from turnscribe.listener import Listener
from turnscribe.speech.detector import BLOCK, SpeechDetector, load_speech_detector
from turnscribe.speech.silero import FRAME
from turnscribe.speech.speech_map import SpeechMap, Stretch
from turnscribe.waveform import SAMPLE_RATE, Waveform

CLOSE = 0.03  # seconds


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return load_speech_detector()


@pytest.fixture(scope="module")
def sentence(conversation_waveform: Waveform) -> Waveform:
    """The first seconds of the demo recording, cut where the sound begins and ends."""
    samples = conversation_waveform[: 3 * SAMPLE_RATE]
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    return samples[loud[0] : loud[-1] + 1]


def noise(seconds: float, level_db: float, seed: int = 0) -> Waveform:
    samples = np.random.default_rng(seed).normal(0, 10 ** (level_db / 20), int(seconds * SAMPLE_RATE))
    return samples.astype(np.float32)


def tone(frequency: float, seconds: float = 8.0, level: float = 0.2) -> Waveform:
    wave: NDArray[np.float64] = level * np.sin(
        2 * np.pi * frequency * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    )
    return wave.astype(np.float32)


def ringing() -> Waveform:
    both = tone(440, 10.0) + tone(480, 10.0)
    both[2 * SAMPLE_RATE : 6 * SAMPLE_RATE] = 0
    return both


def dialling() -> Waveform:
    keys = [(697, 1209), (770, 1336), (852, 1477), (941, 1336), (697, 1477), (770, 1209)]
    pause = np.zeros(SAMPLE_RATE // 4, np.float32)
    return np.concatenate([part for low, high in keys for part in (pause, tone(low, 0.15) + tone(high, 0.15))])


def hum() -> Waveform:
    return np.sum([tone(50 * k, level=0.1 / k) for k in range(1, 12)], axis=0).astype(np.float32)


NO_SPEECH = {
    "silence": np.zeros(10 * SAMPLE_RATE, np.float32),
    "last bits": (np.random.default_rng(1).integers(-1, 2, 10 * SAMPLE_RATE) / 2**15).astype(np.float32),
    "loud noise": noise(10, -15),
    "faint noise": noise(10, -65),
    "hum": hum(),
    "ringing": ringing(),
    "dialling": dialling(),
    "tone": tone(1000),
}


@pytest.mark.parametrize("samples", NO_SPEECH.values(), ids=NO_SPEECH)
def test_nobody_speaks_in_silence_noise_and_tones(detector: SpeechDetector, samples: Waveform) -> None:
    assert detector.find(samples).stretches == ()


@pytest.mark.parametrize("lead", [0.5, 6.0, 20.0])
@pytest.mark.parametrize("noise_db", [None, -70.0])
@pytest.mark.parametrize("gain_db", [0.0, -40.0])
def test_speech_begins_and_ends_where_it_is(
    detector: SpeechDetector, sentence: Waveform, lead: float, noise_db: float | None, gain_db: float
) -> None:
    silence = np.zeros(int(lead * SAMPLE_RATE) + 37, np.float32)
    samples = np.concatenate([silence, sentence, np.zeros(2 * SAMPLE_RATE, np.float32)])
    if noise_db is not None:
        samples += noise(len(samples) / SAMPLE_RATE + 1, noise_db)[: len(samples)]
    samples *= np.float32(10 ** (gain_db / 20))
    found = detector.find(samples)
    start = len(silence) / SAMPLE_RATE
    assert found.stretches[0].start == pytest.approx(start, abs=CLOSE)
    assert found.stretches[-1].end == pytest.approx(start + len(sentence) / SAMPLE_RATE, abs=0.1)
    assert found.duration == len(samples) / SAMPLE_RATE


@pytest.mark.parametrize("count", [0, 1, 159, 160, 511, 512, 513, 20_001])
def test_a_waveform_of_any_length_has_a_map(
    detector: SpeechDetector, conversation_waveform: Waveform, count: int
) -> None:
    found = detector.find(conversation_waveform[:count])
    assert found.duration == count / SAMPLE_RATE
    assert all(0 <= stretch.start < stretch.end <= found.duration for stretch in found.stretches)
    assert len(detector.probabilities(conversation_waveform[:count])) == -(-count // FRAME)


def test_several_threads_find_what_one_finds(detector: SpeechDetector, conversation_waveform: Waveform) -> None:
    parts = [conversation_waveform[start * SAMPLE_RATE :] for start in range(0, 20, 5)]
    alone = [detector.find(part) for part in parts]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(detector.find, parts)) == alone


def test_the_map_of_a_part_is_that_part_of_the_map(detector: SpeechDetector, conversation_waveform: Waveform) -> None:
    """Cut in a pause of 12 s: 95 % of the edges of the second part are the same within 20 ms, all within 0.15 s."""
    pause = noise(12, -70)
    samples = np.concatenate([conversation_waveform, pause, conversation_waveform])
    cut = len(conversation_waveform) + len(pause) // 2 + 101
    whole, part = detector.find(samples), detector.find(samples[cut:])
    offset = cut / SAMPLE_RATE
    moved = [Stretch(start + offset, end + offset) for start, end in part.stretches]
    later = [stretch for stretch in whole.stretches if stretch.start > offset]
    assert len(later) > 3
    np.testing.assert_allclose(moved, later, atol=0.15)
    assert np.mean(np.abs(np.subtract(moved, later)) <= 0.02) >= 0.95


def test_a_listener_hears_how_far_it_is_and_may_stop_it(detector: SpeechDetector) -> None:
    samples = noise(2.5 * BLOCK * FRAME / SAMPLE_RATE, -30)
    shares: list[float] = []
    detector.find(samples, listener=Listener(on_progress=shares.append))
    assert shares == sorted(shares)
    assert len(shares) == 3
    assert shares[-1] == 1.0
    with pytest.raises(Cancelled):
        detector.find(samples, listener=Listener(should_stop=lambda: True))


def test_two_blocks_are_heard_as_one(detector: SpeechDetector, conversation_waveform: Waveform, monkeypatch) -> None:
    whole = detector.find(conversation_waveform)
    monkeypatch.setattr("turnscribe.speech.detector.BLOCK", 700)
    _assert_close(detector.find(conversation_waveform), whole)


def _assert_close(found: SpeechMap, expected: SpeechMap) -> None:
    assert len(expected.stretches) > 3
    np.testing.assert_allclose(found.stretches, expected.stretches, atol=CLOSE)
