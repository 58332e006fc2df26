"""CAM++'s frames over long stretches, the fast way: `CamPlus.frames` is its slow twin.

The same arithmetic in another order of the axes. The layers of the stages are products of `[T, C]` by small matrices;
with the channels last each product is one call, and a layer's output of 32 channels goes beside its inputs without
another copy of them. The front end's convolutions have the channels last too. On a CPU that multiplies bfloat16 all
is in bfloat16, which moves an embedding by a cosine of 4e-4. CPU time of 11 s of audio on a busy core: 230 ms in the
slow way, 173 in float32, 102 in bfloat16.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from turnscribe.diarization.campplus import SEGMENT, CamPlus, DenseLayer, ScaleShift, Stage
from turnscribe.diarization.filter_bank import FRAME, STEP, filter_bank
from turnscribe.diarization.precision import fast_type


class CamPlusTrunk:
    """A `voices.Trunk`: the network as `CamPlus` has it, on the device where it lies."""

    rate = 2  # features of a frame
    step = rate * STEP  # samples: 20 ms
    length = FRAME + (rate - 1) * STEP
    middle = FRAME / 2  # samples: of a frame's first feature
    hears_one = True

    def __init__(self, network: CamPlus) -> None:
        self.network = network
        self.device = network.dense.weight.device
        self.dtype = fast_type(self.device)
        self.dimension = network.dims.embedding
        self._front = copy.deepcopy(network.front).to(self.dtype)
        for convolution in self._front.modules():
            if isinstance(convolution, nn.Conv2d):
                convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)
        self._tdnn = copy.deepcopy(network.tdnn).to(self.dtype)
        self._stages = [_FastStage(stage, self.dtype) for stage in network.stages]
        self._out = _FastScaleShift(network.out, self.dtype)

    def features(self, waveform: Tensor) -> Tensor:
        """A waveform `[samples]` to features `[T, 80]`."""
        return filter_bank(waveform[None])[0]

    def frames(self, features: Tensor) -> Tensor:
        """Features `[B, 2 T, 80]`, whose mean is taken from them, to frames `[B, T, C]`."""
        features = (features - features.mean(dim=1, keepdim=True)).to(self.dtype)
        plane = features.transpose(1, 2)[:, None].contiguous(memory_format=torch.channels_last)  # [B, 1, 80, T]
        x = F.relu_(self._tdnn(self._front.of_plane(plane)))
        x = x.transpose(1, 2)  # [B, T, C]
        segments = _Segments(x.shape[1], x)
        for stage in self._stages:
            x = stage(x, segments)
        return self._out(x)

    def embed(self, statistics: Tensor) -> Tensor:
        """Mean and standard deviation `[N, 2 C]` to embeddings `[N, D]`."""
        return self.network.embed_statistics(statistics)


class _FastStage:
    """Densely connected layers, then half of all channels: `[B, T, C]` to `[B, T, C']`."""

    def __init__(self, stage: Stage, dtype: torch.dtype) -> None:
        self._layers = [_FastLayer(layer, dtype) for layer in stage.layers]
        self._channels, self._growth = stage.channels, stage.growth
        self._norm = _FastScaleShift(stage.norm, dtype)
        self._transit = stage.transit.weight[:, :, 0].to(dtype)

    def __call__(self, x: Tensor, segments: _Segments) -> Tensor:
        heard = x.new_empty(*x.shape[:2], self._channels + len(self._layers) * self._growth)
        heard[:, :, : self._channels] = x
        for k, layer in enumerate(self._layers):
            own = self._channels + k * self._growth
            heard[:, :, own : own + self._growth] = layer(heard[:, :, :own], segments)
        return F.linear(self._norm(heard), self._transit)


class _FastLayer:
    """One densely connected layer with its context-aware mask: `[B, T, C]` to `[B, T, growth]`."""

    def __init__(self, layer: DenseLayer, dtype: torch.dtype) -> None:
        self._norm = _FastScaleShift(layer.norm, dtype)
        self._narrow = _of_width_one(layer.narrow, dtype)
        self._squeeze, self._excite = _of_width_one(layer.squeeze, dtype), _of_width_one(layer.excite, dtype)
        self._dilation = layer.dilation
        # Of the frames before, at and after: [growth, 3 x bottleneck].
        self._local = layer.local.weight.transpose(1, 2).flatten(1).to(dtype)

    def __call__(self, x: Tensor, segments: _Segments) -> Tensor:
        x = F.relu_(F.linear(self._norm(x), *self._narrow))
        mask = F.linear(F.relu_(F.linear(segments.contexts(x), *self._squeeze)), *self._excite).sigmoid_()
        batch, count, width = x.shape
        dilation = self._dilation
        padded = F.pad(x, (0, 0, dilation, dilation))
        three = padded.as_strided(
            (batch, count, 3, width), ((count + 2 * dilation) * width, width, dilation * width, 1)
        )
        return F.linear(three.flatten(2), self._local).mul_(mask[:, segments.of_frame])


def _of_width_one(convolution: nn.Conv1d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight `[out, in]` and bias of a convolution that sees one frame at a time."""
    assert convolution.bias is not None
    return convolution.weight[:, :, 0].to(dtype), convolution.bias.to(dtype)


class _Segments:
    """The segments of `count` frames that the context-aware masks are made of."""

    def __init__(self, count: int, like: Tensor) -> None:
        self.of_frame = torch.arange(count, device=like.device) // SEGMENT  # [T]
        own = F.one_hot(self.of_frame).T  # [segments, T]
        self._own = own.to(like.dtype)
        self._shares = (1 / own.sum(dim=1, keepdim=True)).float(), 1 / count

    def contexts(self, x: Tensor) -> Tensor:
        """The mean of each segment's frames plus that of all, of `[B, T, C]`: `[B, segments, C]`."""
        sums = (self._own @ x).float()
        of_segment, of_all = self._shares
        return (sums * of_segment + sums.sum(dim=1, keepdim=True) * of_all).to(x.dtype)


class _FastScaleShift:
    """A batch normalisation that no convolution precedes, and the rectifier after it, of `[B, T, C]`."""

    def __init__(self, norm: ScaleShift, dtype: torch.dtype) -> None:
        self._scale, self._shift = norm.scale[:, 0].to(dtype), norm.shift[:, 0].to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addcmul(self._shift, x, self._scale).relu_()
