from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from turnscribe.inputs.decode import decode_audio
from turnscribe.waveform import FULL_SCALE, is_silent, to_int16, to_wav


def test_what_was_16_bits_comes_back_to_the_bit() -> None:
    samples = np.arange(-FULL_SCALE, FULL_SCALE, 7).astype(np.float32) / FULL_SCALE
    assert np.array_equal(decode_audio(to_wav(samples)).mono, samples)


def test_what_is_too_loud_is_clipped() -> None:
    assert to_int16(np.array([-2.0, -1.0, 1.0, 2.0])).tolist() == [-32768, -32768, 32767, 32767]


@pytest.mark.parametrize(("shape", "channels"), [((100,), 1), ((100, 2), 2)])
def test_channels_and_rate_are_declared(shape: tuple[int, ...], channels: int) -> None:
    with wave.open(io.BytesIO(to_wav(np.zeros(shape, np.float32), sample_rate=8000))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (channels, 8000, 100)


def test_the_last_bits_are_silence() -> None:
    assert is_silent(np.array([2 / FULL_SCALE, -2 / FULL_SCALE], np.float32))
    assert not is_silent(np.array([0, 3 / FULL_SCALE], np.float32))
