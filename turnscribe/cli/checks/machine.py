"""Memory and disk: what the models need together, held against what the machine has.

Memory is reckoned from the models' shapes, not measured. Knows a model by its parameters and its configuration.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from turnscribe.cli.checks.models import Facts
from turnscribe.cli.checks.results import GB, Result
from turnscribe.devices import Device, device_of

# Memory, roughly. Weights: parameters x bytes a number. A window while it is decoded: the cross-attention's keys and
# values of 1,500 frames and the self-attention's of 448 tokens in each decoder layer, so 2 x 1,948 x layers x width
# numbers (large-v3 in float16: 0.32 GB), and as much again for the encoder's activations. The engine decodes 24 at
# once and halves that by itself, so too little for 24 is a warning, too little for one a failure.
WINDOW_POSITIONS = 1500 + 448
WINDOWS = 24
RUNTIME = {"cuda": 1.0 * GB, "cpu": 1.0 * GB}  # CUDA's context and libraries; Python's and torch's
DIARIZER = 1.5 * GB  # 30 MB of weights, and activations of the batches it takes on a small GPU


@dataclass(frozen=True)
class Machine:
    """What the checks are told of the machine, so that tests can tell them otherwise. Sizes in bytes."""

    device: str  # "cuda" or "cpu"
    name: str
    memory: float
    disk: float
    idle_gpu: bool = False  # there is a GPU that torch cannot use


def check_memory(facts: Mapping[str, Facts], machine: Machine, bytes_each: int) -> Result:
    name = "memory"
    config = facts["ASR_MODEL"].config
    weights = sum(found.parameters for found in facts.values()) * bytes_each
    layers, width = config.get("decoder_layers", 0), config.get("d_model", 0)
    window = 2 * (2 * WINDOW_POSITIONS * layers * width) * bytes_each
    fixed = weights + RUNTIME[machine.device] + ("DIARIZATION_MODEL" in facts) * DIARIZER
    one, all_ = (fixed + count * window for count in (1, WINDOWS))
    has = f"{machine.name} has {machine.memory / GB:.1f} GB"
    if math.isinf(machine.memory):
        has = f"what {machine.name} has is not known"
    if machine.idle_gpu:
        return Result(name, "warning", f"there is a GPU, and torch cannot use it; {has}", "update the NVIDIA driver")
    if not weights:
        return Result(name, "warning", f"not reckoned: ASR_MODEL's size is not known; {has}", "mend the models first")
    if one > machine.memory:
        advice = "choose a smaller model or a larger device"
        return Result(name, "FAILED", f"about {one / GB:.1f} GB are needed, {has}", advice)
    if all_ > machine.memory:
        advice = "set INFERENCE_BATCH_SIZE lower, or leave it: it is halved by itself"
        return Result(name, "warning", f"about {all_ / GB:.1f} GB for {WINDOWS} windows at once, {has}", advice)
    return Result(name, "ok", f"about {all_ / GB:.1f} GB are needed, {has}")


def check_disk(needed: int, free: float) -> Result:
    text = f"{needed / GB:.1f} GB to download, {free / GB:.1f} GB free"
    if needed * 1.1 > free:
        return Result("disk", "FAILED", text, "free some, or set HF_HOME to a folder on a larger disk")
    return Result("disk", "ok", text)


def this_machine(gpu: Device | None = None) -> Machine:
    """What there is; `gpu` in place of torch's own."""
    import torch
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    disk = shutil.disk_usage(folder).free
    gpu = gpu or (device_of("cuda") if torch.cuda.is_available() else None)
    if gpu is not None:
        return Machine("cuda", gpu.name, gpu.free_memory, disk)
    memory = math.inf  # not known on Windows
    if hasattr(os, "sysconf"):
        memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    limit = Path("/sys/fs/cgroup/memory.max")  # a container's
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        memory = min(memory, float(text))
    return Machine("cpu", "this machine", memory, disk, idle_gpu=shutil.which("nvidia-smi") is not None)
