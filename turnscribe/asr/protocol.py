"""Speech to chunks of text: the `Asr` protocol and `load_asr`.

What an ASR backend has to do stands here; how the engine does it, in `engine/backend.py`, and how transformers does,
in `transformers_asr.py`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from types import MethodType
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from turnscribe.checkpoints.hub import loading, shown
from turnscribe.checkpoints.openai_whisper import is_checkpoint, load_checkpoint
from turnscribe.errors import BadParameters, SettingsError
from turnscribe.stages import Progress, ShouldStop
from turnscribe.transcript import Chunk, Speculation
from turnscribe.whisper.windows import Window

Backend = Literal["engine", "transformers"]
Dtype = Literal["auto", "float32", "float16", "bfloat16"]
OnChunks = Callable[[Sequence[Chunk]], None]


@dataclass(frozen=True)
class AsrOptions:
    """How one recording is transcribed; `chunk_length_s` is the longest window in seconds, at most 30.

    A window is decoded again, each time 0.2 warmer than `temperature` up to 1, while its text is compressed by more
    than `compression_ratio_threshold` or its mean log-probability is below `logprob_threshold`; unlikely text
    where silence is likelier than `no_speech_threshold` is dropped. `None` turns a threshold off. The defaults are
    Whisper's (openai/whisper `transcribe.py`).
    """

    task: str = "transcribe"
    language: str | None = None  # a code such as "en"; None: detected
    batch_size: int = 24
    chunk_length_s: float = 30.0
    assisted: bool = False
    words: bool = False
    prompt: str | None = None
    temperature: float = 0.0
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6


@dataclass(frozen=True)
class AsrResult:
    """Chunks in order, with words where they were asked for; times are seconds of the recording."""

    chunks: tuple[Chunk, ...]
    language: str | None
    warnings: tuple[str, ...] = ()
    speculation: Speculation | None = None


class Asr(Protocol):
    """Anything that turns a mono 16 kHz waveform `[samples]` into chunks."""

    @property
    def languages(self) -> frozenset[str]:
        """Language codes it can be asked for."""

    @property
    def multilingual(self) -> bool:
        """False for English-only models, which know neither `translate` nor other languages."""

    @property
    def has_assistant(self) -> bool: ...

    def transcribe(
        self,
        waveform: NDArray[np.float32],
        options: AsrOptions,
        *,
        on_progress: Progress | None = None,
        should_stop: ShouldStop | None = None,
        on_chunks: OnChunks | None = None,
    ) -> AsrResult:
        """All three functions are called in the caller's thread; `should_stop` is asked between steps.

        `on_chunks` gets further chunks as soon as everything before them is decoded: all it is given, joined, are
        the result's chunks. Raises `BadParameters`, `Cancelled` or `OutOfMemory`.
        """


class ChunksInOrder:
    """The chunks of windows that are finished in any order, handed out in order of time."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self._left = set(windows)
        self._made: list[tuple[int, list[Chunk]]] = []  # by the window's start
        self._handed_out = 0  # of these

    def add(self, window: Window, chunks: list[Chunk], rest: Window | None) -> list[Chunk]:
        """One window's chunks, and what is left of it to decode.

        Returns the chunks before which nothing is missing any more.
        """
        self._left.remove(window)
        if rest is not None:
            self._left.add(rest)
        insort(self._made, (window.start, chunks), key=lambda made: made[0])
        missing = min((left.start for left in self._left), default=inf)
        before, self._handed_out = self._handed_out, bisect_left(self._made, missing, key=lambda made: made[0])
        return [chunk for _, made in self._made[before : self._handed_out] for chunk in made]

    @property
    def left(self) -> int:
        """Samples that are not transcribed yet."""
        return sum(window.stop - window.start for window in self._left)

    def all(self) -> tuple[Chunk, ...]:
        return tuple(chunk for _, made in self._made for chunk in made)


def check_options(asr: Asr, options: AsrOptions) -> None:
    """Raises `BadParameters` for what `asr` cannot do."""
    if options.assisted and not asr.has_assistant:
        raise BadParameters(
            "assisted is true and no assistant is loaded: set ASSISTANT_MODEL on the endpoint, or leave it out."
        )
    if options.language is not None and options.language not in asr.languages:
        known = ", ".join(sorted(asr.languages))
        raise BadParameters(f"language {options.language!r} is not one the model knows: {known}.")
    if options.task == "translate" and not asr.multilingual:
        raise BadParameters("task is 'translate' and the model knows English only: leave task out.")


def load_asr(
    model: str,
    *,
    assistant: str | None = None,
    token: str | None = None,
    device: str = "cpu",
    backend: Backend = "engine",
    dtype: Dtype = "auto",
) -> Asr:
    """Load a Whisper (and an assistant for speculative decoding) through the transformers pipeline.

    `model` and `assistant` are folders, Hub ids or checkpoints of openai-whisper (`.pt`). The weights are of
    `dtype`: "auto" is float16 on CUDA and float32 on the CPU.
    Raises `SettingsError` that names the variable.
    """
    from transformers import pipeline

    from turnscribe.asr import transformers_versions as compat

    with loading("ASR_MODEL", model), compat.quiet_transformers():
        weights = _weights_type(dtype, device)
        loaded: Any
        if is_checkpoint(model):
            loaded = load_checkpoint(model, variable="ASR_MODEL", device=device, weights=weights)
        else:
            options = {"device": device, "token": token, **compat.dtype_argument(weights)}
            loaded = pipeline(
                "automatic-speech-recognition",
                model=model,
                model_kwargs={"attn_implementation": "sdpa"},
                **options,
            )
    if loaded.model.config.model_type != "whisper":
        raise SettingsError(
            f"ASR_MODEL {shown(model)} is a {loaded.model.config.model_type!r} model: name a Whisper model."
        )
    companion = None
    if assistant:
        with loading("ASSISTANT_MODEL", assistant), compat.quiet_transformers():
            companion = _load_assistant(assistant, loaded.model, token=token, device=device, weights=weights)
    if backend == "transformers":
        from turnscribe.asr.transformers_backend import TransformersAsr

        return TransformersAsr(loaded.model, loaded.tokenizer, loaded.feature_extractor, companion)
    from turnscribe.asr.engine_backend import EngineAsr
    from turnscribe.engine.models import Models

    return EngineAsr(Models.of(loaded.model, loaded.tokenizer, loaded.feature_extractor, companion))


def _weights_type(dtype: Dtype, device: str) -> Any:
    import torch

    if dtype == "auto":
        return torch.float16 if device.startswith("cuda") else torch.float32
    return getattr(torch, dtype)


def _load_assistant(assistant: str, model: Any, *, token: str | None, device: str, weights: Any) -> Any:
    """distil-whisper's assistants have the main model's encoder and load as a decoder alone; one with an encoder
    of another shape loads whole and encodes for itself, as one of openai-whisper always does."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSpeechSeq2Seq, GenerationMixin

    from turnscribe.asr import transformers_versions as compat

    loaded: Any = None
    if is_checkpoint(assistant):
        loaded = load_checkpoint(assistant, variable="ASSISTANT_MODEL", device=device, weights=weights).model
    config = AutoConfig.from_pretrained(assistant, token=token) if loaded is None else loaded.config
    for name, noun in (("vocab_size", "tokens"), ("num_mel_bins", "mel bins")):
        theirs, ours = getattr(config, name, None), getattr(model.config, name)
        if theirs != ours:
            raise SettingsError(
                f"ASSISTANT_MODEL {shown(assistant)} has {theirs} {noun} and ASR_MODEL has {ours}: name an assistant "
                "of the same vocabulary and generation."
            )
    shared = loaded is None and all(
        getattr(config, name) == getattr(model.config, name)
        for name in ("d_model", "encoder_layers", "encoder_attention_heads")
    )
    if loaded is None:
        kind = AutoModelForCausalLM if shared else AutoModelForSpeechSeq2Seq
        loaded = kind.from_pretrained(
            assistant, token=token, attn_implementation="sdpa", **compat.dtype_argument(weights)
        )
    if not shared:
        # Whisper's own `generate` moves the start of the main model's timestamp rules with every draft, and text is
        # lost; the general one drafts as well and leaves them alone.
        loaded.generate = MethodType(GenerationMixin.generate, loaded)
    return loaded.to(device).eval()
