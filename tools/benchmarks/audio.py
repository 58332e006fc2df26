"""The audio of the benchmarks: the demo conversation, or another recording, repeated to any length."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnscribe.waveform import SAMPLE_RATE

CONVERSATION = Path(__file__).resolve().parents[2] / "demo" / "conversation.flac"
LEVELS_DB = (0.0, -3.0, 2.0, -1.5, 1.0)  # of one repetition after the other, so that no two windows are the same


def speech(seconds: float, recording: bytes | None = None) -> NDArray[np.float32]:
    """`[samples]`, mono, 16 kHz, exactly `round(seconds * 16000)` of them; the `recording`'s where one is given."""
    wanted = round(seconds * SAMPLE_RATE)
    conversation = _decoded(recording or CONVERSATION.read_bytes())
    out = np.empty(wanted, np.float32)
    for repetition, start in enumerate(range(0, wanted, len(conversation))):
        part = conversation[: wanted - start]
        gain = np.float32(10 ** (LEVELS_DB[repetition % len(LEVELS_DB)] / 20))
        np.clip(part * gain, -1.0, 1.0, out=out[start : start + len(part)])
    return out


@lru_cache(maxsize=1)
def _decoded(recording: bytes) -> NDArray[np.float32]:
    from turnscribe.inputs.decode import decode_audio

    return decode_audio(recording).mono
