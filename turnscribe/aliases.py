"""Names that other tools have for a request's parameters, taken beside their own.

An alias is another name of one parameter, or an object with several (`vad_parameters`, faster-whisper's). What it
stands for is checked as if it had been sent by its own name; a sentence about a wrong value says the name that was
sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from turnscribe.errors import BadParameters


class Sent(NamedTuple):
    """A value, and the name it was sent by: a member of an object is `vad_parameters.threshold`."""

    name: str
    value: object


Alias: TypeAlias = Callable[[str, object], Iterator[tuple[str, Sent]]]  # of a name and its value: what it stands for


def resolve(given: Mapping[str, object]) -> dict[str, list[Sent]]:
    """Every way in which each parameter was sent, by the parameters' own names; unknown names stay as they are.

    Raises `BadParameters` for an alias with a value that cannot be taken apart.

    >>> resolve({"vad_filter": "false", "vad_parameters": {"threshold": 0.4}})["vad_threshold"]
    [Sent(name='vad_parameters.threshold', value=0.4)]
    """
    found: dict[str, list[Sent]] = {}
    for name, value in given.items():
        alias, _, member = name.partition("[")
        if alias in OBJECTS and member.endswith("]"):  # a form's way to send a member of an object
            value = {member[:-1]: value}
            name = alias
        resolved = ALIASES[name](name, value) if name in ALIASES else [(name, Sent(name, value))]
        for parameter, sent in resolved:
            found.setdefault(parameter, []).append(sent)
    return found


def _same(parameter: str) -> Alias:
    """Another name, for the same values."""

    def taken(name: str, value: object) -> Iterator[tuple[str, Sent]]:
        yield parameter, Sent(name, value)

    return taken


def _timestamps(name: str, value: object) -> Iterator[tuple[str, Sent]]:
    """`true` or `"word"`, what `huggingface_hub` sends."""
    text = str(value).strip().lower() if isinstance(value, str | bool) else ""
    wanted = {"word": "word", "true": "segment", "false": "segment"}.get(text)
    if wanted is None:
        raise BadParameters(f"{name} is {shown(value)}: give true or 'word'.")
    yield "timestamps", Sent(name, wanted)


def _members(parameters: Mapping[str, str]) -> Alias:
    """An object, or its JSON; `parameters` are what its members stand for."""

    def taken(name: str, value: object) -> Iterator[tuple[str, Sent]]:
        members = value
        if isinstance(value, str):
            try:
                members = json.loads(value)
            except (ValueError, RecursionError):
                members = None
        if not isinstance(members, Mapping):
            *others, last = parameters
            raise BadParameters(f"{name} is {shown(value)}: give an object of {', '.join(others)} and {last}.")
        for member, part in members.items():
            sent_as = f"{name}.{member}"
            if not is_missing(sent_as, part):
                yield parameters.get(str(member), sent_as), Sent(sent_as, part)

    return taken


OBJECTS: Mapping[str, Alias] = {
    "vad_parameters": _members(
        {
            name: f"vad_{name}"
            for name in ("threshold", "min_speech_duration_ms", "min_silence_duration_ms", "speech_pad_ms")
        }
    ),
}
ALIASES: Mapping[str, Alias] = {
    "return_timestamps": _timestamps,
    "vad_filter": _same("vad"),
    "beam_size": _same("num_beams"),  # faster-whisper, openai-whisper
    "hotwords": _same("keywords"),  # faster-whisper, vLLM
    "keyterms": _same("keywords"),  # ElevenLabs
    **OBJECTS,
}

SHOWN_CHARACTERS = 40  # of a wrong value, in an error


def is_missing(name: str, value: object) -> bool:
    """Whether a value says nothing; a prompt may be the word none."""
    if isinstance(value, str) and name != "prompt":
        return value.strip().lower() in ("", "none", "null")
    return value is None or value == ""


def shown(value: object) -> str:
    """A wrong value on one short line; of what is not text or a number of usual size, only the type."""
    if isinstance(value, str):
        text = repr(value[:SHOWN_CHARACTERS])
    elif isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 128):
        text = repr(value)
    else:
        text = f"of type {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
