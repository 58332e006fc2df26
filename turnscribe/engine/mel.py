"""Waveforms to log-mel features, on the device the model is on. Slow twin: transformers' `WhisperFeatureExtractor`.

Steps and constants are those of the Whisper paper, section 2.2: 25 ms Hann frames every 10 ms, slaney mel bands,
log10 clipped to eight below the window's highest value, then scaled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from turnscribe.waveform import SAMPLE_RATE, Waveform

FRAME, HOP = SAMPLE_RATE * 25 // 1000, SAMPLE_RATE * 10 // 1000  # in samples
LONGEST = 30 * SAMPLE_RATE  # samples of a window
HZ_PER_MEL, LOG_FROM_HZ, LOG_STEP = 200 / 3, 1000.0, math.log(6.4) / 27
QUIETEST = 1e-10  # of a mel band's power
RANGE = 8.0  # in powers of ten


class LogMel:
    """Log-mel features of so many `mels`."""

    def __init__(self, mels: int, device: torch.device, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.window = torch.hann_window(FRAME, device=device)
        filters = torch.as_tensor(mel_filters(mels), dtype=torch.float32)  # [bins, mels]
        self.filters = filters.T.contiguous().to(device)  # [mels, bins]

    def __call__(self, waveforms: Sequence[Waveform]) -> Tensor:
        """Waveforms of at most 30 s at 16 kHz -> `[B, mels, 3000]`, padded with silence."""
        # silence after the longest waveform is not transformed: its result is known
        longest = max(len(waveform) for waveform in waveforms)
        length = min(-(-(longest + FRAME) // HOP) * HOP, LONGEST)
        padded = np.zeros((len(waveforms), length), np.float32)
        for row, waveform in zip(padded, waveforms, strict=True):
            row[: len(waveform)] = waveform[:length]
        samples = torch.from_numpy(padded).to(self.window.device)  # [B, length]
        spectrum = torch.stft(samples, FRAME, HOP, window=self.window, return_complex=True)
        power = spectrum[..., :-1].abs().square()  # [B, bins, length / hop]
        mel = (self.filters @ power).clamp(min=QUIETEST).log10()  # [B, mels, length / hop]
        silence = (LONGEST - length) // HOP
        if silence:
            mel = torch.nn.functional.pad(mel, (0, silence), value=float(np.log10(QUIETEST)))
        loudest = mel.amax(dim=(1, 2), keepdim=True)
        return ((torch.maximum(mel, loudest - RANGE) + 4.0) / 4.0).to(self.dtype)


def mel_filters(mels: int) -> NDArray[np.float64]:
    """How much each frequency bin counts in each mel band, `[bins, mels]`: triangles of equal area.

    The bands' middles are equally far apart on slaney's scale: 200/3 Hz a mel up to 1 kHz, from there on logarithmic
    with 27 mels to a factor of 6.4.
    """
    steps = np.linspace(0, _mel(SAMPLE_RATE / 2), mels + 2)
    linear, logarithmic = steps * HZ_PER_MEL, LOG_FROM_HZ * np.exp((steps - _mel(LOG_FROM_HZ)) * LOG_STEP)
    edges = np.where(steps < _mel(LOG_FROM_HZ), linear, logarithmic)  # [mels + 2], in Hz
    bins = np.linspace(0, SAMPLE_RATE / 2, FRAME // 2 + 1)[:, None]  # in Hz
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    triangles: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return triangles


def _mel(hz: float) -> float:
    if hz < LOG_FROM_HZ:
        return hz / HZ_PER_MEL
    return LOG_FROM_HZ / HZ_PER_MEL + math.log(hz / LOG_FROM_HZ) / LOG_STEP
