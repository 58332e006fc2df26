"""OpenAI's `verbose_json` (openai-python, `types/audio/transcription_verbose.py`).

Left out, since they are not known: seek, tokens (no ids here) and usage (nothing is billed). `language` is null where
nobody speaks.
"""

from __future__ import annotations

from turnscribe.formats.format import JSON, Format, Rendered, RenderOptions
from turnscribe.formats.plain_values import known
from turnscribe.transcript import Transcript
from turnscribe.whisper.languages import language_name


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """TranscriptionVerbose; a segment has its speaker too, which OpenAI's has not."""
    segments = [
        {
            "id": index,
            "start": chunk.start,
            "end": chunk.end,
            "text": chunk.text,
            "temperature": chunk.temperature,
            "avg_logprob": chunk.avg_logprob,
            "compression_ratio": chunk.compression_ratio,
            "no_speech_prob": chunk.no_speech_prob,
            "speaker": chunk.speaker,
        }
        for index, chunk in enumerate(transcript.chunks)
    ]
    timed = [
        {"word": word.text.strip(), "start": word.start, "end": word.end}
        for word in transcript.words
        if options.words and word.text.strip()
    ]
    answer = known(
        {
            "task": transcript.task,
            "language": language_name(transcript.language) if transcript.language else None,
            "duration": transcript.duration,
            "text": transcript.text,
            "segments": segments,
            "words": timed or None,
        }
    )
    answer.setdefault("language", None)
    return answer


FORMAT = Format("verbose_json", "verbose.json", JSON, _render)
