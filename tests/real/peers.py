"""The other programs, on the weights of `whisper-base`: a function each, which loads and gives one that transcribes.

faster-whisper and openai-whisper have their own defaults but for the beams: windows that look wrong are decoded
warmer, and each window's text is the next one's prompt. Words have times where they are measured, since that costs
time.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.real.recording import TIMED, Recording
from tests.real.scoring import Heard
from tools.benchmarks.peers import openai_dimensions, openai_name
from turnscribe.cli.evaluation.references import SpokenWord
from turnscribe.inputs.decode import decode_audio
from turnscribe.transcript import SpeakerText
from turnscribe.waveform import SAMPLE_RATE
from turnscribe.whisper.languages import language_code

if TYPE_CHECKING:
    import torch

Transcriber = Callable[[Recording, bytes], Heard]
BEST_OF = 5  # both programs' own, of what is drawn at a warmer temperature


def faster_whisper(models: Path, *, beams: int, vad_filter: bool) -> Transcriber:
    """With five beams and without the filter it is as it is by default."""
    from faster_whisper import WhisperModel

    model = WhisperModel(str(models / "whisper-base"), device="cpu", compute_type="float32", cpu_threads=1)

    def transcribe(recording: Recording, audio: bytes) -> Heard:
        began, timed = time.perf_counter(), recording.kind in TIMED
        found, info = model.transcribe(
            io.BytesIO(audio), beam_size=beams, word_timestamps=timed, vad_filter=vad_filter
        )
        segments = list(found)
        took = time.perf_counter() - began
        passages = tuple(SpeakerText("", segment.text, segment.start, segment.end) for segment in segments)
        words = _words((w.word, w.start, w.end) for one in segments for w in one.words or ()) if timed else None
        text = "".join(passage.text for passage in passages)
        return Heard(text, info.language, took, info.duration, passages, words=words)

    return transcribe


def openai_whisper(models: Path, *, beams: int) -> Transcriber:
    """Its own decoder. With five beams it is as its command is by default."""
    import whisper

    model = openai_model(models)

    def transcribe(recording: Recording, audio: bytes) -> Heard:
        waveform, timed = decode_audio(audio).mono, recording.kind in TIMED
        began = time.perf_counter()
        found = whisper.transcribe(
            model,
            waveform,
            fp16=False,
            word_timestamps=timed,
            beam_size=beams if beams > 1 else None,
            best_of=BEST_OF,
            verbose=None,
        )
        took, segments = time.perf_counter() - began, found["segments"]
        passages = tuple(SpeakerText("", one["text"], one["start"], one["end"]) for one in segments)
        words = _words((w["word"], w["start"], w["end"]) for one in segments for w in one["words"]) if timed else None
        duration = len(waveform) / SAMPLE_RATE
        return Heard(found["text"], found["language"], took, duration, passages, words=words)

    return transcribe


def openai_model(models: Path) -> Any:
    """Its `Whisper`, with the weights that the product reads from the same file."""
    import whisper
    from whisper.model import ModelDimensions, Whisper

    loaded = _loaded(models).model
    model = Whisper(ModelDimensions(**openai_dimensions(loaded.config.to_dict())))
    missing, unknown = model.load_state_dict(openai_names(loaded.model.state_dict()), strict=False)
    assert not missing, missing
    assert not unknown, unknown
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS["base"])
    return model.eval()


def openai_names(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' weights of a Whisper under the names of openai-whisper.

    >>> list(openai_names({"decoder.layers.0.encoder_attn.q_proj.weight": None}))
    ['decoder.blocks.0.cross_attn.query.weight']
    """
    return {openai_name(name): tensor for name, tensor in weights.items()}


def _words(words: Iterable[tuple[str, float, float]]) -> tuple[SpokenWord, ...]:
    return tuple(SpokenWord(text, (float(start), float(end))) for text, start, end in words)


def transformers(models: Path) -> Transcriber:
    """Its speech recognition pipeline, with the model that the product reads from the same file."""
    import torch
    from transformers import pipeline

    parts = _loaded(models)
    recognise = pipeline(
        "automatic-speech-recognition",
        model=parts.model,
        tokenizer=parts.tokenizer,
        feature_extractor=parts.feature_extractor,
        chunk_length_s=30,
        device="cpu",
    )

    def transcribe(recording: Recording, audio: bytes) -> Heard:
        waveform = decode_audio(audio).mono
        began = time.perf_counter()
        with torch.inference_mode():
            found = recognise(
                {"raw": waveform, "sampling_rate": SAMPLE_RATE},
                return_timestamps=True,
                return_language=True,
                generate_kwargs={"task": "transcribe", "num_beams": 1, "do_sample": False},
            )
        took, duration = time.perf_counter() - began, len(waveform) / SAMPLE_RATE
        passages = []
        for chunk in found["chunks"]:
            start, end = chunk["timestamp"]
            passages.append(SpeakerText("", chunk["text"], start or 0.0, duration if end is None else end))
        language = next((chunk.get("language") for chunk in found["chunks"]), None)  # an English name
        return Heard(found["text"], language_code(language or ""), took, duration, tuple(passages))

    return transcribe


def _loaded(models: Path) -> Any:
    from turnscribe.asr.whisper_loading import load_whisper

    model = str(models / "whisper-base")
    return load_whisper(model, assistant=None, token=None, device="cpu", dtype="float32", modules=True)
