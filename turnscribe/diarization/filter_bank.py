"""Kaldi's filter bank: the logarithm of a speech signal's energy in mel bands, as CAM++ was trained on it.

The values are those of `compute-fbank-feats` with its defaults and without dither, for samples in [-1, 1]. The steps
are in Kaldi's documentation ("Feature extraction"), the figures in its `feature-window.h` and `mel-computations.h`.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from turnscribe.waveform import SAMPLE_RATE

FRAME, STEP = 400, 160  # samples: 25 ms and 10 ms
MEL_BINS = 80
FFT = 512  # the power of two above FRAME
LOWEST, HIGHEST = 20.0, SAMPLE_RATE / 2  # Hz: the edges of the first and the last band
PREEMPHASIS = 0.97
FLOOR = torch.finfo(torch.float32).eps  # energy below it counts as it


def filter_bank(waveforms: Tensor, mel_bins: int = MEL_BINS) -> Tensor:
    """`[B, T, mel_bins]` of waveforms `[B, samples]`, 16 kHz: a frame each 10 ms, and none that reaches past the end.

    The mean of each waveform's frames is subtracted. Needs at least `FRAME` samples.
    """
    frames = waveforms.unfold(1, FRAME, STEP)  # [B, T, FRAME]
    frames = frames - frames.mean(dim=2, keepdim=True)
    before = F.pad(frames, (1, 0), mode="replicate")[:, :, :-1]
    frames = (frames - PREEMPHASIS * before) * _window(waveforms.device)
    energy = torch.fft.rfft(frames, n=FFT)[:, :, :-1].abs().square()  # [B, T, FFT / 2]; the highest is in no band
    bands = (energy @ _bands(mel_bins, waveforms.device)).clamp(min=FLOOR).log()
    features: Tensor = bands - bands.mean(dim=1, keepdim=True)
    return features


@functools.lru_cache(maxsize=8)
def _window(device: torch.device) -> Tensor:
    """Povey's window `[FRAME]`: Hann's to the power of 0.85, so that it does not reach zero as fast."""
    return torch.hann_window(FRAME, periodic=False, dtype=torch.float64).pow(0.85).float().to(device)


@functools.lru_cache(maxsize=8)
def _bands(mel_bins: int, device: torch.device) -> Tensor:
    """Triangles `[FFT / 2, mel_bins]`, evenly spaced and straight in mel, each from the middle of its neighbours."""
    edges = torch.linspace(_mel(LOWEST), _mel(HIGHEST), mel_bins + 2, dtype=torch.float64)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]  # [mel_bins] each
    hertz = torch.arange(FFT // 2, dtype=torch.float64) * SAMPLE_RATE / FFT
    mel = (1127.0 * torch.log1p(hertz / 700.0))[:, None]  # [FFT / 2, 1]
    rise, fall = (mel - low) / (middle - low), (high - mel) / (high - middle)
    return torch.minimum(rise, fall).clamp(min=0.0).float().to(device)


def _mel(hertz: float) -> float:
    return 1127.0 * math.log1p(hertz / 700.0)
