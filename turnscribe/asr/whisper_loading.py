"""Loads a Whisper and its assistant: what both backends are made of.

Checkpoints of openai-whisper and CTranslate2 are read directly, all others by transformers, which runs no code that a
model brings: every call says `trust_remote_code=False`, since without a word it would ask on the terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import Any

from turnscribe.asr.capabilities import Capabilities
from turnscribe.asr.protocol import WeightsType
from turnscribe.checkpoints.ctranslate2_whisper import find_ctranslate2, load_ctranslate2
from turnscribe.checkpoints.generation_gaps import fill_gaps, read_generation_config
from turnscribe.checkpoints.hub import display_name, loading, own_code
from turnscribe.checkpoints.openai_whisper import is_checkpoint, load_checkpoint
from turnscribe.checkpoints.pickled_weights import warned
from turnscribe.checkpoints.transformers_versions import dtype_argument, quiet_transformers
from turnscribe.checkpoints.whisper_components import WhisperComponents
from turnscribe.devices import Device, device_of
from turnscribe.errors import SettingsError
from turnscribe.request import Task
from turnscribe.whisper.generation_config import is_multilingual, languages


@dataclass(frozen=True)
class LoadedWhisper:
    """A `WhisperForConditionalGeneration`, or its weights alone, its tokenizer, and its assistant if there is one."""

    model: Any
    tokenizer: Any
    feature_extractor: Any = None  # there is none beside weights alone
    assistant: Any = None


def load_whisper(
    model: str, *, assistant: str | None, token: str | None, device: str | Device, dtype: WeightsType, modules: bool
) -> LoadedWhisper:
    """The arguments are `registry.load_asr`'s. Raises `SettingsError` that names the variable.

    Without `modules`, a model may be a `WhisperWeights`, which has no code to run.
    """
    with loading("ASR_MODEL", model), quiet_transformers():
        weights, device = _weights_type(dtype, device), str(device_of(device).torch_device)
        read = _read("ASR_MODEL", model, token=token, device=device, weights=weights)
        if read is None:
            loaded = _load_with_transformers(model, token=token, device=device, weights=weights)
        elif modules:
            loaded = LoadedWhisper(read.model, read.tokenizer, read.feature_extractor)
        else:
            loaded = LoadedWhisper(read.weights, read.tokenizer)
    if not assistant:
        return loaded
    with loading("ASSISTANT_MODEL", assistant), quiet_transformers():
        config = loaded.model.config
        companion: Any
        read = _read("ASSISTANT_MODEL", assistant, token=token, device=device, weights=weights)
        if read is None:
            companion = _load_assistant(assistant, config, token=token, device=device, weights=weights)
        else:
            _check_fit(assistant, read.weights.config, config)
            companion = _drafting(read.model) if modules else read.weights
    return LoadedWhisper(loaded.model, loaded.tokenizer, loaded.feature_extractor, companion)


def whisper_capabilities(
    generation_config: Any,
    *,
    assistant: bool,
    fallback: bool = True,
    patience: bool = True,
    short_windows: bool = False,
    prefix: bool = False,
    keywords: bool = False,
    assisted_batch_size: int | None = None,
) -> Capabilities:
    """What a Whisper with this generation configuration can do in a backend."""
    multilingual = is_multilingual(generation_config)
    tasks: tuple[Task, ...] = ("transcribe", "translate") if multilingual else ("transcribe",)
    return Capabilities(
        languages=languages(generation_config),
        tasks=frozenset(tasks),
        fallback=fallback,
        patience=patience,
        short_windows=short_windows,
        prefix=prefix,
        keywords=keywords,
        assistant=assistant,
        assisted_batch_size=assisted_batch_size,
    )


def _weights_type(dtype: WeightsType, device: str | Device) -> Any:
    import torch

    if dtype == "auto":
        return torch.float16 if device_of(device).kind == "cuda" else torch.float32
    if dtype == "int8":
        return torch.float32
    return getattr(torch, dtype)


def _read(variable: str, model: str, *, token: str | None, device: str, weights: Any) -> WhisperComponents | None:
    """A checkpoint that transformers does not read itself."""
    if is_checkpoint(model):
        return load_checkpoint(model, variable=variable, device=device, weights=weights)
    folder = find_ctranslate2(model, token)
    if folder is None:
        return None
    return load_ctranslate2(folder, variable=variable, device=device, weights=weights, title=display_name(model))


def _load_with_transformers(model: str, *, token: str | None, device: str, weights: Any) -> LoadedWhisper:
    """A folder or a Hub id. What kind of model it is, is read before its weights."""
    from transformers import AutoConfig

    found = AutoConfig.from_pretrained(model, token=token, trust_remote_code=False)
    if found.model_type != "whisper":
        raise SettingsError(f"ASR_MODEL {display_name(model)} is a {found.model_type!r} model: name a Whisper model.")
    _check_no_code("ASR_MODEL", model, found)
    from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

    options = {
        "attn_implementation": "sdpa",
        "token": token,
        "generation_config": read_generation_config(model, token),
        **dtype_argument(weights),
    }
    with warned(f"ASR_MODEL {display_name(model)}", model):
        loaded: Any = WhisperForConditionalGeneration.from_pretrained(model, trust_remote_code=False, **options)
    tokenizer = AutoTokenizer.from_pretrained(model, token=token, trust_remote_code=False)
    fill_gaps(loaded, tokenizer, variable="ASR_MODEL", title=display_name(model))
    # every Whisper's is the same but for the bins, and a fine-tune's file may be missing or another model's
    extractor = WhisperFeatureExtractor(feature_size=loaded.config.num_mel_bins)  # type: ignore[no-untyped-call]
    return LoadedWhisper(loaded.to(device).eval(), tokenizer, extractor)


def _load_assistant(assistant: str, main: Any, *, token: str | None, device: str, weights: Any) -> Any:
    """With transformers, for a model of the configuration `main`.

    distil-whisper's assistants have the main model's encoder and load as a decoder alone; one with an encoder of
    another shape loads whole and encodes for itself, as those of other formats always do.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(assistant, token=token, trust_remote_code=False)
    _check_no_code("ASSISTANT_MODEL", assistant, config)
    _check_fit(assistant, config, main)
    from transformers import AutoModelForCausalLM, AutoModelForSpeechSeq2Seq

    shared = all(
        getattr(config, name) == getattr(main, name)
        for name in ("d_model", "encoder_layers", "encoder_attention_heads")
    )
    kind = AutoModelForCausalLM if shared else AutoModelForSpeechSeq2Seq
    options = {"attn_implementation": "sdpa", "token": token, **dtype_argument(weights)}
    with warned(f"ASSISTANT_MODEL {display_name(assistant)}", assistant):
        loaded: Any = kind.from_pretrained(assistant, trust_remote_code=False, **options)
    loaded = loaded.to(device).eval()
    return loaded if shared else _drafting(loaded)


def _check_no_code(variable: str, model: str, config: Any) -> None:
    """Before 5.3, transformers ran a Hub's repository that a configuration named as its attention (CVE-2026-4372)."""
    attention = getattr(config, "_attn_implementation_internal", None)
    if attention is not None and "/" in str(attention):
        raise SettingsError(own_code(f"{variable} {display_name(model)}"))


def _check_fit(assistant: str, config: Any, main: Any) -> None:
    for name, noun in (("vocab_size", "tokens"), ("num_mel_bins", "mel bins")):
        theirs, ours = getattr(config, name, None), getattr(main, name)
        if theirs != ours:
            raise SettingsError(
                f"ASSISTANT_MODEL {display_name(assistant)} has {theirs} {noun} and ASR_MODEL has {ours}: name an "
                "assistant of the same vocabulary and generation."
            )


def _drafting(model: Any) -> Any:
    """A whole Whisper as an assistant."""
    from transformers import GenerationMixin

    # Whisper's own `generate` moves the start of the main model's timestamp rules with every draft, and text is
    # lost; the general one drafts as well and leaves them alone.
    model.generate = MethodType(GenerationMixin.generate, model)
    return model
