"""The programs to compare with, each on the same folder of `shapes.make_whisper` and with its real defaults kept
where they do not change how much is to be done.

Equal work is one row of `new_tokens` tokens a window, a timestamp and words, from 30 s windows, in English, greedily;
a peer answers what it really decoded (`Work`), and who compares times looks at that first. What differs on purpose:
the transformers pipeline reads windows that overlap by 10 s, as it always does, and its stock setting has five beams.

Nothing is imported before `load`. Not here: timing, and our own engine.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tools.benchmarks.shapes import INITIAL_TOKENS, MADE_OF
from turnscribe.waveform import SAMPLE_RATE

WINDOW_SECONDS = 30
BATCH_SIZE = 24  # the original handler's, insanely-fast-whisper's default too
REQUEST = {"language": "en", "task": "transcribe"}


@dataclass(frozen=True)
class Work:
    """The tokens of each decoded window, without the initial ones."""

    rows: tuple[tuple[int, ...], ...]

    @property
    def windows(self) -> int:
        return len(self.rows)

    @property
    def tokens(self) -> int:
        return sum(map(len, self.rows))

    def is_full(self, new_tokens: int) -> bool:
        """Whether every window has exactly that many."""
        return all(len(row) == new_tokens for row in self.rows)


class Peer(Protocol):
    @property
    def name(self) -> str: ...

    def available(self) -> str | None:
        """`None`, or what is missing."""

    def load(self, folder: Path, *, assistant: Path | None = None, device: str = "cpu") -> None:
        """Get ready to transcribe with the model in `folder`; what is derived from it lies beside it afterwards."""

    def __call__(self, waveform: NDArray[np.float32]) -> Work:
        """Transcribe `[samples]`, mono, 16 kHz."""


def peers() -> tuple[Peer, ...]:
    """All of them, not loaded; each call makes new ones."""
    return (
        TransformersPipeline("transformers stock", beams=None),
        TransformersPipeline("transformers greedy", beams=1),
        TransformersPipeline("transformers assisted", beams=1, assisted=True),
        FasterWhisper("faster-whisper float32", compute_type="float32"),
        FasterWhisper("faster-whisper int8", compute_type="int8"),
        OpenaiWhisper(),
    )


class TransformersPipeline:
    """The pipeline with `chunk_length_s=30`, as insanely-fast-whisper and the original handler call it: windows of
    30 s every 20 s, 24 at a time.

    With `beams=None` the installed version decides: five since transformers 4.52, greedy before. An assistant works
    with one window at a time only.
    """

    def __init__(self, name: str, *, beams: int | None, assisted: bool = False) -> None:
        self.name, self._assisted = name, assisted
        self._generate_kwargs: dict[str, Any] = dict(REQUEST)
        if beams is not None:
            self._generate_kwargs |= {"num_beams": beams, "do_sample": False}
        self._batch_size = 1 if assisted else BATCH_SIZE
        self._pipeline: Any = None
        self._generated: list[Any] = []

    def available(self) -> str | None:
        return _missing("transformers")

    def load(self, folder: Path, *, assistant: Path | None = None, device: str = "cpu") -> None:
        import torch
        from transformers import AutoModelForCausalLM, pipeline

        from turnscribe.checkpoints.transformers_versions import dtype_argument, quiet_transformers

        if self._assisted and assistant is None:
            raise ValueError(f"{self.name} needs an assistant's folder")
        dtype = dtype_argument(torch.float16 if device.startswith("cuda") else torch.float32)
        with quiet_transformers():
            self._pipeline = pipeline(
                "automatic-speech-recognition", model=str(folder), device=device, trust_remote_code=False, **dtype
            )
            if self._assisted:
                draft: Any = AutoModelForCausalLM.from_pretrained(str(assistant), trust_remote_code=False, **dtype)
                self._generate_kwargs["assistant_model"] = draft.to(device).eval()
        self._first_special = int(self._pipeline.model.config.eos_token_id)
        self._first_timestamp = int(self._pipeline.model.generation_config.no_timestamps_token_id) + 1
        self._pipeline.model.generate = self._kept(self._pipeline.model.generate)

    def __call__(self, waveform: NDArray[np.float32]) -> Work:
        from turnscribe.checkpoints.transformers_versions import quiet_transformers

        self._generated.clear()
        with quiet_transformers():
            self._pipeline(
                waveform,
                chunk_length_s=WINDOW_SECONDS,
                batch_size=self._batch_size,
                return_timestamps=True,
                generate_kwargs=dict(self._generate_kwargs),
            )
        return Work(tuple(self._spoken(row) for batch in self._generated for row in batch.tolist()))

    def _kept(self, generate: Any) -> Any:
        """`generate`, whose answers are kept: the pipeline's own has lost the windows."""

        def generate_and_keep(*args: Any, **kwargs: Any) -> Any:
            answer = generate(*args, **kwargs)
            self._generated.append(answer)
            return answer

        return generate_and_keep

    def _spoken(self, row: Sequence[int]) -> tuple[int, ...]:
        """Without initial tokens and padding: text and timestamps."""
        return tuple(token for token in row if not self._first_special <= token < self._first_timestamp)


class FasterWhisper:
    """faster-whisper's batched pipeline on CTranslate2's conversion of the folder: windows of 30 s side by side.

    Without its voice filter it wants to be told the windows. It has no temperature fallback. The conversion lies
    beside the folder, stored in float32 and cast by `compute_type` when it is loaded.
    """

    def __init__(self, name: str, *, compute_type: str) -> None:
        self.name, self._compute_type = name, compute_type
        self._pipeline: Any = None
        self._config: Any = None

    def available(self) -> str | None:
        return _missing("faster_whisper") or _missing("ctranslate2")

    def load(self, folder: Path, *, assistant: Path | None = None, device: str = "cpu") -> None:
        import torch
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        model = WhisperModel(
            str(converted(folder)),
            device=device,
            compute_type=self._compute_type,
            cpu_threads=torch.get_num_threads(),
            local_files_only=True,
        )
        self._pipeline, self._config = BatchedInferencePipeline(model=model), _generation_config(folder)

    def __call__(self, waveform: NDArray[np.float32]) -> Work:
        seconds = len(waveform) / SAMPLE_RATE
        new_tokens = self._config.max_new_tokens
        segments, _ = self._pipeline.transcribe(
            waveform,
            **REQUEST,
            beam_size=1,
            temperature=[0.0],
            compression_ratio_threshold=None,
            log_prob_threshold=None,
            no_speech_threshold=None,
            condition_on_previous_text=False,
            without_timestamps=False,
            vad_filter=False,
            clip_timestamps=[
                {"start": start, "end": min(start + WINDOW_SECONDS, seconds)}
                for start in range(0, int(np.ceil(seconds)), WINDOW_SECONDS)
            ],
            suppress_tokens=list(self._config.suppress_tokens),
            # CTranslate2 generates half of its `max_length`, which is this and the initial tokens.
            max_new_tokens=2 * new_tokens - INITIAL_TOKENS,
            batch_size=BATCH_SIZE,
        )
        rows: dict[int, list[int]] = {}
        for segment in segments:  # decoding happens here
            rows.setdefault(segment.seek, []).extend(segment.tokens)
        return Work(tuple(map(tuple, rows.values())))


class OpenaiWhisper:
    """openai-whisper's `transcribe`: one window of 30 s after the other, greedily, without its fallbacks.

    The weights get the names it has for them. Its tokenizer is its own, from its package: its text differs, the
    tokens do not.
    """

    name = "openai-whisper"

    def __init__(self) -> None:
        self._model: Any = None
        self._config: Any = None

    def available(self) -> str | None:
        return _missing("whisper")

    def load(self, folder: Path, *, assistant: Path | None = None, device: str = "cpu") -> None:
        import whisper
        from safetensors.torch import load_file

        self._model = whisper.model.Whisper(whisper.model.ModelDimensions(**openai_dimensions(_config(folder))))
        weights = {openai_name(name): value for name, value in load_file(folder / "model.safetensors").items()}
        self._model.load_state_dict(weights)
        self._model = self._model.to(device).eval()
        self._config = _generation_config(folder)

    def __call__(self, waveform: NDArray[np.float32]) -> Work:
        answer = self._model.transcribe(
            waveform,
            **REQUEST,
            fp16=self._model.device.type == "cuda",
            temperature=0.0,
            compression_ratio_threshold=None,
            logprob_threshold=None,
            no_speech_threshold=None,
            condition_on_previous_text=False,
            # A list it would lengthen with every window.
            suppress_tokens=",".join(map(str, self._config.suppress_tokens)),
            sample_len=self._config.max_new_tokens,
        )
        rows: dict[int, list[int]] = {}
        for segment in answer["segments"]:
            rows.setdefault(segment["seek"], []).extend(segment["tokens"])
        return Work(tuple(map(tuple, rows.values())))


# Folders ---------------------------------------------------------------------------------------------


def converted(folder: Path) -> Path:
    """The folder's conversion for CTranslate2, beside it; made once for what the folder is made of, whole or not at
    all."""
    target, made_of = folder.with_name(f"{folder.name}-ct2"), (folder / MADE_OF).read_bytes()
    if target.exists() and (target / MADE_OF).read_bytes() == made_of:
        return target
    from ctranslate2.converters import TransformersConverter

    partial = folder.with_name(f"{target.name}.partial")
    for old in (target, partial):
        shutil.rmtree(old, ignore_errors=True)
    # Without the first faster-whisper asks the hub for a tokenizer, without the second it computes 80 mel bins.
    copied = ["tokenizer.json", "preprocessor_config.json", MADE_OF]
    TransformersConverter(str(folder), copy_files=copied).convert(str(partial))
    partial.rename(target)
    return target


def _generation_config(folder: Path) -> Any:
    return SimpleNamespace(**json.loads((folder / "generation_config.json").read_text()))


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def openai_dimensions(config: Mapping[str, Any]) -> dict[str, int]:
    """openai-whisper's dimensions of a model, from transformers' configuration."""
    return {
        "n_mels": config["num_mel_bins"],
        "n_audio_ctx": config["max_source_positions"],
        "n_audio_state": config["d_model"],
        "n_audio_head": config["encoder_attention_heads"],
        "n_audio_layer": config["encoder_layers"],
        "n_vocab": config["vocab_size"],
        "n_text_ctx": config["max_target_positions"],
        "n_text_state": config["d_model"],
        "n_text_head": config["decoder_attention_heads"],
        "n_text_layer": config["decoder_layers"],
    }


# transformers' parts of a parameter's name, in the order in which they are replaced.
_OPENAI_NAMES = (
    ("model.", ""),
    ("layers.", "blocks."),
    ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn_layer_norm", "cross_attn_ln"),
    ("final_layer_norm", "mlp_ln"),
    ("encoder.layer_norm", "encoder.ln_post"),
    ("decoder.layer_norm", "decoder.ln"),
    ("self_attn", "attn"),
    ("encoder_attn", "cross_attn"),
    ("q_proj", "query"),
    ("k_proj", "key"),
    ("v_proj", "value"),
    ("out_proj", "out"),
    ("fc1", "mlp.0"),
    ("fc2", "mlp.2"),
    ("embed_tokens", "token_embedding"),
    ("embed_positions.weight", "positional_embedding"),
)


def openai_name(name: str) -> str:
    """openai-whisper's name of a weight that transformers calls `name`."""
    for theirs, openai in _OPENAI_NAMES:
        name = name.replace(theirs, openai)
    return name


def _missing(module: str) -> str | None:
    found = importlib.util.find_spec(module)
    return None if found else f"{module} is not installed: pip install -r requirements-benchmark.txt"
