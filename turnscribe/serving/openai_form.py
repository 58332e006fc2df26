"""OpenAI's transcription form as a request.

Fields: https://platform.openai.com/docs/api-reference/audio/createTranscription, and the types of openai-python.
Every parameter of the endpoint may be sent beside them (`extra_body` in the SDK).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from turnscribe.diarization.known_speakers import check_names
from turnscribe.errors import BadParameters
from turnscribe.formats import Format, find_format
from turnscribe.request import Request, Task

LISTS = (
    *("timestamp_granularities", "known_speaker_names", "known_speaker_references", "include"),
    *("keywords", "languages"),
)
WITHOUT_EFFECT = ("model",)  # whatever model is named, the one that is loaded answers
CHUNKING = "chunking_strategy"
CHUNKING_HELP = "give 'auto', or an object of the type server_vad"
SPEAKER_COUNTS = ("num_speakers", "min_speakers", "max_speakers")
LOGPROBS = "logprobs"  # what `include` may have
GRANULARITIES = ("segment", "word")
# Not subtitles, which are cut by words where their times are asked for.
WITHOUT_GRANULARITIES = ("json", "text", "diarized_json")


@dataclass(frozen=True)
class TranscriptionForm:
    """What a form asks for: the request, the format of the answer, and whether it comes as events."""

    request: Request
    format: Format
    stream: bool = False
    logprobs: bool = False  # of the tokens
    warnings: tuple[str, ...] = ()


def read_transcription_form(
    fields: Sequence[tuple[str, str]], *, task: Task, parse: Callable[[object], Request]
) -> TranscriptionForm:
    """The form's fields, of which `parse` reads the endpoint's own; lists come as `name[]`, once for each item.

    Raises `BadParameters`.
    """
    parameters: dict[str, Any] = {}
    lists: dict[str, list[str]] = {name: [] for name in LISTS}
    chunking: dict[str, str] = {}
    for name, value in fields:
        plain, _, inner = name.partition("[")
        if plain in LISTS:
            lists[plain].append(value)
        elif plain == CHUNKING:
            chunking[inner.rstrip("]")] = value
        elif plain not in WITHOUT_EFFECT:
            parameters[name] = value
    if any(lists["keywords"]):
        parameters["keywords"] = lists["keywords"][0] if len(lists["keywords"]) == 1 else lists["keywords"]
    if any(lists["languages"]):
        parameters["languages"] = ",".join(lists["languages"])
    answer_format = find_format(parameters.pop("response_format", "") or "json")
    known_speakers = known_speaker_files(lists["known_speaker_names"], lists["known_speaker_references"])
    if _has_word(lists["timestamp_granularities"]):
        parameters.setdefault("timestamps", "word")
    if parameters.get("channels") != "split":  # there the channels are the speakers
        # OpenAI's plain formats name nobody, and diarizing takes time: only where it shows or was asked for.
        diarize = answer_format.needs_speakers or known_speakers or any(map(parameters.get, SPEAKER_COUNTS))
        parameters.setdefault("diarize", "true" if diarize else "false")
    stream = _boolean(str(parameters.pop("stream", "")))
    logprobs, warnings = _included(lists["include"], answer_format)
    threshold, without_effect = _chunking(chunking)
    if threshold is not None:
        parameters.setdefault("vad_threshold", threshold)
    if any(lists["timestamp_granularities"]) and answer_format.name in WITHOUT_GRANULARITIES:
        without_effect += (f"timestamp_granularities had no effect: {answer_format.name} has its own.",)
    request = parse({**parameters, "task": task})
    decoding = replace(request.decoding, token_logprobs=logprobs)
    request = replace(request, decoding=decoding, known_speakers=known_speakers)
    return TranscriptionForm(request, answer_format, stream, logprobs, (*warnings, *without_effect))


def _chunking(given: dict[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """The threshold of speech, where one is set, and what of `chunking_strategy` has no effect.

    Recordings are cut in their pauses, whatever it says. An object comes as `chunking_strategy[name]`, or as JSON.
    Raises `BadParameters`.
    """
    whole = given.pop("", "auto").strip()
    if whole.startswith("{"):
        try:
            given = {**json.loads(whole), **given}
        except ValueError:
            raise BadParameters(f"{CHUNKING} is no JSON: {CHUNKING_HELP}.") from None
    elif whole not in ("", "auto"):
        raise BadParameters(f"{CHUNKING} is {whole[:60]!r}: {CHUNKING_HELP}.")
    if given and given.get("type") != "server_vad":
        raise BadParameters(f"{CHUNKING} is not of the type server_vad: {CHUNKING_HELP}.")
    threshold = given.get("threshold")
    rest = [name for name in given if name not in ("type", "threshold")]
    said = f"{CHUNKING} had no effect with {' and '.join(rest)}: recordings are cut in their pauses."
    return None if threshold is None else str(threshold), (said[:300],) if rest else ()


def _included(names: Sequence[str], answer_format: Format) -> tuple[bool, tuple[str, ...]]:
    """Whether tokens come with their log-probabilities, and what of `include` has no effect."""
    given = [name for name in names if name]
    warnings = []
    if set(given) - {LOGPROBS}:
        warnings.append(f"include has {LOGPROBS}, and nothing else: the rest had no effect.")
    if LOGPROBS in given and not answer_format.is_json:
        warnings.append(f"include had no effect: {answer_format.name} has no place for probabilities.")
    return LOGPROBS in given and answer_format.is_json, tuple(warnings)


def _has_word(granularities: Sequence[str]) -> bool:
    given = [value for value in granularities if value]
    if not set(given) <= set(GRANULARITIES):
        raise BadParameters(f"timestamp_granularities is {str(given)[:60]}: give 'segment' or 'word'.")
    return "word" in given


def known_speaker_files(names: Sequence[str], references: Sequence[str]) -> dict[str, bytes]:
    """By name, the files in as many `data:` URLs. Raises `BadParameters`."""
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


def _boolean(value: str) -> bool:
    lowered = value.strip().lower()
    if lowered not in ("", "true", "1", "false", "0"):
        raise BadParameters(f"stream is {value[:40]!r}: give true or false.")
    return lowered in ("true", "1")
