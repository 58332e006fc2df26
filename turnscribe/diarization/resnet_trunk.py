"""The trunk of WeSpeaker's ResNet34, the embedding network of pyannote's pipelines, for `voices.voices`.

pyannote's `ResNet.forward_frames` is its slow twin. Batch normalisations are folded into the convolutions before
them, channels lie last in memory, and on a CPU that multiplies bfloat16 the convolutions are in bfloat16. The
features and the head are pyannote's own. Nothing of pyannote is imported here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from turnscribe.diarization.filter_bank import FRAME, STEP
from turnscribe.diarization.precision import fast_type


class ResNetTrunk:
    """A `voices.Trunk` of a loaded `WeSpeakerResNet34`, on the device where it lies."""

    rate = 8  # features of a frame: three layers halve their number
    step = rate * STEP  # samples: 80 ms
    length = FRAME + (rate - 1) * STEP
    middle = FRAME / 2  # samples: of a frame's first feature
    hears_one = False

    def __init__(self, model: Any) -> None:
        self._model, resnet = model, model.resnet
        self.device = resnet.seg_1.weight.device
        self.dtype = fast_type(self.device)
        self.dimension = resnet.seg_1.out_features
        self._first = self._folded(resnet.conv1, resnet.bn1)
        self._blocks = [
            _Block(
                self._folded(block.conv1, block.bn1),
                self._folded(block.conv2, block.bn2),
                self._folded(*block.shortcut) if len(block.shortcut) else None,
            )
            for layer in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)
            for block in layer
        ]

    def features(self, waveform: Tensor) -> Tensor:
        """A waveform `[samples]` to features `[T, mel bins]`, without their mean."""
        features: Tensor = self._model.compute_fbank(waveform[None, None])[0]
        return features

    def frames(self, features: Tensor) -> Tensor:
        """Features `[B, 8 T, mel bins]` to frames `[B, T, C]`."""
        plane = features.transpose(1, 2)[:, None].to(self.dtype).contiguous(memory_format=torch.channels_last)
        x = F.relu_(self._first(plane))
        for block in self._blocks:
            x = block(x)
        return x.flatten(1, 2).transpose(1, 2)

    def embed(self, statistics: Tensor) -> Tensor:
        """Mean and standard deviation `[N, 2 C]` to embeddings `[N, D]`."""
        embeddings: Tensor = self._model.resnet.seg_1(statistics)
        return embeddings

    def _folded(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
        folded: nn.Conv2d = fuse_conv_bn_eval(convolution, norm).requires_grad_(False)
        folded.weight.data = folded.weight.data.contiguous(memory_format=torch.channels_last)
        return folded.to(self.dtype)


class _Block:
    """Two convolutions beside a short cut."""

    def __init__(self, first: nn.Module, second: nn.Module, short: nn.Module | None) -> None:
        self._first, self._second, self._short = first, second, short

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = self._second(F.relu_(self._first(x)))
        return F.relu_(y.add_(x if self._short is None else self._short(x)))
