"""Tiny random networks in the files of the open diarizer, with the names and types of the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from turnscribe.diarization.diarizer import OPEN_EMBEDDING, OPEN_SEGMENTATION

LAYERS, DILATIONS = (2, 3, 1), (1, 2, 2)
FRONT, FIRST, GROWTH, BOTTLENECK, EMBEDDING = 4, 16, 8, 12, 24


def write_open_folder(folder: Path) -> Path:
    for file, saved in ((OPEN_SEGMENTATION, segmentation_checkpoint()), (OPEN_EMBEDDING, campplus_state())):
        (folder / file).parent.mkdir(parents=True)
        torch.save(saved, folder / file)
    return folder


def segmentation_checkpoint(seconds: float = 2.0) -> dict[str, Any]:
    """As pyannote.audio saves one, its own types in it."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(0)
    lstm = {"hidden_size": 16, "num_layers": 2, "bidirectional": True, "monolithic": True, "dropout": 0.0}
    linear = {"hidden_size": 12, "num_layers": 2}
    model = PyanNet(lstm=lstm, linear=linear)
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=seconds,
        classes=["speaker#1", "speaker#2", "speaker#3"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.build()
    _decide(model.eval())
    return {
        "state_dict": model.state_dict(),
        "hyper_parameters": {"sincnet": {"stride": 10, "sample_rate": 16_000}, "lstm": lstm, "linear": linear},
        "pytorch-lightning_version": "2.1.0",
        "pyannote.audio": {
            "versions": {"torch": "2.1.0", "pyannote.audio": "3.0.0"},
            "architecture": {"module": PyanNet.__module__, "class": PyanNet.__name__},
            "specifications": model.specifications,
        },
    }


def _decide(model: Any) -> None:
    """Scale the random classifier so that every class comes up."""
    heard: list[Tensor] = []
    handle = model.classifier.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    loudness = torch.rand(16, 1, 8).repeat_interleave(4_000, dim=2).square()  # changes each quarter of a second
    with torch.no_grad():
        model(torch.randn(16, 1, 32_000).cumsum(dim=2).sin() * loudness)
        handle.remove()
        features = heard[0].flatten(0, 1)  # [frames, H]
        weight = model.classifier.weight
        weight /= (features @ weight.T).std(dim=0)[:, None] / 4
        model.classifier.bias.copy_(-(features @ weight.T).mean(dim=0))


def campplus_state() -> dict[str, Tensor]:
    """Random weights under the names of `campplus_cn_en_common.pt`."""
    torch.manual_seed(1)
    state: dict[str, Tensor] = {}

    def convolution(name: str, *shape: int) -> None:
        state[f"{name}.weight"] = torch.randn(shape) / (torch.tensor(shape[1:]).prod() ** 0.5)

    def norm(name: str, size: int, *, affine: bool = True) -> None:
        if affine:
            state[f"{name}.weight"], state[f"{name}.bias"] = 1 + torch.randn(size) / 4, torch.randn(size) / 4
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.randn(size) / 4, 0.5 + torch.rand(size)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("head.conv1", FRONT, 1, 3, 3)
    norm("head.bn1", FRONT)
    for layer in (1, 2):
        for block in (0, 1):
            for number in (1, 2):
                convolution(f"head.layer{layer}.{block}.conv{number}", FRONT, FRONT, 3, 3)
                norm(f"head.layer{layer}.{block}.bn{number}", FRONT)
        convolution(f"head.layer{layer}.0.shortcut.0", FRONT, FRONT, 1, 1)
        norm(f"head.layer{layer}.0.shortcut.1", FRONT)
    convolution("head.conv2", FRONT, FRONT, 3, 3)
    norm("head.bn2", FRONT)
    convolution("xvector.tdnn.linear", FIRST, FRONT * 10, 5)
    norm("xvector.tdnn.nonlinear.batchnorm", FIRST)
    channels = FIRST
    for stage, layers in enumerate(LAYERS, 1):
        for number in range(1, layers + 1):
            name = f"xvector.block{stage}.tdnnd{number}"
            norm(f"{name}.nonlinear1.batchnorm", channels)
            convolution(f"{name}.linear1", BOTTLENECK, channels, 1)
            norm(f"{name}.nonlinear2.batchnorm", BOTTLENECK)
            convolution(f"{name}.cam_layer.linear_local", GROWTH, BOTTLENECK, 3)
            for part, out, into in (("linear1", BOTTLENECK // 2, BOTTLENECK), ("linear2", GROWTH, BOTTLENECK // 2)):
                convolution(f"{name}.cam_layer.{part}", out, into, 1)
                state[f"{name}.cam_layer.{part}.bias"] = torch.randn(out)
            channels += GROWTH
        norm(f"xvector.transit{stage}.nonlinear.batchnorm", channels)
        convolution(f"xvector.transit{stage}.linear", channels // 2, channels, 1)
        channels //= 2
    norm("xvector.out_nonlinear.batchnorm", channels)
    convolution("xvector.dense.linear", EMBEDDING, 2 * channels, 1)
    norm("xvector.dense.nonlinear.batchnorm", EMBEDDING, affine=False)
    return state


def slow_campplus(state: dict[str, Tensor], features: Tensor) -> Tensor:
    """Features `[B, T, 80]` to embeddings `[B, D]`, step by step as the paper has them: nothing folded or shared."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, state.get(f"{name}.weight"), state.get(f"{name}.bias"))

    def plane(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=(stride, 1), padding=weight.shape[-1] // 2)

    def line(x: Tensor, name: str, **options: int) -> Tensor:
        return F.conv1d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)

    x = F.relu(norm(plane(features.transpose(1, 2)[:, None], "head.conv1"), "head.bn1"))
    for layer in (1, 2):
        for block in (0, 1):
            name, stride = f"head.layer{layer}.{block}", 2 - block
            short = x if block else norm(plane(x, f"{name}.shortcut.0", stride), f"{name}.shortcut.1")
            y = F.relu(norm(plane(x, f"{name}.conv1", stride), f"{name}.bn1"))
            x = F.relu(norm(plane(y, f"{name}.conv2"), f"{name}.bn2") + short)
    x = F.relu(norm(plane(x, "head.conv2", 2), "head.bn2"))
    x = x.reshape(x.shape[0], -1, x.shape[3])
    x = F.relu(norm(line(x, "xvector.tdnn.linear", stride=2, padding=2), "xvector.tdnn.nonlinear.batchnorm"))
    for stage, (layers, dilation) in enumerate(zip(LAYERS, DILATIONS, strict=True), 1):
        for number in range(1, layers + 1):
            name = f"xvector.block{stage}.tdnnd{number}"
            y = line(F.relu(norm(x, f"{name}.nonlinear1.batchnorm")), f"{name}.linear1")
            y = F.relu(norm(y, f"{name}.nonlinear2.batchnorm"))
            means = torch.cat([part.mean(2, keepdim=True).expand_as(part) for part in y.split(100, dim=2)], dim=2)
            context = F.relu(line(y.mean(2, keepdim=True) + means, f"{name}.cam_layer.linear1"))
            mask = torch.sigmoid(line(context, f"{name}.cam_layer.linear2"))
            local = line(y, f"{name}.cam_layer.linear_local", padding=dilation, dilation=dilation)
            x = torch.cat([x, local * mask], dim=1)
        x = F.relu(norm(x, f"xvector.transit{stage}.nonlinear.batchnorm"))
        x = line(x, f"xvector.transit{stage}.linear")
    x = F.relu(norm(x, "xvector.out_nonlinear.batchnorm"))
    statistics = torch.cat([x.mean(2), x.std(2)], dim=1)[:, :, None]
    return norm(line(statistics, "xvector.dense.linear"), "xvector.dense.nonlinear.batchnorm")[:, :, 0]
