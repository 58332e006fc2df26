"""Where a decoder puts the tone of `tools.formats.files`, and how long it says the recording is."""

from __future__ import annotations

import importlib.metadata
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tools.formats.files import FREQUENCY, ONSET, SECONDS
from turnscribe.inputs.decode import decode_audio
from turnscribe.waveform import SAMPLE_RATE

SMOOTHED = 0.01  # seconds: whole periods of the tone

Decode: TypeAlias = Callable[[bytes], tuple[NDArray[np.float32], int]]  # -> samples, Hz


@dataclass(frozen=True)
class Timing:
    """How far from the truth a decoder is, in milliseconds: late and too long are above 0."""

    onset: float
    length: float


def timing(decode: Decode, data: bytes) -> Timing | None:
    """`None` where the decoder refuses the file, or finds no tone in it."""
    try:
        samples, rate = decode(data)
    except Exception:  # each program has errors of its own
        return None
    start = onset(samples, rate)
    if start is None:
        return None
    return Timing(onset=1000 * (start - ONSET), length=1000 * (len(samples) / rate - SECONDS))


def onset(samples: NDArray[np.float32], rate: int) -> float | None:
    """Seconds at which the tone first has half of its level.  samples: [samples]"""
    shifted = samples * np.exp(-2j * np.pi * FREQUENCY / rate * np.arange(len(samples)))
    width = round(SMOOTHED * rate)
    level = np.abs(np.convolve(shifted, np.ones(width) / width, mode="same"))
    half = float(np.quantile(level, 0.85)) / 2  # a third of the recording is the tone
    above = int(np.argmax(level > half))
    if half < 0.01 or above == 0:
        return None
    before, after = level[above - 1], level[above]
    centre = 0.5 * (1 - width % 2)  # of an even number of samples, the middle lies between two
    return float(above - 1 + (half - before) / (after - before) - centre) / rate


def decoders() -> dict[str, Decode]:
    """By name and version: ours, and those of the others that are installed."""
    found: dict[str, Decode] = {"Turnscribe": _ours}
    for package, decode in (("faster-whisper", _faster_whisper), ("soundfile", _soundfile)):
        try:
            found[f"{package} {importlib.metadata.version(package)}"] = decode
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _ours(data: bytes) -> tuple[NDArray[np.float32], int]:
    return decode_audio(data).mono, SAMPLE_RATE


def _faster_whisper(data: bytes) -> tuple[NDArray[np.float32], int]:
    from faster_whisper import decode_audio as decode

    samples: NDArray[np.float32] = decode(io.BytesIO(data), sampling_rate=SAMPLE_RATE)
    return samples, SAMPLE_RATE


def _soundfile(data: bytes) -> tuple[NDArray[np.float32], int]:
    import soundfile

    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return samples.mean(axis=1), rate
