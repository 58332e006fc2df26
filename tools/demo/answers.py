"""What the endpoint's handler answers for a recording, and how people read it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def answered(audio: bytes, parameters: dict[str, Any], *, asr_model: str, diarization_model: str) -> dict[str, Any]:
    """The answer of an `EndpointHandler` with these models to a request with this audio."""
    from config import ModelSettings
    from handler import EndpointHandler

    settings = ModelSettings(asr_model=asr_model, diarization_model=diarization_model)
    handler = EndpointHandler(str(REPOSITORY), settings)
    return handler({"inputs": base64.b64encode(audio).decode(), "parameters": parameters})


def readable(answer: dict[str, Any]) -> str:
    """The answer's speakers with their times, and what it cost."""
    lines = []
    for part in answer["speakers"]:
        start, end = part["timestamp"]
        lines.append(f"[{start:5.1f} - {end:5.1f} s] {part['speaker']}: {part['text']}")
    seconds = answer["timings"]["total"]
    speakers = len({part["speaker"] for part in answer["speakers"]})
    lines.append(
        f"\n{answer['duration']:.1f} s of audio, {speakers} speakers, answered in {seconds:.1f} s "
        f"({answer['duration'] / seconds:.1f} times real time)"
    )
    return "\n".join(lines)
