"""The programs that are compared, on the same weights: this one, as its endpoint's handler runs it, and `peers.py`.

All of them decode on the CPU, in float32 but for one, and find the language themselves. What each does with a window
that looks wrong (a warmer temperature, leaving it out) is its own default.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.real import peers
from tests.real.peers import Transcriber
from tests.real.recording import SEVERAL_VOICES, Recording
from tests.real.scoring import Heard
from turnscribe.asr.protocol import WeightsType
from turnscribe.cli.evaluation.references import SpokenWord, parse_rttm
from turnscribe.transcript import SpeakerText

REPOSITORY = Path(__file__).resolve().parents[2]
PRODUCT = "Turnscribe"


@dataclass(frozen=True)
class System:
    """`settings` are part of what a kept result is known by: change them, and it is measured again."""

    name: str
    settings: str
    load: Callable[[Path], Transcriber]  # from the folder of the models
    package: str | None  # whose version counts; `None` is this repository
    beams: int = 1


def turnscribe(models: Path, dtype: WeightsType = "auto", **parameters: Any) -> Transcriber:
    """The endpoint's handler. Speakers are told apart where there are several."""
    handler = endpoint_handler(models, dtype)

    def transcribe(recording: Recording, audio: bytes) -> Heard:
        return heard_by(handler, audio, diarize=recording.kind in SEVERAL_VOICES, **parameters)

    return transcribe


def endpoint_handler(models: Path, dtype: WeightsType = "auto") -> Any:
    """An `EndpointHandler` with `whisper-base`, its weights of that type, and the open diarizer."""
    from config import ModelSettings
    from handler import EndpointHandler

    settings = ModelSettings(
        asr_model=str(models / "whisper-base"), asr_dtype=dtype, diarization_model=str(models / "open-diarizer")
    )
    return EndpointHandler(str(REPOSITORY), settings)


def heard_by(handler: Any, audio: bytes, *, diarize: bool, **parameters: Any) -> Heard:
    """The handler's answer; a chunk's speaker is a passage's, and the turns come as rttm."""
    if diarize:
        parameters["response_format"] = "rttm"
    began = time.perf_counter()
    answer = handler({"inputs": audio, "parameters": {"diarize": diarize, "timestamps": "word", **parameters}})
    return Heard(
        answer["text"],
        answer["language"],
        time.perf_counter() - began,
        answer["duration"],
        tuple(SpeakerText(one.get("speaker") or "", one["text"], *one["timestamp"]) for one in answer["chunks"]),
        parse_rttm(answer["formatted"]) if diarize else None,
        tuple(SpokenWord(one["word"], (one["start"], one["end"])) for one in answer["words"]),
    )


def _faster_whisper(name: str, beams: int, *, vad_filter: bool) -> System:
    load = partial(peers.faster_whisper, beams=beams, vad_filter=vad_filter)
    return System(name, f"whisper-base, {beams} beams", load, "faster-whisper", beams)


def _openai_whisper(name: str, beams: int) -> System:
    load = partial(peers.openai_whisper, beams=beams)
    return System(name, f"whisper-base, {beams} beams", load, "openai-whisper", beams)


SYSTEMS = (
    System(PRODUCT, "whisper-base, open diarizer", turnscribe, None),
    System(f"{PRODUCT}, int8", "whisper-base in int8, open diarizer", partial(turnscribe, dtype="int8"), None),
    _faster_whisper("faster-whisper", 1, vad_filter=False),
    _faster_whisper("faster-whisper, voice filter", 1, vad_filter=True),
    _openai_whisper("openai-whisper", 1),
    System("transformers", "whisper-base, chunks of 30 s", peers.transformers, "transformers"),
    System(f"{PRODUCT}, 5 beams", "whisper-base, open diarizer", partial(turnscribe, num_beams=5), None, 5),
    _faster_whisper("faster-whisper, 5 beams", 5, vad_filter=False),
    _faster_whisper("faster-whisper, 5 beams, voice filter", 5, vad_filter=True),
    _openai_whisper("openai-whisper, 5 beams", 5),
)
