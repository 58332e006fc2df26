"""`make demo`: the demo conversation through `EndpointHandler`, as an endpoint answers it, printed for people."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent

RECORDING = REPOSITORY / "demo" / "conversation.flac"
CHUNK_LENGTH_S = 15  # in longer windows the demo Whisper now and then repeats a phrase (demo/README.md)
NOTICE = """\
These are demo models: they were trained from nothing for this demonstration and know about 130 words, listed in
demo/vocabulary.txt, in eight synthetic voices, and nothing else. For real speech name real models (README.md)."""


def main() -> int:
    from config import ModelSettings
    from handler import EndpointHandler

    print(NOTICE, end="\n\n")
    print(
        f"Loading demo/whisper and demo/diarizer, transcribing {RECORDING.relative_to(REPOSITORY)} ...\n", flush=True
    )
    settings = ModelSettings(asr_model="demo/whisper", diarization_model="demo/diarizer")
    handler = EndpointHandler(str(REPOSITORY), settings)
    audio = base64.b64encode(RECORDING.read_bytes()).decode()
    answer = handler({"inputs": audio, "parameters": {"chunk_length_s": CHUNK_LENGTH_S}})
    print(readable(answer))
    return 0


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
