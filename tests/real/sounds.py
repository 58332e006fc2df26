"""Sounds that no voice makes, computed with a seed: tones of telephones, hum, noise, clicks, a fan, a breath.

Frequencies and cadences of telephones are those of ITU-T E.180 (supplement 2), keys those of ITU-T Q.23.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from turnscribe.waveform import FULL_SCALE, SAMPLE_RATE, Waveform

SECONDS = 20.0
LEVEL = 0.1  # of full scale: -20 dB
KEYS = {
    **dict(zip("123", ((697, high) for high in (1209, 1336, 1477)), strict=True)),
    **dict(zip("456", ((770, high) for high in (1209, 1336, 1477)), strict=True)),
    **dict(zip("789", ((852, high) for high in (1209, 1336, 1477)), strict=True)),
    **dict(zip("*0#", ((941, high) for high in (1209, 1336, 1477)), strict=True)),
}


def tones(frequencies: Sequence[float], cadence: Sequence[float] = (), *, seconds: float = SECONDS) -> Waveform:
    """Tones at once, switched on and off in turn for so many seconds each; without a cadence they last."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = sum(np.sin(2 * np.pi * frequency * time) for frequency in frequencies)
    switched = np.ones(len(time))
    if cadence:
        ends = np.cumsum(cadence)
        switched = 1.0 - np.searchsorted(ends, time % ends[-1], side="right") % 2
    return np.asarray(LEVEL * switched * sound, np.float32)


def keys(digits: str) -> Waveform:
    """A number that is dialled: 0.1 s for each key, and 0.1 s between two."""
    pressed = [np.append(tones(KEYS[key], seconds=0.1), np.zeros(SAMPLE_RATE // 10, np.float32)) for key in digits]
    return np.concatenate(pressed)


def hum(frequency: float, *, noise_db: float = -60.0) -> Waveform:
    """Of the mains, with harmonics that fall off, and some noise."""
    time = np.arange(round(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    harmonics = sum(np.sin(2 * np.pi * n * frequency * time + n) / n for n in range(1, 12))
    return np.asarray(LEVEL * harmonics, np.float32) + noise(noise_db, 1.0, seed=f"hum {frequency}")


def noise(level_db: float, falling: float, *, seed: str, seconds: float = SECONDS) -> Waveform:
    """Of a power that falls with frequency to the power `falling`: 0 white, 1 pink, 2 brown."""
    generator = np.random.default_rng(zlib.crc32(seed.encode()))
    spectrum = np.fft.rfft(generator.standard_normal(round(seconds * SAMPLE_RATE)))
    frequencies = np.maximum(np.fft.rfftfreq(round(seconds * SAMPLE_RATE), 1 / SAMPLE_RATE), 20.0)
    sound = np.fft.irfft(spectrum / frequencies ** (falling / 2), round(seconds * SAMPLE_RATE))
    return np.asarray(sound / np.sqrt(np.square(sound).mean()) * 10 ** (level_db / 20), np.float32)


def last_bit() -> Waveform:
    """What a converter makes of nothing: -1, 0 or 1 of 16 bits."""
    generator = np.random.default_rng(1)
    return np.asarray(generator.integers(-1, 2, round(SECONDS * SAMPLE_RATE)) / FULL_SCALE, np.float32)


def clicks() -> Waveform:
    """Four a second at random, each a few samples long, over faint noise: an old record."""
    generator = np.random.default_rng(2)
    sound = noise(-60.0, 0.0, seed="clicks")
    for position in generator.integers(0, len(sound) - 40, round(4 * SECONDS)):
        sound[position : position + 40] += generator.uniform(0.2, 0.8) * np.exp(-np.arange(40) / 8).astype(np.float32)
    return sound


def fan() -> Waveform:
    """Pink noise that five blades at 24 turns a second beat."""
    time = np.arange(round(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    beat = 1 + 0.3 * np.sin(2 * np.pi * 120 * time) + 0.1 * np.sin(2 * np.pi * 24 * time)
    return np.asarray(beat * noise(-30.0, 1.0, seed="fan") + 0.01 * np.sin(2 * np.pi * 120 * time), np.float32)


def breath() -> Waveform:
    """In and out every four seconds: noise between 400 and 3,000 Hz that swells and fades."""
    sound = noise(-20.0, 1.0, seed="breath")
    spectrum = np.fft.rfft(sound)
    frequencies = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    spectrum[(frequencies < 400) | (frequencies > 3000)] = 0
    time = np.arange(len(sound)) / SAMPLE_RATE
    return np.asarray(np.fft.irfft(spectrum, len(sound)) * np.sin(np.pi * time / 2) ** 4, np.float32)


# By kind and name. Cadences are seconds on and off.
MADE: dict[str, dict[str, Callable[[], Waveform]]] = {
    "tone": {
        "ring-back-america": partial(tones, (440, 480), (2, 4)),
        "ring-back-britain": partial(tones, (400, 450), (0.4, 0.2, 0.4, 2)),
        "ring-back-france": partial(tones, (440,), (1.5, 3.5)),
        "ring-back-germany": partial(tones, (425,), (1, 4)),
        "ring-back-russia": partial(tones, (425,), (0.8, 3.2)),
        "busy-america": partial(tones, (480, 620), (0.5, 0.5)),
        "busy-britain": partial(tones, (400,), (0.375, 0.375)),
        "busy-italy": partial(tones, (425,), (0.5, 0.5)),
        "dial-germany": partial(tones, (425,)),
        "dialled": partial(keys, "0123456789*#" * 4),
        "fax": partial(tones, (2100,), (3, 1)),
        "hum-50": partial(hum, 50),
        "hum-60": partial(hum, 60),
    },
    "quiet": {
        "nothing": lambda: np.zeros(round(SECONDS * SAMPLE_RATE), np.float32),
        "last-bit": last_bit,
        "white-60": partial(noise, -60.0, 0.0, seed="white-60"),
        "white-40": partial(noise, -40.0, 0.0, seed="white-40"),
        "pink-60": partial(noise, -60.0, 1.0, seed="pink-60"),
        "pink-30": partial(noise, -30.0, 1.0, seed="pink-30"),
        "brown-30": partial(noise, -30.0, 2.0, seed="brown-30"),
    },
    "effect": {"clicks": clicks, "fan": fan, "breath": breath},
}
