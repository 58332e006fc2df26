"""A waveform as every model here takes it: float32 in [-1, 1], mono, 16 kHz.

Frames of Whisper's encoder and timestamps of its decoder are 20 ms each (Whisper paper, section 2.2).
"""

from __future__ import annotations

import io
import wave
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Waveform: TypeAlias = NDArray[np.float32]  # [samples]

SAMPLE_RATE = 16_000  # Hz
FULL_SCALE = 2**15  # of 16-bit samples: decoding divides by it, so writing multiplies by it
SILENT_BELOW = 2 / FULL_SCALE


def is_silent(waveform: Waveform) -> bool:
    """Nothing but the last bits of 16-bit audio, in which models hear what is not there; `waveform` is not empty."""
    return float(np.abs(waveform).max()) <= SILENT_BELOW


def to_wav(samples: NDArray[np.floating], *, sample_rate: int = SAMPLE_RATE) -> bytes:
    """A 16-bit wav file of `[samples]` or `[samples, channels]`; what is outside [-1, 1] is clipped.

    Audio that was decoded from 16 bits comes back to the bit.
    """
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(to_int16(samples).astype("<i2").tobytes())
    return buffer.getvalue()


def to_int16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    """16-bit samples, rounded and clipped; the inverse of dividing by `FULL_SCALE`."""
    scaled: NDArray[np.floating] = np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    return scaled.astype(np.int16)
