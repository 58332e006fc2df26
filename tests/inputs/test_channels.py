"""Channels to one: microphones count alike, and a channel that is inverted takes no voice away."""

from __future__ import annotations

import numpy as np
import pytest

from tests.inputs.media import level, tone, wav
from turnscribe.inputs.decode import decode_audio
from turnscribe.inputs.mix import weights_of
from turnscribe.waveform import SAMPLE_RATE

VOICE = tone(4, SAMPLE_RATE).astype(np.float64)
ALONE = decode_audio(wav(tone(4, SAMPLE_RATE).tobytes()))
NOISE = np.random.default_rng(5).normal(0, 40, (8, len(VOICE)))


def file(*channels: np.ndarray) -> bytes:
    samples = np.round(np.stack(channels, axis=1)).astype("<i2")
    return wav(samples.tobytes(), channels=len(channels))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7, 8])
def test_each_of_several_microphones_has_the_same_level_in_the_mix(count: int) -> None:
    for speaking in range(count):
        channels = [VOICE if i == speaking else 0 * VOICE for i in range(count)]
        audio = decode_audio(file(*channels))
        assert level(audio.mono) == pytest.approx(level(ALONE.mono) - 20 * np.log10(count), abs=0.1), speaking
        assert audio.warnings == ()


def test_no_channel_with_a_place_is_left_out() -> None:
    for channels in (("FL", "FR", "LFE"), ("FL", "FR", "FC", "LFE", "BL", "BR"), ("FC",), ("LFE",)):
        weights = weights_of(channels)
        assert weights.sum() == pytest.approx(1)
        assert weights.min() >= 0.1
    assert weights_of(("FL", "FR", "FC", "LFE", "SL", "SR"))[2] == max(
        weights_of(("FL", "FR", "FC", "LFE", "SL", "SR"))
    )


@pytest.mark.parametrize(
    "channels",
    [
        (VOICE, -VOICE),
        (0.8 * VOICE, -VOICE),
        (VOICE + NOISE[0], -VOICE + NOISE[1]),
        (VOICE, -VOICE, VOICE, -VOICE),
        (VOICE, -0.9 * VOICE, NOISE[2], NOISE[3]),
    ],
    ids=["exactly", "weaker", "noisy", "four", "two of four"],
)
def test_where_channels_cancel_each_other_the_loudest_is_taken(channels: tuple[np.ndarray, ...]) -> None:
    audio = decode_audio(file(*channels))
    assert level(audio.mono) == pytest.approx(level(ALONE.mono), abs=0.2)
    assert audio.duration == 4.0
    (warning,) = audio.warnings
    assert "4.0 s the channels cancel each other" in warning


def test_only_where_they_cancel() -> None:
    """A cable that is changed in the middle: what is before it is mixed as ever."""
    turned = np.where(np.arange(2 * len(VOICE)) < 2**16, 1, -1) * np.tile(VOICE, 2)
    audio = decode_audio(file(np.tile(VOICE, 2), turned))
    assert level(audio.mono) == pytest.approx(level(ALONE.mono), abs=0.2)
    (warning,) = audio.warnings
    assert warning.startswith("For 3.9 s the channels cancel")


@pytest.mark.parametrize(
    "channels",
    [
        (VOICE, VOICE),
        (VOICE, 0 * VOICE),
        (VOICE, np.roll(VOICE, 9)),  # a quarter of a period
        (NOISE[0], NOISE[1]),
        (0 * VOICE, 0 * VOICE),
        (VOICE, VOICE, VOICE, -VOICE),
        (VOICE[:, None] * 0 + 1)[:, 0] * np.array([[300.0], [-300.0]]) + VOICE,
    ],
    ids=["same", "one", "shifted", "noise", "silence", "one of four", "offsets"],
)
def test_other_channels_are_mixed(channels: tuple[np.ndarray, ...]) -> None:
    audio = decode_audio(file(*channels))
    assert audio.warnings == ()
    mean = np.mean(np.round(np.stack(list(channels))), axis=0) / 32768
    np.testing.assert_allclose(audio.mono, mean, atol=1e-4)


def test_split_channels_are_left_as_they_are() -> None:
    audio = decode_audio(file(VOICE, -VOICE), split_channels=True)
    assert audio.warnings == ()
    np.testing.assert_array_equal(audio.channels[0], -audio.channels[1])
