"""OpenAI's `json`: the text alone (openai-python, `types/audio/transcription.py`)."""

from __future__ import annotations

from turnscribe.formats.format import JSON, Format, Rendered, RenderOptions
from turnscribe.transcript import Transcript


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    return {"text": transcript.text}


FORMAT = Format("json", "json", JSON, _render)
