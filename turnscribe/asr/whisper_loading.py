"""Loads a Whisper and its assistant with transformers: what both backends are made of."""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import Any

from turnscribe.asr.capabilities import Capabilities
from turnscribe.asr.protocol import WeightsType
from turnscribe.checkpoints.ctranslate2_whisper import is_ctranslate2, load_ctranslate2
from turnscribe.checkpoints.hub import display_name, loading
from turnscribe.checkpoints.openai_whisper import is_checkpoint, load_checkpoint
from turnscribe.checkpoints.transformers_versions import dtype_argument, quiet_transformers
from turnscribe.errors import SettingsError
from turnscribe.request import Task
from turnscribe.whisper.generation_config import is_multilingual, languages


@dataclass(frozen=True)
class LoadedWhisper:
    """A `WhisperForConditionalGeneration`, what it reads and writes with, and its assistant if there is one."""

    model: Any
    tokenizer: Any
    feature_extractor: Any
    assistant: Any = None


def load_whisper(
    model: str, *, assistant: str | None, token: str | None, device: str, dtype: WeightsType
) -> LoadedWhisper:
    """The arguments are `registry.load_asr`'s. Raises `SettingsError` that names the variable."""
    from transformers import pipeline

    with loading("ASR_MODEL", model), quiet_transformers():
        weights = _weights_type(dtype, device)
        loaded: Any
        if is_checkpoint(model):
            loaded = load_checkpoint(model, variable="ASR_MODEL", device=device, weights=weights)
        elif is_ctranslate2(model):
            loaded = load_ctranslate2(model, variable="ASR_MODEL", device=device, weights=weights)
        else:
            options = {"device": device, "token": token, **dtype_argument(weights)}
            loaded = pipeline(
                "automatic-speech-recognition",
                model=model,
                model_kwargs={"attn_implementation": "sdpa"},
                **options,
            )
    if loaded.model.config.model_type != "whisper":
        raise SettingsError(
            f"ASR_MODEL {display_name(model)} is a {loaded.model.config.model_type!r} model: name a Whisper model."
        )
    companion = None
    if assistant:
        with loading("ASSISTANT_MODEL", assistant), quiet_transformers():
            companion = _load_assistant(assistant, loaded.model, token=token, device=device, weights=weights)
    return LoadedWhisper(loaded.model, loaded.tokenizer, loaded.feature_extractor, companion)


def whisper_capabilities(
    generation_config: Any, *, assistant: bool, fallback: bool = True, assisted_batch_size: int | None = None
) -> Capabilities:
    """What a Whisper with this generation configuration can do in a backend."""
    multilingual = is_multilingual(generation_config)
    tasks: tuple[Task, ...] = ("transcribe", "translate") if multilingual else ("transcribe",)
    return Capabilities(
        languages=languages(generation_config),
        tasks=frozenset(tasks),
        fallback=fallback,
        assistant=assistant,
        assisted_batch_size=assisted_batch_size,
    )


def _weights_type(dtype: WeightsType, device: str) -> Any:
    import torch

    if dtype == "auto":
        return torch.float16 if device.startswith("cuda") else torch.float32
    return getattr(torch, dtype)


def _load_assistant(assistant: str, model: Any, *, token: str | None, device: str, weights: Any) -> Any:
    """distil-whisper's assistants have the main model's encoder and load as a decoder alone; one with an encoder
    of another shape loads whole and encodes for itself, as one of openai-whisper always does."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSpeechSeq2Seq, GenerationMixin

    loaded: Any = None
    if is_checkpoint(assistant):
        loaded = load_checkpoint(assistant, variable="ASSISTANT_MODEL", device=device, weights=weights).model
    elif is_ctranslate2(assistant):
        loaded = load_ctranslate2(assistant, variable="ASSISTANT_MODEL", device=device, weights=weights).model
    config = AutoConfig.from_pretrained(assistant, token=token) if loaded is None else loaded.config
    for name, noun in (("vocab_size", "tokens"), ("num_mel_bins", "mel bins")):
        theirs, ours = getattr(config, name, None), getattr(model.config, name)
        if theirs != ours:
            raise SettingsError(
                f"ASSISTANT_MODEL {display_name(assistant)} has {theirs} {noun} and ASR_MODEL has {ours}: name an "
                "assistant of the same vocabulary and generation."
            )
    shared = loaded is None and all(
        getattr(config, name) == getattr(model.config, name)
        for name in ("d_model", "encoder_layers", "encoder_attention_heads")
    )
    if loaded is None:
        kind = AutoModelForCausalLM if shared else AutoModelForSpeechSeq2Seq
        loaded = kind.from_pretrained(assistant, token=token, attn_implementation="sdpa", **dtype_argument(weights))
    if not shared:
        # Whisper's own `generate` moves the start of the main model's timestamp rules with every draft, and text is
        # lost; the general one drafts as well and leaves them alone.
        loaded.generate = MethodType(GenerationMixin.generate, loaded)
    return loaded.to(device).eval()
