"""Speech in a stream as it comes, beside the detector that has all of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import REPOSITORY
from turnscribe.inputs.decode import decode_audio
from turnscribe.speech.detector import load_speech_detector
from turnscribe.speech.silero import FRAME
from turnscribe.speech.streaming import StreamingDetector
from turnscribe.waveform import SAMPLE_RATE


@pytest.fixture(scope="module")
def talk() -> NDArray[np.float32]:
    return decode_audio((REPOSITORY / "demo" / "conversation.flac").read_bytes()).mono[: 20 * SAMPLE_RATE]


def test_a_stream_in_pieces_is_heard_as_in_one(talk: NDArray[np.float32]) -> None:
    detector = load_speech_detector()
    whole = StreamingDetector(detector).hear(talk)
    assert len(whole) == len(talk) // FRAME
    for size in (100, 512, 1600, 40_000):
        stream = StreamingDetector(detector)
        parts = [stream.hear(talk[first : first + size]) for first in range(0, len(talk), size)]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=2e-3)


def test_it_hears_what_the_detector_hears(talk: NDArray[np.float32]) -> None:
    detector = load_speech_detector()
    whole = detector.probabilities(talk)[: len(talk) // FRAME]
    heard = StreamingDetector(detector).hear(talk)
    assert 0.3 < np.mean(whole >= 0.5) < 0.95
    assert np.mean((heard >= 0.5) == (whole >= 0.5)) > 0.97


def test_silence_is_none() -> None:
    assert not StreamingDetector(load_speech_detector()).hear(np.zeros(SAMPLE_RATE, np.float32)).any()
