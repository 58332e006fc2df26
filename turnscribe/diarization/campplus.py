"""CAM++, a network that hears who speaks (Wang et al., arXiv 2303.00332): a voice as an embedding of 192 numbers.

1. The front end: convolutions with residual blocks over mel bins and time; an eighth of the bins is left.
2. A time-delay layer that halves the rate of frames: 20 ms from here on.
3. Three stages of densely connected layers: each adds 32 channels to what it hears. Inside a layer a context-aware
   mask weighs the channels, from the mean of all frames and the mean of the frame's own 2 s.
4. Pooling over time: mean and standard deviation of each channel.
5. A linear layer.

Of several speakers in one window, each is heard from its own frames alone: they are cut out of the features and
pass the network as if nobody else had spoken. The other way, that of pyannote's own embedding models, is one pass
of steps 1 to 3 for the window, and the speakers' frames as weights in step 4. But then the context of step 3, and
the mean taken from the features, are everybody's, and the voices of one window sound more alike. In 29 minutes of
real voices (of those that the clustering was tuned on, `docs/open-diarizer.md`) pairs of voices of a recording were
told apart with an equal error rate of 7.3 % cut out and 10.7 % weighted, and the diarization error rate, each with
its best threshold, was 26.3 and 27.7 %. The time was the same, 0.15 s a second of audio on one core: what is silent
costs nothing, which makes up for what is heard twice.

Batch normalisation is a scale and a shift once a network is trained; where it follows a convolution they are folded
into its weights. That changes the outputs by about 1e-6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnscribe.diarization.filter_bank import FRAME, MEL_BINS, STEP, filter_bank

SEGMENT = 100  # frames of the context-aware mask's segments: 2 s
DILATIONS = (1, 2, 2)  # of the three stages
QUANTUM = 20  # frames of 10 ms: speakers are cut out in multiples of it, as those of one length share a pass
SHORTEST_VOICE = FRAME + (QUANTUM - 1) * STEP  # samples: 0.2 s
EPSILON = 1e-5  # of batch normalisation, PyTorch's default


@dataclass(frozen=True)
class Dimensions:
    """The sizes of a CAM++, read off its weights. The defaults are the published model's."""

    front: int = 32  # channels of the front end
    first: int = 128  # channels before the first stage
    growth: int = 32  # channels that each layer adds
    bottleneck: int = 128  # channels inside a layer
    layers: tuple[int, ...] = (12, 24, 16)  # of each stage
    embedding: int = 192


class CamPlus(nn.Module):
    """Waveforms `[B, samples]`, 16 kHz, to embeddings `[B, D]`; with masks of speakers `[B, S, F]`, `[B, S, D]`.

    A waveform has at least `SHORTEST_VOICE` samples.
    """

    def __init__(self, dims: Dimensions = Dimensions()) -> None:
        super().__init__()
        self.dims = dims
        self.front = _FrontEnd(dims.front)
        self.tdnn = nn.Conv1d(dims.front * (MEL_BINS // 8), dims.first, 5, stride=2, padding=2)
        channels, stages = dims.first, []
        for layers, dilation in zip(dims.layers, DILATIONS, strict=True):
            stages.append(Stage(channels, layers, dilation, dims))
            channels = (channels + layers * dims.growth) // 2
        self.stages: Sequence[Stage] = nn.ModuleList(stages)  # type: ignore[assignment]
        self.out = ScaleShift(channels)
        self.dense = nn.Conv1d(2 * channels, dims.embedding, 1)

    def forward(self, waveforms: Tensor, masks: Tensor | None = None) -> Tensor:
        features = filter_bank(waveforms)
        return self.embed(features) if masks is None else self.embed_speakers(features, masks)

    def embed(self, features: Tensor) -> Tensor:
        """Features `[B, T, 80]` to embeddings `[B, D]`."""
        x = self.frames(features)
        return self.embed_statistics(torch.cat([x.mean(dim=2), x.std(dim=2)], dim=1))

    def frames(self, features: Tensor) -> Tensor:
        """Steps 1 to 3: features `[B, T, 80]` to what is pooled, `[B, C, T / 2]`."""
        x = F.relu(self.tdnn(self.front(features.transpose(1, 2))))
        for stage in self.stages:
            x = stage(x)
        out: Tensor = self.out(x)
        return out

    def embed_statistics(self, statistics: Tensor) -> Tensor:
        """Step 5: mean and standard deviation `[B, 2 C]` to embeddings `[B, D]`."""
        embeddings: Tensor = self.dense(statistics[:, :, None])
        return embeddings[:, :, 0]

    def embed_speakers(self, features: Tensor, masks: Tensor) -> Tensor:
        """Features `[B, T, 80]` and each speaker's mask `[B, S, F]`, zeros and ones, to embeddings `[B, S, D]`.

        Masks of another number of frames are stretched. A speaker without a frame has an embedding of zeros.
        """
        stretched = F.interpolate(masks, size=features.shape[1], mode="nearest").cpu() > 0.5  # [B, S, T]
        groups: dict[int, list[tuple[int, int, Tensor]]] = {}  # of one length, which pass the network together
        for b, s in stretched.any(dim=2).nonzero().tolist():
            own = _whole_quanta(stretched[b, s].nonzero()[:, 0])
            groups.setdefault(len(own), []).append((b, s, own))
        embeddings = features.new_zeros(*masks.shape[:2], self.dims.embedding)
        for group in groups.values():
            for first in range(0, len(group), len(features)):
                windows, speakers, frames = zip(*group[first : first + len(features)], strict=True)
                cut = features[torch.tensor(windows)[:, None], torch.stack(frames)]  # [N, length, 80]
                embeddings[list(windows), list(speakers)] = self.embed(cut - cut.mean(dim=1, keepdim=True))
        return embeddings


class _FrontEnd(nn.Module):
    """`[B, mel bins, T]` to `[B, channels x mel bins / 8, T]`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(_Residual(channels, stride) for stride in (2, 1, 2, 1)))
        self.last = nn.Conv2d(channels, channels, 3, stride=(2, 1), padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return self.of_plane(features[:, None])

    def of_plane(self, features: Tensor) -> Tensor:
        """The same of `[B, 1, mel bins, T]`, in any memory format."""
        x = F.relu(self.first(features), inplace=True)
        return F.relu(self.last(self.blocks(x)), inplace=True).flatten(1, 2)


class _Residual(nn.Module):
    """Two convolutions beside a short cut; `stride` is that over the mel bins."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, stride=(stride, 1), padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.short = nn.Conv2d(channels, channels, 1, stride=(stride, 1)) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x), inplace=True))
        return F.relu(y.add_(self.short(x)), inplace=True)


class Stage(nn.Module):
    """Densely connected layers, then half of all channels: `[B, C, T]` to `[B, C', T]`."""

    def __init__(self, channels: int, layers: int, dilation: int, dims: Dimensions) -> None:
        super().__init__()
        self.layers: Sequence[DenseLayer] = nn.ModuleList(  # type: ignore[assignment]
            DenseLayer(channels + k * dims.growth, dilation, dims) for k in range(layers)
        )
        self.channels, self.growth = channels, dims.growth
        total = channels + layers * dims.growth
        self.norm = ScaleShift(total)
        self.transit = nn.Conv1d(total, total // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        heard = x.new_empty(len(x), self.channels + len(self.layers) * self.growth, x.shape[2])
        heard[:, : self.channels] = x
        for k, layer in enumerate(self.layers):
            own = self.channels + k * self.growth
            heard[:, own : own + self.growth] = layer(heard[:, :own])
        out: Tensor = self.transit(self.norm(heard))
        return out


class DenseLayer(nn.Module):
    """One densely connected layer with its context-aware mask: `[B, C, T]` to `[B, growth, T]`."""

    def __init__(self, channels: int, dilation: int, dims: Dimensions) -> None:
        super().__init__()
        self.norm = ScaleShift(channels)
        self.narrow = nn.Conv1d(channels, dims.bottleneck, 1)
        self.dilation = dilation
        self.local = nn.Conv1d(dims.bottleneck, dims.growth, 3, padding=dilation, dilation=dilation, bias=False)
        self.squeeze = nn.Conv1d(dims.bottleneck, dims.bottleneck // 2, 1)
        self.excite = nn.Conv1d(dims.bottleneck // 2, dims.growth, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.narrow(self.norm(x)), inplace=True)
        # One context for each segment; the last may be shorter, and its mean is of what it has.
        context = F.avg_pool1d(x, SEGMENT, ceil_mode=True) + x.mean(dim=2, keepdim=True)  # [B, bottleneck, segments]
        mask = torch.sigmoid(self.excite(F.relu(self.squeeze(context), inplace=True)))
        local: Tensor = self.local(x)
        return local.mul_(mask.repeat_interleave(SEGMENT, dim=2)[:, :, : x.shape[2]])


class ScaleShift(nn.Module):
    """A batch normalisation that no convolution precedes, and the rectifier after it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.addcmul(self.shift, x, self.scale), inplace=True)


def _whole_quanta(frames: Tensor) -> Tensor:
    """Frames `[length]` without the last few, so that few lengths come up; too few are repeated."""
    if len(frames) < QUANTUM:
        return frames.repeat(QUANTUM)[:QUANTUM]
    return frames[: len(frames) // QUANTUM * QUANTUM]


# The published weights ---------------------------------------------------------------------------------


def campplus_from(state: Mapping[str, Tensor]) -> CamPlus:
    """The network with the weights of a checkpoint of 3D-Speaker (`campplus_cn_en_common.pt`), by its names.

    Raises `ValueError` or `KeyError` if names or shapes are not those of a CAM++.
    """
    weights = {name: weight for name, weight in state.items() if not name.endswith("num_batches_tracked")}
    folded = _folded(weights)
    dims = _dimensions(folded)
    with torch.device("meta"):
        network = CamPlus(dims)
    expected = {name: weight.shape for name, weight in network.state_dict().items()}
    if {name: weight.shape for name, weight in folded.items()} != expected:
        raise ValueError("names or shapes are not those of a CAM++")
    # Copied, where folding has not done so: the network must not depend on the file any more.
    network.load_state_dict({name: weight.clone() for name, weight in folded.items()}, assign=True)
    return network.eval().requires_grad_(False)


# A convolution's name in the checkpoint, that of the normalisation after it if there is one, and our name.
_CONVOLUTIONS = (
    (r"head\.conv1", r"head.bn1", "front.first"),
    (r"head\.conv2", r"head.bn2", "front.last"),
    (r"head\.layer(\d)\.(\d)\.conv(\d)", r"head.layer\1.\2.bn\3", "front.blocks.{block}.{part}"),
    (r"head\.layer(\d)\.(\d)\.shortcut\.0", r"head.layer\1.\2.shortcut.1", "front.blocks.{block}.short"),
    (r"xvector\.tdnn\.linear", r"xvector.tdnn.nonlinear.batchnorm", "tdnn"),
    (r"xvector\.dense\.linear", r"xvector.dense.nonlinear.batchnorm", "dense"),
)
_IN_LAYER = {"linear_local": "local", "linear1": "squeeze", "linear2": "excite"}


def _folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under our names, with normalisations folded into what precedes them."""
    folded: dict[str, Tensor] = {}
    for name in weights:
        if not name.endswith(".weight"):
            continue
        stem = name.removesuffix(".weight")
        if match := re.fullmatch(r"xvector\.block(\d+)\.tdnnd(\d+)\.(.+)", stem):
            layer = f"stages.{int(match[1]) - 1}.layers.{int(match[2]) - 1}"
            _fold_layer(folded, weights, stem, match[3], layer)
        elif match := re.fullmatch(r"xvector\.transit(\d+)\.linear", stem):
            folded[f"stages.{int(match[1]) - 1}.transit.weight"] = weights[name]
        elif match := re.fullmatch(r"xvector\.transit(\d+)\.nonlinear\.batchnorm", stem):
            _fold_norm(folded, weights, stem, f"stages.{int(match[1]) - 1}.norm")
        elif stem == "xvector.out_nonlinear.batchnorm":
            _fold_norm(folded, weights, stem, "out")
        else:
            for pattern, norm, ours in _CONVOLUTIONS:
                if match := re.fullmatch(pattern, stem):
                    _fold_convolution(folded, weights, stem, match.expand(norm), _named(ours, match))
    return folded


def _named(ours: str, match: re.Match[str]) -> str:
    if not match.groups():
        return ours
    numbers = [int(number) for number in match.groups()]
    part = {1: "first", 2: "second"}.get(numbers[-1], "") if len(numbers) == 3 else ""
    return ours.format(block=2 * (numbers[0] - 1) + numbers[1], part=part)


def _fold_layer(folded: dict[str, Tensor], weights: Mapping[str, Tensor], stem: str, part: str, layer: str) -> None:
    if part == "nonlinear1.batchnorm":
        _fold_norm(folded, weights, stem, f"{layer}.norm")
    elif part == "linear1":
        norm = stem.removesuffix("linear1") + "nonlinear2.batchnorm"
        _fold_convolution(folded, weights, stem, norm, f"{layer}.narrow")
    elif part.startswith("cam_layer."):
        ours = f"{layer}.{_IN_LAYER.get(part.removeprefix('cam_layer.'), part)}"
        folded[f"{ours}.weight"] = weights[f"{stem}.weight"]
        if f"{stem}.bias" in weights:
            folded[f"{ours}.bias"] = weights[f"{stem}.bias"]


def _fold_norm(folded: dict[str, Tensor], weights: Mapping[str, Tensor], norm: str, ours: str) -> None:
    scale, shift = _scale_and_shift(weights, norm)
    folded[f"{ours}.scale"], folded[f"{ours}.shift"] = scale[:, None], shift[:, None]


def _fold_convolution(
    folded: dict[str, Tensor], weights: Mapping[str, Tensor], stem: str, norm: str, ours: str
) -> None:
    scale, shift = _scale_and_shift(weights, norm)
    weight = weights[f"{stem}.weight"]
    folded[f"{ours}.weight"] = weight * scale.view(-1, *(1 for _ in weight.shape[1:]))
    folded[f"{ours}.bias"] = shift


def _scale_and_shift(weights: Mapping[str, Tensor], norm: str) -> tuple[Tensor, Tensor]:
    """What a batch normalisation does to each channel; the last one of the network has no weights of its own."""
    mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
    scale = weights.get(f"{norm}.weight", torch.ones_like(mean)) / (variance + EPSILON).sqrt()
    return scale, weights.get(f"{norm}.bias", torch.zeros_like(mean)) - mean * scale


def _dimensions(folded: Mapping[str, Tensor]) -> Dimensions:
    layers: dict[int, int] = {}
    for name in folded:
        if match := re.match(r"stages\.(\d+)\.layers\.(\d+)\.", name):
            layers[int(match[1])] = max(layers.get(int(match[1]), 0), int(match[2]) + 1)
    first = folded["stages.0.layers.0.narrow.weight"]
    return Dimensions(
        front=len(folded["front.first.weight"]),
        first=first.shape[1],
        growth=len(folded["stages.0.layers.0.local.weight"]),
        bottleneck=len(first),
        layers=tuple(layers[stage] for stage in sorted(layers)),
        embedding=len(folded["dense.weight"]),
    )
