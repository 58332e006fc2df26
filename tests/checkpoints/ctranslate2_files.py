"""Tiny random Whispers in the format of CTranslate2, written by its own converter; and what it decodes with them."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import WhisperForConditionalGeneration

from tests.checkpoints.openai_files import dimensions, random_state, save, write_vocabulary
from turnscribe.asr.engine_backend import EngineAsr
from turnscribe.checkpoints.ctranslate2_file import TYPES
from turnscribe.checkpoints.openai_whisper import load_checkpoint
from turnscribe.checkpoints.transformers_versions import dtype_argument
from turnscribe.engine.mel import LogMel
from turnscribe.request import DecodingOptions
from turnscribe.waveform import Waveform
from turnscribe.whisper.reading import DecodedWindow, Reader

HEADS = [[1, 0], [2, 3]]
ONE_ATTEMPT = {"compression_ratio_threshold": None, "logprob_threshold": None, "no_speech_threshold": None}


def write_whisper(folder: Path, vocabulary: int, *, seed: int = 0, **changed: int) -> Path:
    """As transformers saves it: `folder` with weights, tokenizer and configurations."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    write_vocabulary(scratch, vocabulary)
    dims = dimensions(vocabulary, **changed)
    file = save(scratch / "model.pt", dims, random_state(dims, seed=seed))
    made = load_checkpoint(str(file), variable="ASR_MODEL", device="cpu", weights=torch.float32)
    made.model.generation_config.alignment_heads = HEADS
    made.model.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    made.feature_extractor.save_pretrained(folder)
    shutil.rmtree(scratch)
    return folder


def convert(whisper: Path, folder: Path, quantization: str, *, copied: Sequence[str] = ("tokenizer.json",)) -> Path:
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):
        def load_model(self, model_class: Any, name: str, *, dtype: Any, **options: Any) -> Any:
            return super().load_model(model_class, name, **dtype_argument(dtype), **options)  # of any transformers

    Converter(str(whisper), copy_files=list(copied)).convert(str(folder), quantization=quantization)
    return folder


def write_model_file(
    path: Path,
    variables: Mapping[str, np.ndarray],
    aliases: Mapping[str, str],
    *,
    version: int = 6,
    kind: str = "WhisperSpec",
    revision: int = 3,
    types: Mapping[str, int] | None = None,
    sizes: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Path:
    """A `model.bin` that may lie: numbers of types, sizes in bytes and shapes by the variables' names."""

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    parts = [struct.pack("<I", version), string(kind), struct.pack("<II", revision, len(variables))]
    for name, values in variables.items():
        shape = (shapes or {}).get(name, values.shape)
        number = (types or {}).get(name, TYPES.index(values.dtype.name))
        size = (sizes or {}).get(name, values.nbytes)
        header = struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, number, size)
        parts += [string(name), header, values.tobytes()]
    parts.append(struct.pack("<I", len(aliases)))
    parts += [string(alias) + string(name) for alias, name in aliases.items()]
    path.write_bytes(b"".join(parts))
    return path


@cache
def original(whisper: Path) -> dict[str, torch.Tensor]:
    """The weights that were converted."""
    model: Any = WhisperForConditionalGeneration.from_pretrained(whisper)
    return dict(model.state_dict())


class _Witness(Reader):
    """Remembers the tokens of every window."""

    def __init__(self, reader: Reader) -> None:
        vars(self).update(vars(reader))
        self.seen: list[DecodedWindow] = []

    def read(self, decoded: DecodedWindow, language: str | None) -> Any:
        self.seen.append(decoded)
        return super().read(decoded, language)


def engine_tokens(
    asr: EngineAsr, waveform: Waveform, language: str | None, *, beams: int = 1
) -> list[tuple[Waveform, list[int]]]:
    """Each window that the engine decodes, and its tokens."""
    witness = _Witness(asr.reader)
    watched = EngineAsr(asr.engine, reader=witness)
    watched.transcribe(waveform, DecodingOptions(language=language, num_beams=beams, **ONE_ATTEMPT))
    return [
        (waveform[seen.window.start : seen.window.stop], [int(token) for token in seen.tokens])
        for seen in witness.seen
    ]


def ctranslate2_tokens(
    model: Any, asr: EngineAsr, windows: Sequence[Waveform], language: str | None, *, beams: int = 1
) -> list[list[int]]:
    """What `ctranslate2` decodes in the same windows."""
    from ctranslate2 import StorageView

    config = asr.models.config
    prompt = [config.decoder_start_token_id]
    if asr.capabilities.multilingual:
        prompt += [config.lang_to_id[f"<|{language}|>"], config.task_to_id["transcribe"]]
    mels = asr.models.log_mel.filters.shape[0]
    log_mel = LogMel(mels, torch.device("cpu"), torch.float32)
    found = []
    for window in windows:
        features = np.ascontiguousarray(log_mel([window]).numpy())
        (result,) = model.generate(StorageView.from_array(features), [prompt], beam_size=beams)
        found.append([int(token) for token in result.sequences_ids[0]])
    return found
