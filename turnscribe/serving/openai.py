"""OpenAI's transcription API: its form in, its formats and events out.

Fields: https://platform.openai.com/docs/api-reference/audio/createTranscription, and the types of openai-python.
Every parameter of the handler may be sent beside them (`extra_body` in the SDK). Knows no models and no HTTP.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnscribe.diarization.known_speakers import check_names
from turnscribe.errors import BadParameters
from turnscribe.formats import FORMATS, known, render
from turnscribe.transcript import Chunk, Transcript

MEDIA_TYPES = {
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "rttm": "text/plain; charset=utf-8",
}
LISTS = ("timestamp_granularities", "known_speaker_names", "known_speaker_references", "include")
# Fields that mean nothing here, and are no reason to refuse: windows are always cut in pauses, and whatever model is
# named, the one that is loaded answers.
WITHOUT_EFFECT = ("model", "chunking_strategy")
SPEAKER_FIELDS = ("num_speakers", "min_speakers", "max_speakers")
GRANULARITIES = ("segment", "word")


@dataclass(frozen=True)
class Asked:
    """One transcription as it was asked for; `parameters` are the handler's."""

    parameters: dict[str, Any]
    response_format: str = "json"
    stream: bool = False
    known_speakers: dict[str, bytes] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def asked(fields: Sequence[tuple[str, str]], *, task: str) -> Asked:
    """The form's fields; lists come as `name[]`, once for each item. Raises `BadParameters`."""
    parameters: dict[str, Any] = {}
    lists: dict[str, list[str]] = {name: [] for name in LISTS}
    for name, value in fields:
        plain = name.partition("[")[0]
        if plain in LISTS:
            lists[plain].append(value)
        elif plain not in WITHOUT_EFFECT:
            parameters[name] = value
    response_format = parameters.pop("response_format", "") or "json"
    if response_format not in FORMATS:
        raise BadParameters(f"response_format is {str(response_format)[:40]!r}: give one of {', '.join(FORMATS)}.")
    known_speakers = _known_speakers(lists["known_speaker_names"], lists["known_speaker_references"])
    wanted = [value for value in lists["timestamp_granularities"] if value]
    if not set(wanted) <= set(GRANULARITIES):
        raise BadParameters(f"timestamp_granularities is {str(wanted)[:60]}: give 'segment' or 'word'.")
    if "word" in wanted:
        parameters.setdefault("timestamps", "word")
    # OpenAI's plain formats name nobody: telling speakers apart takes time, so only where it shows or was asked for.
    told_apart = response_format in ("diarized_json", "rttm") or known_speakers
    if parameters.get("channels") != "split":  # there the channels are the speakers
        asked_for = told_apart or any(map(parameters.get, SPEAKER_FIELDS))
        parameters.setdefault("diarize", "true" if asked_for else "false")
    stream = _truth(str(parameters.pop("stream", "")))
    warnings: tuple[str, ...] = ()
    if any(lists["include"]):
        warnings = ("include had no effect: probabilities of tokens are not reported.",)
    return Asked({**parameters, "task": task}, response_format, stream, known_speakers, warnings)


def body(transcript: Transcript, wanted: Asked, *, words: bool, name: str) -> str | dict[str, Any]:
    """The answer in the format asked for; the JSON ones also say what there was to say about the request."""
    made = render(transcript, wanted.response_format, words=words, name=name or "audio")
    if isinstance(made, dict) and "segments" in made:
        made = {**made, "segments": [_typed(segment) for segment in made["segments"]]}
    warnings = [*wanted.warnings, *transcript.warnings]
    return {**made, "warnings": warnings} if isinstance(made, dict) and warnings else made


class Events:
    """Server-sent events of one transcription, in OpenAI's names: deltas while it is decoded, then the rest.

    The deltas, joined, are the text of the last event.
    """

    def __init__(self) -> None:
        self._said = self._held = ""

    def deltas(self, chunks: Sequence[Chunk]) -> Iterator[str]:
        """What further chunks add. White space at the end waits for what follows, as the text has none there."""
        text = self._held + "".join(chunk.text for chunk in chunks)
        if not self._said:
            text = text.lstrip()
        ready = text.rstrip()
        self._held = text[len(ready) :]
        yield from self._delta(ready)

    def last(self, transcript: Transcript, wanted: Asked) -> Iterator[str]:
        """What was not said yet, the speakers' segments where they were asked for, and the whole text."""
        if transcript.text.startswith(self._said):
            yield from self._delta(transcript.text[len(self._said) :])
        if wanted.response_format == "diarized_json":
            rendered: Any = render(transcript, "diarized_json")
            for segment in rendered["segments"]:
                yield event(_typed(segment))
        warnings = [*wanted.warnings, *transcript.warnings] or None
        yield event(known({"type": "transcript.text.done", "text": transcript.text, "warnings": warnings}))

    def _delta(self, text: str) -> Iterator[str]:
        if text:
            self._said += text
            yield event({"type": "transcript.text.delta", "delta": text})


def _typed(segment: dict[str, Any]) -> dict[str, Any]:
    """A segment with what OpenAI's types require and is not known here: clients with types refuse it otherwise."""
    if "type" in segment:  # of diarized_json
        return {**segment, "speaker": segment.get("speaker", "")}
    return {**segment, "seek": round(segment["start"] * 100), "tokens": []}  # seek: frames of 10 ms


def event(data: dict[str, Any]) -> str:
    """One server-sent event; an error in OpenAI's shape ends a stream that failed."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _known_speakers(names: Sequence[str], references: Sequence[str]) -> dict[str, bytes]:
    if len(names) != len(references):
        raise BadParameters(
            f"{len(names)} known_speaker_names and {len(references)} known_speaker_references were sent: "
            "send one reference for each name."
        )
    check_names(names)  # before a mapping hides that two are the same
    return {name: _from_data_url(name, url) for name, url in zip(names, references, strict=True)}


def _from_data_url(name: str, url: str) -> bytes:
    header, comma, text = url.partition(",")
    if comma and header.lower().startswith("data:") and header.lower().endswith(";base64"):
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:  # not base64, or not ASCII
            pass
    raise BadParameters(f"The reference of {name[:40]!r} is no data: URL: send data:audio/wav;base64,... .")


def _truth(value: str) -> bool:
    lowered = value.strip().lower()
    if lowered not in ("", "true", "1", "false", "0"):
        raise BadParameters(f"stream is {value[:40]!r}: give true or false.")
    return lowered in ("true", "1")
