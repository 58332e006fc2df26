"""Waveforms to log-mel features, on the device the model is on. Slow twin: transformers' `WhisperFeatureExtractor`.

Steps and constants are those of the Whisper paper, section 2.2: 25 ms Hann frames every 10 ms, slaney mel bands,
log10 clipped to eight below the window's highest value, then scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from turnscribe.waveform import Waveform

QUIETEST = 1e-10  # of a mel band's power
RANGE = 8.0  # in powers of ten


class LogMel:
    """Made from a `WhisperFeatureExtractor`, whose filters and lengths it uses."""

    def __init__(self, extractor: Any, device: torch.device, dtype: torch.dtype) -> None:
        self.n_fft, self.hop, self.samples = extractor.n_fft, extractor.hop_length, extractor.n_samples
        self.dtype = dtype
        self.window = torch.hann_window(self.n_fft, device=device)
        filters = torch.as_tensor(np.asarray(extractor.mel_filters), dtype=torch.float32)  # [bins, mels]
        self.filters = filters.T.contiguous().to(device)  # [mels, bins]

    def __call__(self, waveforms: Sequence[Waveform]) -> Tensor:
        """Waveforms of at most 30 s at 16 kHz -> `[B, mels, 3000]`, padded with silence."""
        # silence after the longest waveform is not transformed: its result is known
        longest = max(len(waveform) for waveform in waveforms)
        length = min(-(-(longest + self.n_fft) // self.hop) * self.hop, self.samples)
        padded = np.zeros((len(waveforms), length), np.float32)
        for row, waveform in zip(padded, waveforms, strict=True):
            row[: len(waveform)] = waveform[:length]
        samples = torch.from_numpy(padded).to(self.window.device)  # [B, length]
        spectrum = torch.stft(samples, self.n_fft, self.hop, window=self.window, return_complex=True)
        power = spectrum[..., :-1].abs().square()  # [B, bins, length / hop]
        mel = (self.filters @ power).clamp(min=QUIETEST).log10()  # [B, mels, length / hop]
        silence = (self.samples - length) // self.hop
        if silence:
            mel = torch.nn.functional.pad(mel, (0, silence), value=float(np.log10(QUIETEST)))
        loudest = mel.amax(dim=(1, 2), keepdim=True)
        return ((torch.maximum(mel, loudest - RANGE) + 4.0) / 4.0).to(self.dtype)
