"""Trains the demo Whisper and distils its assistant; see `asr_model.py` for what made it quick."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.train_demo_models.asr_data import IGNORED, Batch, make_batch
from tools.train_demo_models.asr_model import Trainee, new_model
from tools.train_demo_models.bank import Bank, Stage
from tools.train_demo_models.tokenizer import TokenIds

STAGES = (Stage(5, 24, 2400), Stage(12, 10, 900), Stage(30, 6, 900))
ASSISTANT_STAGES = (Stage(12, 10, 500), Stage(30, 6, 250))
REFINING_STAGES = (Stage(12, 12, 500), Stage(30, 6, 800))
TRACKING_STAGES = (Stage(30, 8, 700),)
PEAK_LEARNING_RATE = 2e-3
REFINING_LEARNING_RATE = 1e-3
TRACKING_LEARNING_RATE = 8e-4
FINAL_LEARNING_RATE = 2e-5


@dataclass(frozen=True)
class Losses:
    total: Tensor
    tokens: Tensor
    accuracy: float  # share of learned tokens that are the likeliest


def losses(trainee: Trainee, batch: Batch, *, guidance_weight: float) -> Losses:
    encoded = trainee.encode(trainee.log_mel(batch.waveforms), batch.first_frame)
    logits, guided = trainee.decode(batch.inputs, encoded)
    learned = batch.targets != IGNORED
    tokens = F.cross_entropy(logits[learned], batch.targets[learned])
    frames = F.cross_entropy(trainee.frame_head(encoded).flatten(0, 1), batch.frame_words.flatten())
    guidance = _guidance(guided[0], batch.input_frames) + _guidance(guided[-1], batch.target_frames)
    right = (logits.argmax(-1)[learned] == batch.targets[learned]).float().mean().item()
    return Losses(tokens + 0.7 * frames + guidance_weight * guidance, tokens, right)


def distillation_losses(assistant: Trainee, batch: Batch, encoded: Tensor, wanted: Tensor) -> Losses:
    """`wanted` are the main model's logits `[B, P, vocabulary]`; accuracy is the agreement with its argmax."""
    logits, guided = assistant.decode(batch.inputs, encoded)
    learned = batch.targets != IGNORED
    logits, wanted = logits[learned], wanted[learned]
    divergence = F.kl_div(logits.log_softmax(-1), wanted.log_softmax(-1), log_target=True, reduction="batchmean")
    tokens = F.cross_entropy(logits, wanted.argmax(-1))
    guidance = _guidance(guided[0], batch.target_frames)
    right = (logits.argmax(-1) == wanted.argmax(-1)).float().mean().item()
    return Losses(divergence + tokens + 0.3 * guidance, tokens, right)


def _guidance(log_weights: Tensor, spans: Tensor) -> Tensor:
    """Cross-entropy between the heads' attention `[B, 2, P, T]` and an even spread over each token's frames."""
    frames = torch.arange(log_weights.shape[-1], device=log_weights.device)
    inside = (frames >= spans[..., :1]) & (frames < spans[..., 1:])  # [B, P, T]
    guided = inside.any(-1)
    target = inside / inside.sum(-1, keepdim=True).clamp(min=1)
    per_token = -(log_weights * target[:, None]).sum(-1).mean(1)  # [B, P]
    return per_token[guided].mean()


def train(
    bank: Bank,
    folder: Path,
    *,
    seed: int,
    device: str = "cpu",
    stages: tuple[Stage, ...] = STAGES,
    refining: tuple[Stage, ...] = REFINING_STAGES,
    tracking: tuple[Stage, ...] = TRACKING_STAGES,
) -> Trainee:
    """Train the Whisper in three cycles of the learning rate, or go on from `folder/whisper*.pt`.

    The last cycle leaves the encoder alone and teaches the decoder to keep its place in whole windows: skipped and
    repeated phrases are the last errors to go.
    """
    torch.manual_seed(seed)
    ids = TokenIds()
    trainee = Trainee(ids, new_model(ids)).to(device)
    positions = trainee.whisper.model.encoder.embed_positions.weight  # fixed, as in every Whisper
    parameters = [parameter for parameter in trainee.parameters() if parameter is not positions]

    def objective(batch: Batch, done: float) -> Losses:
        return losses(trainee, batch, guidance_weight=0.5 if done < 0.5 else 0.3)

    def refining_objective(batch: Batch, done: float) -> Losses:
        return losses(trainee, batch, guidance_weight=0.2)

    _fit(trainee, parameters, objective, bank, folder / "whisper.pt", seed=seed, device=device, stages=stages)
    _fit(
        trainee,
        parameters,
        refining_objective,
        bank,
        folder / "whisper-refined.pt",
        seed=seed + 2,
        device=device,
        stages=refining,
        peak=REFINING_LEARNING_RATE,
    )
    trainee.whisper.model.encoder.requires_grad_(False)
    _fit(
        trainee,
        [*trainee.whisper.model.decoder.parameters(), trainee.time_projection],
        refining_objective,
        bank,
        folder / "whisper-tracking.pt",
        seed=seed + 3,
        device=device,
        stages=tracking,
        peak=TRACKING_LEARNING_RATE,
    )
    return trainee


def distil(
    main: Trainee,
    bank: Bank,
    folder: Path,
    *,
    seed: int,
    device: str = "cpu",
    stages: tuple[Stage, ...] = ASSISTANT_STAGES,
) -> Trainee:
    """Train the assistant, or go on from `folder/assistant.pt`: the main model's encoder, unchanged, under one
    decoder layer that starts as the main model's last and learns its distributions (as Distil-Whisper did)."""
    torch.manual_seed(seed)
    assistant = Trainee(main.ids, new_model(main.ids, decoder_layers=1)).to(device)
    taught = main.state_dict()
    last = len(main.whisper.model.decoder.layers) - 1
    kept = {
        name: taught[name.replace("decoder.layers.0.", f"decoder.layers.{last}.")] for name in assistant.state_dict()
    }
    assistant.load_state_dict(kept)
    main.requires_grad_(False)
    parameters = [*assistant.whisper.model.decoder.parameters(), assistant.time_projection]

    def objective(batch: Batch, done: float) -> Losses:
        with torch.no_grad():
            encoded = main.encode(main.log_mel(batch.waveforms), batch.first_frame)
            wanted, _ = main.decode(batch.inputs, encoded)
        return distillation_losses(assistant, batch, encoded, wanted)

    checkpoint = folder / "assistant.pt"
    _fit(assistant, parameters, objective, bank, checkpoint, seed=seed + 1, device=device, stages=stages)
    return assistant


def _fit(
    trainee: Trainee,
    parameters: list[nn.Parameter],
    objective: Callable[[Batch, float], Losses],
    bank: Bank,
    checkpoint: Path,
    *,
    seed: int,
    device: str,
    stages: tuple[Stage, ...],
    peak: float = PEAK_LEARNING_RATE,
) -> None:
    """Minimise `objective(batch, share done)`; prints progress, and writes a checkpoint every 100 steps."""
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
    plan = [stage for stage in stages for _ in range(stage.steps)]
    step = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        trainee.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    began, smooth = time.monotonic(), None
    while step < len(plan):
        stage = plan[step]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, len(plan), peak)
        batch = make_batch(bank, trainee.ids, random.Random(f"{seed}-{step}"), stage).to(device)
        seen = objective(batch, step / len(plan))
        optimizer.zero_grad(set_to_none=True)
        seen.total.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        smooth = seen.accuracy if smooth is None else 0.95 * smooth + 0.05 * seen.accuracy
        if step % 25 == 0:
            print(
                f"{checkpoint.stem} step {step}/{len(plan)}, windows of {stage.seconds:.0f} s: "
                f"loss {seen.total.item():.3f} (tokens {seen.tokens.item():.3f}), "
                f"tokens right {smooth:.1%}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
        if step % 100 == 0 or step == len(plan):
            save_checkpoint(checkpoint, trainee, optimizer, step)


def learning_rate(step: int, steps: int, peak: float) -> float:
    warm = min((step + 1) / 100, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm * (FINAL_LEARNING_RATE + (peak - FINAL_LEARNING_RATE) * cosine)


def save_checkpoint(file: Path, trainee: Trainee, optimizer: torch.optim.Optimizer, step: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    torch.save({"model": trainee.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, partial)
    partial.rename(file)
