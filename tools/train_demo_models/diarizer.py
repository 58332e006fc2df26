"""Trains the demo diarizer: a pyannote pipeline folder that pyannote.audio 3.4 and 4.x both load.

`config.yaml`, `segmentation/` (a PyanNet), `embedding/` (an x-vector), `plda/`; plain PyTorch loops over windows
composed out of the bank, without a database protocol. It knows the eight voices of `synthetic_speech` and no others:
the segmentation says which of the eight speaks in each frame, where a real one tells apart whoever is in its window.
Taught the latter, with its permutations, a model this small and this briefly trained told speech from silence and
hardly one voice from another.

What makes it cheap: SincNet's first layer (251 taps at 16 kHz) keeps its initial mel-spaced filters, so nothing
is propagated back through it; short windows come first; the x-vector reads a frame every 20 ms and embeds
all speakers of a window in one pass, as `weights` `[B, speakers, frames]`.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.train_demo_models.bank import Bank, Stage
from tools.train_demo_models.diarizer_folder import save_model, save_plda, tune_clustering, write_config
from tools.train_demo_models.scenes import make_batch
from turnscribe.cli.evaluation.synthetic_speech import VOICES

WINDOW_SECONDS = 10.0
SPEAKERS = 3  # at most, in a training window
SEGMENTATION_STAGES = (Stage(4, 16, 700), Stage(10, 8, 400))
EMBEDDING_STAGES = (Stage(4, 16, 260),)


def train_diarizer(bank: Bank, folder: Path, out: Path, *, seed: int, device: str = "cpu") -> None:
    """Train both models (or go on from the checkpoints in `folder`) and write the pipeline to `out`."""
    segmentation = train_segmentation(bank, folder, seed=seed, device=device)
    embedding = train_embedding(bank, folder, seed=seed, device=device)
    save_model(segmentation, out / "segmentation" / "pytorch_model.bin")
    save_model(embedding, out / "embedding" / "pytorch_model.bin")
    save_plda(out / "plda", *voice_embeddings(embedding, bank, seed=seed, device=device))
    write_config(out, threshold=0.6, min_cluster_size=4)
    write_config(out, **tune_clustering(out))


# Segmentation ----------------------------------------------------------------------------------------


def new_segmentation() -> Any:
    """A small untrained PyanNet whose powerset classes are: nobody, or one of the eight voices."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    lstm = {"hidden_size": 64, "num_layers": 2, "bidirectional": True, "monolithic": True, "dropout": 0.0}
    model = PyanNet(sincnet={"stride": 10}, lstm=lstm, linear={"hidden_size": 64, "num_layers": 0})
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=WINDOW_SECONDS,
        classes=[f"speaker#{index + 1}" for index in range(len(VOICES))],
        powerset_max_classes=1,
        permutation_invariant=False,
    )
    model.build()
    return model


def train_segmentation(bank: Bank, folder: Path, *, seed: int, device: str) -> Any:
    torch.manual_seed(seed)
    model = new_segmentation().to(device)
    for part in (model.sincnet.wav_norm1d, model.sincnet.conv1d[0]):
        part.requires_grad_(False)
    near = nn.Conv1d(60, 64, 31, padding=15, groups=4)  # half a second around a frame
    early_head = nn.Sequential(near, nn.ReLU(), nn.Conv1d(64, 1 + len(VOICES), 1))
    heads = nn.ModuleDict({"model": model, "sounds": early_head}).to(device)

    def losses(waveforms: Tensor, activity: Tensor) -> tuple[Tensor, str]:
        sounds = model.sincnet(waveforms)  # [B, 60, T]
        hidden, _ = model.lstm(sounds.transpose(1, 2))  # [B, T, 128]
        log_probabilities = model.activation(model.classifier(hidden)).transpose(1, 2)  # [B, 9, T]
        names = voice_names(activity)
        late = F.nll_loss(log_probabilities, names)
        early = F.cross_entropy(early_head(sounds), names)
        wrong = (log_probabilities.argmax(1) != names)[names >= 0].float().mean().item()
        return late + early, f"voices {late.item():.3f} wrong {wrong:.3f}"

    fit(heads, losses, bank, folder / "diarizer-segmentation.pt", SEGMENTATION_STAGES, seed, device, 3e-3)
    return model


def voice_names(activity: Tensor) -> Tensor:
    """[B, voices, T] -> [B, T]: 1 + the number of the voice heard, 0 for none, -100 (not learned) for two."""
    count = activity.sum(1)
    return torch.where(count > 1, -100, torch.where(count > 0, activity.argmax(1) + 1, 0))


# Embedding -------------------------------------------------------------------------------------------


def new_embedding() -> Any:
    """An untrained x-vector over 24 MFCCs every 20 ms; pyannote fixes the widths of its five layers."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import XVectorMFCC

    mels = {"n_fft": 512, "hop_length": 320, "n_mels": 40}
    model = XVectorMFCC(mfcc={"n_mfcc": 24, "melkwargs": mels}, dimension=32)
    model.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=WINDOW_SECONDS
    )
    return model


def train_embedding(bank: Bank, folder: Path, *, seed: int, device: str) -> Any:
    """By the voices' names: softmax over cosines x 15, the right one less 0.2 (the AM-softmax of 1801.05599)."""
    torch.manual_seed(seed)
    model, voices = new_embedding().to(device), nn.Linear(32, len(VOICES), bias=False).to(device)

    def losses(waveforms: Tensor, activity: Tensor) -> tuple[Tensor, str]:
        embeddings, labels = embed(model, waveforms, activity)
        cosines = F.normalize(embeddings, dim=-1) @ F.normalize(voices.weight, dim=-1).T
        margin = 0.2 * F.one_hot(labels, len(VOICES))
        loss = F.cross_entropy(15 * (cosines - margin), labels)
        right = (cosines.argmax(-1) == labels).float().mean().item()
        return loss, f"margin {loss.item():.3f} right {right:.3f} of {len(labels)}"

    heads = nn.ModuleDict({"model": model, "voices": voices})
    fit(heads, losses, bank, folder / "diarizer-embedding.pt", EMBEDDING_STAGES, seed, device, 1e-3)
    return model


def embed(model: Any, waveforms: Tensor, activity: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings `[N, 32]` and voice numbers `[N]` of everyone heard for 0.3 s (18 frames) alone or more.

    As in the pipeline with `embedding_exclude_overlap`, the weights leave out the frames of two speakers.
    """
    weights = activity * (activity.sum(1, keepdim=True) < 2)
    slots = weights.sum(-1).argsort(dim=1, descending=True)[:, :SPEAKERS]  # [B, SPEAKERS]: voice numbers
    weights = weights.gather(1, slots[..., None].expand(-1, -1, weights.shape[-1]))
    audible = weights.sum(-1) >= 18
    weights = torch.where(audible[..., None], weights, 1.0)  # the root of no variance has no gradient
    return model(waveforms, weights=weights)[audible], slots[audible]


def voice_embeddings(model: Any, bank: Bank, *, seed: int, device: str) -> tuple[NDArray, NDArray]:
    """Embeddings `[N, 32]` of new windows and their voices `[N]`."""
    model.eval()
    grid, rng = new_segmentation(), random.Random(f"{seed}-plda")
    with torch.inference_mode():
        batches = [make_batch(bank, rng, Stage(10, 16, 1), grid) for _ in range(12)]
        parts = [embed(model, waveforms.to(device), active.to(device)) for waveforms, active in batches]
    embeddings, voices = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    return embeddings.astype(np.float64), voices


# Training --------------------------------------------------------------------------------------------


def fit(
    heads: nn.ModuleDict,
    losses: Callable[[Tensor, Tensor], tuple[Tensor, str]],
    bank: Bank,
    checkpoint: Path,
    stages: tuple[Stage, ...],
    seed: int,
    device: str,
    peak: float,
) -> None:
    """Train in place, resuming at `checkpoint`; it is written, and progress printed, every 50 steps."""
    grid = new_segmentation()
    parameters = [parameter for parameter in heads.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=0.01)
    plan = [stage for stage in stages for _ in range(stage.steps)]
    step, began = 0, time.monotonic()
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        heads.load_state_dict(saved["heads"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    heads.train()
    while step < len(plan):
        warm = min((step + 1) / 50, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = peak * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / len(plan))))
        batch = make_batch(bank, random.Random(f"{seed}-{checkpoint.stem}-{step}"), plan[step], grid)
        loss, report = losses(batch[0].to(device), batch[1].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 25 == 0:
            seconds = time.monotonic() - began
            print(f"{checkpoint.stem} {step}/{len(plan)} {report} {seconds:.0f}s", flush=True)
        if step % 50 == 0 or step == len(plan):
            saved = {"heads": heads.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(saved, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").rename(checkpoint)
    heads.eval()
