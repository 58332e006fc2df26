"""Bytes of a stream to samples at 16 kHz, however they are cut."""

from __future__ import annotations

import random
import subprocess
from itertools import pairwise

import numpy as np
import pytest

from turnscribe.live.intake import G711_ALAW, G711_ULAW, PCM16, PCM16_16K, AudioFormat, Intake
from turnscribe.waveform import SAMPLE_RATE, to_int16


def tone(seconds: float, rate: int) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


def pieces(data: bytes, seed: int) -> list[bytes]:
    """Of any length, one byte and none among them."""
    random.seed(seed)
    cuts = [1, 1, *sorted(random.choices(range(1, len(data) + 1), k=40)), len(data)]
    return [data[first:stop] for first, stop in pairwise([0, *cuts])]


def taken(format: AudioFormat, parts: list[bytes]) -> np.ndarray:
    intake = Intake(format)
    return np.concatenate([*(intake.take(part) for part in parts), intake.end()])


@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_any_length_give_the_samples_of_the_whole(seed: int) -> None:
    data = to_int16(tone(2.0, 24_000)).astype("<i2").tobytes()
    parts = pieces(data, seed)
    assert b"".join(parts) == data
    whole, cut = taken(PCM16, [data]), taken(PCM16, parts)
    assert len(whole) == pytest.approx(2 * SAMPLE_RATE, abs=2)
    assert len(cut) == len(whole)
    assert np.abs(cut - whole).max() < 1e-4


def test_at_16_khz_samples_stay_as_they_are() -> None:
    samples = to_int16(tone(0.5, SAMPLE_RATE))
    assert np.array_equal(to_int16(taken(PCM16_16K, pieces(samples.astype("<i2").tobytes(), 5))), samples)


@pytest.mark.parametrize(("format", "name"), [(G711_ULAW, "mulaw"), (G711_ALAW, "alaw")])
def test_telephone_audio_sounds_as_ffmpeg_has_it(format: AudioFormat, name: str) -> None:
    pcm = to_int16(tone(1.0, 8_000)).astype("<i2").tobytes()
    arguments = ["-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "-", "-f", name, "-"]
    data = subprocess.run(["ffmpeg", "-loglevel", "error", *arguments], input=pcm, stdout=-1, check=True).stdout
    assert len(data) == 8_000
    heard = taken(format, pieces(data, 1))
    assert len(heard) == pytest.approx(SAMPLE_RATE, abs=2)
    assert np.abs(heard[200:-200] - tone(1.0, SAMPLE_RATE)[200 : len(heard) - 200]).max() < 0.02


def test_half_a_sample_is_none() -> None:
    intake = Intake(PCM16_16K)
    assert len(intake.take(b"\x01")) == 0
    assert len(intake.end()) == 0
    assert Intake(PCM16).format.seconds(48_000) == 1.0
