"""OpenAI's `diarized_json` (openai-python, `types/audio/transcription_diarized.py`), without usage."""

from __future__ import annotations

from turnscribe.formats.format import JSON, Format, Rendered, RenderOptions
from turnscribe.formats.plain_values import known
from turnscribe.transcript import Transcript


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """TranscriptionDiarized; a chunk nobody was heard in has no `speaker`."""
    segments = [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{number:03d}",
            "start": chunk.start,
            "end": chunk.end,
            "text": chunk.text,
            "speaker": chunk.speaker,
        }
        for number, chunk in enumerate(transcript.chunks, start=1)
    ]
    return known(
        {
            "task": transcript.task,
            "duration": transcript.duration,
            "text": transcript.text,
            "segments": segments,
        }
    )


FORMAT = Format("diarized_json", "diarized.json", JSON, _render, needs_speakers=True)
