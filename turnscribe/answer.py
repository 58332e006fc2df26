"""The endpoint's answer to a request: a transcript as one JSON object of plain Python values.

Both serving containers and the hub's client need `text` and `chunks` at the top. The rendering in `formatted`
is one of `formats`; JSON has no bytes, so one that is binary is base64 there.
"""

from __future__ import annotations

import base64
from typing import Any

from turnscribe.formats import render
from turnscribe.formats.plain_values import known
from turnscribe.request import MULTI, Request
from turnscribe.transcript import Transcript, Word


def to_answer(transcript: Transcript, request: Request) -> dict[str, Any]:
    """The answer: no numpy, no tuples, no NaN; times are seconds from the start of the recording.

    `text`, `chunks`, `speakers` (empty when nobody was told apart), `language` (`None` when unknown),
    `duration` and `timings` are always there; `words` only when asked for, `warnings` only if any,
    `speculation` only when an assistant ran, `formatted` only with a `response_format`; chunks have a `language`
    where each window has its own. A chunk's and a word's text keep the space before them, so that, joined, they are
    the text.
    Raises `BadParameters` for a `response_format` that is not in `formats.FORMATS`, or cannot be rendered here.
    """
    run = transcript.speculation
    formatted = None
    if request.response_format:
        formatted = render(transcript, request.response_format, words=request.word_times, subtitles=request.subtitles)
    answer = known(
        {
            "text": transcript.text,
            "chunks": [
                {
                    "text": chunk.text,
                    "timestamp": (chunk.start, chunk.end),
                    "speaker": chunk.speaker,
                    "language": chunk.language if request.decoding.language == MULTI else None,
                }
                for chunk in transcript.chunks
            ],
            "speakers": [
                {"speaker": part.speaker, "text": part.text, "timestamp": (part.start, part.end)}
                for part in transcript.speakers
            ],
            "words": [_word(word) for word in transcript.words] if request.word_times else None,
            "language": transcript.language,
            "duration": transcript.duration,
            "timings": transcript.timings,
            "warnings": transcript.warnings or None,
            "speculation": {"proposed": run.proposed, "accepted": run.accepted} if run else None,
        }
    )
    answer.setdefault("language", None)
    if formatted is not None:
        answer["formatted"] = (
            base64.b64encode(formatted).decode("ascii") if isinstance(formatted, bytes) else formatted
        )
    return answer


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.text,
        "start": word.start,
        "end": word.end,
        "probability": word.probability,
        "speaker": word.speaker,
    }
