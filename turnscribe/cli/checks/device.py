"""The device: whether what the engine does fast on a GPU proves itself there, tried on a small random Whisper."""

from __future__ import annotations

from typing import Any

from turnscribe.cli.checks.results import Result
from turnscribe.devices import Device, device_of


def check_device(device: Device | None = None) -> Result:
    """By default of the one that the models would be loaded to. The engine proves it again with the real model."""
    import torch

    name = "device"
    device = device or device_of("cuda" if torch.cuda.is_available() else "cpu")
    if device.kind != "cuda":
        return Result(name, "ok", f"{device.name}: nothing to prove")
    from turnscribe.engine.engine import Engine
    from turnscribe.engine.models import Models
    from turnscribe.engine.proof import proven
    from turnscribe.errors import SettingsError

    def make(float32: bool) -> Engine:
        whisper = small_whisper().to(device.torch_device, torch.float32 if float32 else torch.float16)
        return Engine(Models.of(whisper, None, whisper), device=device)

    try:
        running = proven(make).running
    except SettingsError as error:
        return Result(name, "FAILED", str(error).partition(": ")[0], str(error).partition(": ")[2])
    detail = f"{running.device}: {running.dtype}{', CUDA graphs' if running.graphs else ''}"
    if running.reason:
        return Result(name, "warning", f"{detail}. {running.reason}", "it works, slower; update driver and torch")
    return Result(name, "ok", detail)


def small_whisper() -> Any:
    """A `WhisperForConditionalGeneration` of two layers with random weights and a whole Whisper's special tokens."""
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    end, times = 300, 1501
    no_times = end + 8  # after the end, the start, one language, two tasks, the model, earlier text and silence
    config = WhisperConfig(
        vocab_size=no_times + 1 + times,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        init_std=0.1,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end + 1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WhisperForConditionalGeneration(config).eval()
    model.generation_config = GenerationConfig(eos_token_id=end, decoder_start_token_id=end + 1)
    model.generation_config.no_timestamps_token_id = no_times
    return model
