"""The open diarizer's networks, of their true shapes and with random weights, on a long recording of noise.

The segmentation's classes are balanced on the noise, so that there is speech of several people to embed. The whole
diarizer is run where scipy is there to cluster with; elsewhere everybody is one person.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tools.benchmarks.cuda.report import Row
from tools.benchmarks.cuda.speed import Meter
from turnscribe.devices import Device
from turnscribe.waveform import SAMPLE_RATE

SECTION = "Diarization"


@dataclass(frozen=True)
class Everybody:
    """In place of `Clustering`: one person."""

    def clusters(self, voices: Any, speech: Any, counts: Mapping[str, int]) -> Any:
        return np.zeros(speech.shape[:: speech.ndim - 1], np.int16)


@torch.inference_mode()
def diarized(device: Device, seconds: float) -> Row:
    """One pass over so many seconds, after a short one that warms up."""
    from turnscribe.diarization.campplus import CamPlus
    from turnscribe.diarization.open_diarizer import CLUSTERINGS, OpenDiarizer
    from turnscribe.diarization.pyannet import PyanNet
    from turnscribe.listener import SILENT
    from turnscribe.request import Request

    torch.manual_seed(0)
    segmentation, embedding = PyanNet().eval(), CamPlus().eval()
    torch.nn.init.normal_(segmentation.sinc, std=0.05)
    waveform = noise(seconds)
    _balance(segmentation, torch.from_numpy(waveform[: 40 * SAMPLE_RATE]))
    clusters = importlib.util.find_spec("scipy") is not None
    diarizer = OpenDiarizer(
        segmentation.to(device.torch_device),
        embedding.to(device.torch_device),
        device=device,
        clustering=CLUSTERINGS["fast"] if clusters else Everybody(),  # type: ignore[arg-type]
        effort="fast",
    )
    diarizer.turns(waveform[: 20 * SAMPLE_RATE], Request(), SILENT)
    meter, turns = Meter(device), list[Any]()
    taken = meter.seconds(lambda: turns.extend(diarizer.turns(waveform, Request(), SILENT)))
    note = f"{len(turns)} turns" + ("" if clusters else ", without clustering: scipy is missing")
    name = f"open diarizer, {seconds:g} s of audio"
    return Row(SECTION, name, None, taken, seconds / taken, meter.gigabytes, note=note)


def noise(seconds: float) -> Any:
    """Noise whose loudness changes every quarter of a second."""
    random = np.random.default_rng(0)
    count = round(seconds * SAMPLE_RATE)
    loudness = np.repeat(random.uniform(size=count // 4000 + 1) ** 2, 4000)[:count]
    return (0.3 * loudness * random.standard_normal(count, np.float32)).astype(np.float32)


def _balance(segmentation: Any, waveform: torch.Tensor) -> None:
    """Shift and scale the classes, so that each comes up."""
    heard: list[torch.Tensor] = []
    handle = segmentation.classifier.register_forward_hook(lambda _, given, result: heard.append(result))
    segmentation(waveform[None])
    handle.remove()
    classes = heard[0][0]  # [F, classes]
    scale = 3 / classes.std(dim=0).clamp(min=1e-6)
    layer = segmentation.classifier
    layer.bias.copy_((layer.bias - classes.mean(dim=0)) * scale)
    layer.weight.mul_(scale[:, None])
