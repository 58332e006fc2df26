"""The programs that are compared, on the same weights: a function each, from a recording's bytes to `Heard`.

All of them decode greedily, in float32, on the CPU, and find the language themselves. What each does with a window
that looks wrong (a warmer temperature, leaving it out) is its own default.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.real.scoring import Heard
from tests.real.sources import Recording
from turnscribe.cli.evaluation.references import parse_rttm
from turnscribe.inputs.decode import decode_audio
from turnscribe.transcript import SpeakerText
from turnscribe.waveform import SAMPLE_RATE
from turnscribe.whisper.languages import language_code

REPOSITORY = Path(__file__).resolve().parents[2]
SEVERAL_VOICES = ("conversation", "dialogue")

Transcriber = Callable[[Recording, bytes], Heard]


@dataclass(frozen=True)
class System:
    """`settings` are part of what a kept result is known by: change them, and it is measured again."""

    name: str
    settings: str
    load: Callable[[Path], Transcriber]  # from the folder of the models


def turnscribe(models: Path) -> Transcriber:
    """The endpoint's handler. Speakers are told apart where there are several."""
    handler = endpoint_handler(models)

    def transcribe(recording: Recording, audio: bytes) -> Heard:
        return heard_by(handler, audio, diarize=recording.kind in SEVERAL_VOICES)

    return transcribe


def endpoint_handler(models: Path) -> Any:
    """An `EndpointHandler` with `whisper-base` and the open diarizer."""
    from config import ModelSettings
    from handler import EndpointHandler

    settings = ModelSettings(asr_model=str(models / "whisper-base"), diarization_model=str(models / "open-diarizer"))
    return EndpointHandler(str(REPOSITORY), settings)


def heard_by(handler: Any, audio: bytes, *, diarize: bool, **parameters: Any) -> Heard:
    """The handler's answer; a chunk's speaker is a passage's, and the turns come as rttm."""
    if diarize:
        parameters["response_format"] = "rttm"
    began = time.perf_counter()
    answer = handler({"inputs": audio, "parameters": {"diarize": diarize, **parameters}})
    return Heard(
        answer["text"],
        answer["language"],
        time.perf_counter() - began,
        answer["duration"],
        tuple(SpeakerText(one.get("speaker") or "", one["text"], *one["timestamp"]) for one in answer["chunks"]),
        parse_rttm(answer["formatted"]) if diarize else None,
    )


def faster_whisper(models: Path, *, vad_filter: bool) -> Transcriber:
    from faster_whisper import WhisperModel

    model = WhisperModel(str(models / "whisper-base"), device="cpu", compute_type="float32")

    def transcribe(recording: Recording, audio: bytes) -> Heard:
        began = time.perf_counter()
        segments, info = model.transcribe(
            io.BytesIO(audio), beam_size=1, word_timestamps=recording.kind in SEVERAL_VOICES, vad_filter=vad_filter
        )
        passages = tuple(SpeakerText("", segment.text, segment.start, segment.end) for segment in segments)
        text = "".join(passage.text for passage in passages)
        return Heard(text, info.language, time.perf_counter() - began, info.duration, passages)

    return transcribe


def transformers(models: Path) -> Transcriber:
    """Its speech recognition pipeline, with the model that the product reads from the same file."""
    import torch
    from transformers import pipeline

    from turnscribe.asr.whisper_loading import load_whisper

    model = str(models / "whisper-base")
    parts = load_whisper(model, assistant=None, token=None, device="cpu", dtype="float32", modules=True)
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


SYSTEMS = (
    System("Turnscribe", "whisper-base, open diarizer", turnscribe),
    System("faster-whisper", "whisper-base, beam 1", lambda models: faster_whisper(models, vad_filter=False)),
    System(
        "faster-whisper, voice filter", "whisper-base, beam 1", lambda models: faster_whisper(models, vad_filter=True)
    ),
    System("transformers", "whisper-base, beam 1, chunks of 30 s", transformers),
)
