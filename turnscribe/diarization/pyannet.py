"""PyanNet, the network that hears when each of up to three people speaks (pyannote's segmentation-3.0).

Sinc filters and two convolutions (SincNet, Ravanelli and Bengio, arXiv 1808.00158, with the even and odd filters of
Pariente et al., arXiv 1910.10400), a bidirectional LSTM, linear layers, and in each frame one class for each set of
people who may speak at once (the powerset of Plaquet and Bredin, arXiv 2310.13025).

Its weights come from the checkpoint as pyannote.audio saved it, without pyannote.audio: its outputs are the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnscribe.diarization.frames import Frames
from turnscribe.waveform import SAMPLE_RATE

KERNEL = 251  # samples of the sinc filters
LOWEST, NARROWEST = 50.0, 50.0  # Hz: no filter begins lower or is narrower
KERNELS, POOL = (KERNEL, 5, 5), 3  # of the three convolutions; the maximum of 3 follows each

# What comes of weights that are missing, of another shape (RuntimeError is torch's) or no weights at all.
NOT_OF_THE_NETWORK = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Dimensions:
    """The sizes of a PyanNet. The defaults are segmentation-3.0's."""

    stride: int = 10  # samples between two values of a sinc filter
    filters: int = 80  # an even number
    channels: int = 60  # of the two convolutions
    hidden: int = 128  # of each direction of the LSTM
    lstm_layers: int = 4
    linear: tuple[int, ...] = (128, 128)
    speakers: int = 3  # in one window
    at_once: int = 2

    @property
    def classes(self) -> int:
        """Sets of at most `at_once` of the speakers."""
        return sum(math.comb(self.speakers, number) for number in range(self.at_once + 1))


class PyanNet(nn.Module):
    """Waveforms `[B, samples]`, 16 kHz, to the logarithms of the classes' probabilities `[B, F, classes]`."""

    def __init__(self, dims: Dimensions = Dimensions()) -> None:
        super().__init__()
        self.dims = dims
        self.loudness = nn.InstanceNorm1d(1, affine=True)
        self.sinc = nn.Parameter(torch.zeros(dims.filters, 1, KERNEL))
        self.convolutions = nn.ModuleList(
            [nn.Conv1d(dims.filters, dims.channels, KERNELS[1]), nn.Conv1d(dims.channels, dims.channels, KERNELS[2])]
        )
        self.norms: Sequence[nn.InstanceNorm1d] = nn.ModuleList(  # type: ignore[assignment]
            nn.InstanceNorm1d(size, affine=True) for size in (dims.filters, dims.channels, dims.channels)
        )
        self.lstm = nn.LSTM(dims.channels, dims.hidden, dims.lstm_layers, batch_first=True, bidirectional=True)
        sizes = [2 * dims.hidden, *dims.linear]
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.classifier = nn.Linear(sizes[-1], dims.classes)
        self.register_buffer("members", _members(dims.speakers, dims.at_once), persistent=False)

    @property
    def frames(self) -> Frames:
        """How long a frame hears and how far the next is, in seconds."""
        return Frames(duration=self._reach(1) / SAMPLE_RATE, step=(self._reach(2) - self._reach(1)) / SAMPLE_RATE)

    def forward(self, waveforms: Tensor) -> Tensor:
        x = self.loudness(waveforms[:, None])
        x = F.conv1d(x, self.sinc, stride=self.dims.stride).abs()
        x = F.leaky_relu(self.norms[0](F.max_pool1d(x, POOL)))
        for convolution, norm in zip(self.convolutions, self.norms[1:], strict=True):
            x = F.leaky_relu(norm(F.max_pool1d(convolution(x), POOL)))
        x, _ = self.lstm(x.transpose(1, 2))  # [B, F, 2 hidden]
        return self.classify(x)

    def classify(self, x: Tensor) -> Tensor:
        """What the LSTM says `[B, F, 2 hidden]` to the logarithms of the classes' probabilities `[B, F, classes]`."""
        for linear in self.linear:
            x = F.leaky_relu(linear(x))
        return F.log_softmax(self.classifier(x), dim=-1)

    def speech(self, waveforms: Tensor) -> Tensor:
        """Who speaks in each frame `[B, F, speakers]`, zeros and ones, of waveforms `[B, samples]`."""
        likeliest = self(waveforms).argmax(dim=-1)  # [B, F]
        members: Tensor = self.get_buffer("members")
        return members[likeliest]

    def frames_of(self, samples: int) -> int:
        """How many frames come of so many samples."""
        for kernel, stride in zip(KERNELS, (self.dims.stride, 1, 1), strict=True):
            samples = ((samples - kernel) // stride + 1) // POOL
        return samples

    def _reach(self, frames: int) -> int:
        """Samples that so many frames hear."""
        for kernel, stride in zip(reversed(KERNELS), (1, 1, self.dims.stride), strict=True):
            frames = POOL * frames  # the pool's stride is its size
            frames = kernel + (frames - 1) * stride
        return frames


def _members(speakers: int, at_once: int) -> Tensor:
    """Who speaks in each class `[classes, speakers]`: nobody, each alone, then sets of two, ..."""
    sets = [chosen for size in range(at_once + 1) for chosen in itertools.combinations(range(speakers), size)]
    return torch.tensor([[float(speaker in chosen) for speaker in range(speakers)] for chosen in sets])


# pyannote's checkpoint ---------------------------------------------------------------------------------


def pyannet_from(checkpoint: Mapping[str, Any]) -> tuple[PyanNet, float]:
    """The network of a checkpoint of pyannote.audio, and the length of its windows in seconds.

    Raises `ValueError`, `KeyError` or `AttributeError` if the checkpoint is not a PyanNet's with a powerset.
    """
    state, parameters = checkpoint["state_dict"], checkpoint["hyper_parameters"]
    specifications = checkpoint["pyannote.audio"]["specifications"]
    weights = _renamed(state)
    sizes = [weights[f"linear.{k}.weight"].shape[0] for k in range(_count(weights, "linear."))]
    dims = Dimensions(
        stride=int(parameters["sincnet"]["stride"]),
        filters=len(weights["sinc"]),
        channels=len(weights["convolutions.0.weight"]),
        hidden=weights["lstm.weight_hh_l0"].shape[1],
        lstm_layers=sum(name.startswith("lstm.weight_hh") and not name.endswith("reverse") for name in weights),
        linear=tuple(sizes),
        speakers=len(specifications.classes),
        at_once=int(specifications.powerset_max_classes),
    )
    with torch.device("meta"):
        network = PyanNet(dims)
    expected = {name: weight.shape for name, weight in network.state_dict().items()}
    if {name: weight.shape for name, weight in weights.items()} != expected:
        raise ValueError("names or shapes are not those of a PyanNet")
    # Copied (6 MB): the network must not depend on the file any more.
    network.load_state_dict({name: weight.clone() for name, weight in weights.items()}, assign=True)
    network.register_buffer("members", _members(dims.speakers, dims.at_once), persistent=False)
    network.lstm.flatten_parameters()
    return network.eval().requires_grad_(False), float(specifications.duration)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint's weights under our names; the sinc filters, which it has as frequencies, as filters."""
    weights: dict[str, Tensor] = {}
    for name, weight in state.items():
        match name.removeprefix("sincnet.").split("."):
            case ["wav_norm1d", kind]:
                weights[f"loudness.{kind}"] = weight
            case ["norm1d", index, kind]:
                weights[f"norms.{index}.{kind}"] = weight
            case ["conv1d", index, kind]:
                weights[f"convolutions.{int(index) - 1}.{kind}"] = weight
            case ["conv1d", *_]:  # the first is made of frequencies
                pass
            case _:
                weights[name] = weight
    bank = "sincnet.conv1d.0.filterbank."
    weights["sinc"] = _sinc_filters(state[f"{bank}low_hz_"], state[f"{bank}band_hz_"])
    return weights


def _sinc_filters(low_hz: Tensor, band_hz: Tensor) -> Tensor:
    """Band-pass filters `[2 N, 1, KERNEL]`, N even and N odd ones, of their lower edges and widths `[N, 1]` in Hz.

    A band-pass is the difference of two low-passes, and a low-pass is a sinc function; here with Hamming's window.
    """
    low = LOWEST + low_hz.abs()
    high = (low + NARROWEST + band_hz.abs()).clamp(LOWEST, SAMPLE_RATE / 2)
    band = high - low  # [N, 1]
    half = KERNEL // 2
    radians = 2 * math.pi * (torch.arange(-half, 0.0)[None] / SAMPLE_RATE)  # [1, half], times before the middle
    window = torch.hamming_window(KERNEL, periodic=False, dtype=torch.float64)[:half].float()
    at_low, at_high = low @ radians, high @ radians  # [N, half]
    even = (at_high.sin() - at_low.sin()) / (radians / 2) * window
    odd = (at_low.cos() - at_high.cos()) / (radians / 2) * window
    filters = [
        torch.cat([even, 2 * band, even.flip(1)], dim=1),
        torch.cat([odd, torch.zeros_like(band), -odd.flip(1)], dim=1),
    ]
    return torch.cat([one / (2 * band) for one in filters])[:, None]


def _count(weights: Mapping[str, Tensor], prefix: str) -> int:
    return sum(name.startswith(prefix) and name.endswith(".weight") for name in weights)
