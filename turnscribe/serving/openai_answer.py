"""A transcript as OpenAI's API answers it: whole in one of the formats, or as events while it is decoded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from turnscribe.formats import Rendered, RenderOptions
from turnscribe.formats.plain_values import known, token_logprobs
from turnscribe.serving.openai_form import TranscriptionForm
from turnscribe.transcript import Chunk, Transcript, Word, tokens_of

NO_LOGPROBS = "include had no effect: this backend reports no probabilities of tokens."


def render_answer(transcript: Transcript, form: TranscriptionForm, *, name: str) -> Rendered:
    """The answer in the form's format; the JSON ones also say what there was to say about the request.

    In the others it is a header's (`warning_header.py`).
    """
    request = form.request
    options = RenderOptions(words=request.word_times, recording=name or "audio", subtitles=request.subtitles)
    answer = form.format.render(transcript, options)
    if not isinstance(answer, dict):
        return answer
    if "language" in answer:  # of verbose_json, where OpenAI's type is text
        answer = {**answer, "language": answer["language"] or ""}
    if "segments" in answer:
        answer = {**answer, "segments": [_with_required_fields(segment) for segment in answer["segments"]]}
    return {**answer, "usage": {"type": "duration", "seconds": transcript.duration}, **_beside(transcript, form)}


def warnings_of(transcript: Transcript, form: TranscriptionForm) -> list[str]:
    """What there was to say, of the form first."""
    missing = form.logprobs and transcript.text and not tokens_of(transcript.words)
    unknown = (NO_LOGPROBS,) if missing else ()
    return list(dict.fromkeys((*form.warnings, *unknown, *transcript.warnings)))


def _beside(transcript: Transcript, form: TranscriptionForm) -> dict[str, Any]:
    """What JSON has beside the text where it was asked for, or is to be said."""
    logprobs = token_logprobs(tokens_of(transcript.words)) if form.logprobs else None
    return known({"logprobs": logprobs, "warnings": warnings_of(transcript, form) or None})


class TranscriptEvents:
    """Server-sent events of one transcription, in OpenAI's names: deltas while it is decoded, then the rest.

    The deltas, joined, are the text of the last event.
    """

    def __init__(self) -> None:
        self._sent = self._held_back = ""

    def deltas(self, chunks: Sequence[Chunk]) -> Iterator[str]:
        """What further chunks add. White space at the end waits for what follows, as the text has none there."""
        text = self._held_back + "".join(chunk.text for chunk in chunks)
        if not self._sent:
            text = text.lstrip()
        ready = text.rstrip()
        self._held_back = text[len(ready) :]
        yield from self._delta(ready, [word for chunk in chunks for word in chunk.words])

    def last(self, transcript: Transcript, form: TranscriptionForm) -> Iterator[str]:
        """What was not sent yet, the speakers' segments where they were asked for, and the whole text."""
        if transcript.text.startswith(self._sent):
            yield from self._delta(transcript.text[len(self._sent) :])
        if form.format.name == "diarized_json":
            diarized = form.format.render(transcript, RenderOptions())
            assert isinstance(diarized, dict)
            for segment in diarized["segments"]:
                yield event(_with_required_fields(segment))
        # without usage: openai-python's type (3.57, `transcription_text_done_event.py`) has tokens there, no seconds
        yield event({"type": "transcript.text.done", "text": transcript.text, **_beside(transcript, form)})

    def _delta(self, text: str, words: Sequence[Word] = ()) -> Iterator[str]:
        if text:
            self._sent += text
            logprobs = token_logprobs(tokens_of(words))
            yield event(known({"type": "transcript.text.delta", "delta": text, "logprobs": logprobs}))


def event(data: dict[str, Any]) -> str:
    """One server-sent event; an error in OpenAI's shape ends a stream that failed."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _with_required_fields(segment: dict[str, Any]) -> dict[str, Any]:
    """A segment with what OpenAI's types require and is not known here: clients with types refuse it otherwise."""
    if "type" in segment:  # of diarized_json
        return {**segment, "speaker": segment.get("speaker", "")}
    return {**segment, "seek": round(segment["start"] * 100), "tokens": []}  # seek: frames of 10 ms
