"""A request's parameters, as they come from outside, to a `Request`.

Every field of `Request`, and of what is nested in it, that says how to give it is a parameter; so a new one is a new
field there. What is wrong is one sentence: what was wrong, and what would be right.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, create_model, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Doc

from turnscribe.aliases import SHOWN_CHARACTERS, Sent, is_missing, resolve, shown
from turnscribe.errors import BadParameters, SettingsError
from turnscribe.formats import FORMATS, find_format
from turnscribe.request import MULTI, DecodingOptions, Request, SubtitleOptions
from turnscribe.whisper.languages import language_code

NESTED = {"decoding": DecodingOptions, "subtitles": SubtitleOptions}  # parts of a `Request`, by their fields
EXCLUSIVE = (("vad", "speech"), ("num_beams", "assisted"))  # where one says something, the other must not
DEFAULTS_PREFIX = "INFERENCE_"
AUTO = "auto"  # as `language`: judged by the recording, whatever the operator's default is


class Parameters(BaseModel):
    """One request's parameters, checked: the base of `inference_config`'s models, which have the fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def request(self) -> Request:
        values = {name: getattr(self, name) for name in type(self).model_fields}
        nested: dict[str, Any] = {
            field: kind(**{name: values.pop(name) for name in _documented(kind)}) for field, kind in NESTED.items()
        }
        return Request(**nested, **values)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and info.field_name in _numbers():
            raise ValueError("true and false are not numbers")
        return value

    @field_validator("language", check_fields=False)
    @classmethod
    def _language_code(cls, value: str | None) -> str | None:
        """`"German"`, `"de"` and `"de-AT"` -> `"de"`."""
        if value is None or value.strip().lower() == AUTO:
            return None
        return MULTI if value.strip().lower() == MULTI else _known_language(value)

    @field_validator("languages", mode="before", check_fields=False)
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(part for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("languages", check_fields=False)
    @classmethod
    def _language_codes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(_known_language, value)))

    @field_validator("keywords", mode="before", check_fields=False)
    @classmethod
    def _one_by_one(cls, value: object) -> object:
        """Commas and new lines end one; none is empty or comes twice."""
        listed = re.split("[,\n]", value) if isinstance(value, str) else value
        if not isinstance(listed, Sequence) or not all(isinstance(keyword, str) for keyword in listed):
            return listed
        spaced = (" ".join(keyword.split()) for keyword in listed)
        return tuple(dict.fromkeys(keyword for keyword in spaced if keyword))

    @field_validator("speech", mode="before", check_fields=False)
    @classmethod
    def _read_json(cls, value: object) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except RecursionError:
            raise ValueError("nested too deeply") from None

    @field_validator("speech", check_fields=False)
    @classmethod
    def _in_order(cls, value: tuple[tuple[float, float], ...] | None) -> tuple[tuple[float, float], ...] | None:
        times = [0.0, *(time for stretch in value or () for time in stretch)]
        if any(later < earlier for earlier, later in pairwise(times)):
            raise ValueError("not in order")
        return value

    @field_validator("response_format", check_fields=False)
    @classmethod
    def _known_format(cls, value: str | None) -> str | None:
        if value is not None and value not in FORMATS:
            raise ValueError("unknown format")
        return value


def inference_config(defaults: Mapping[str, object] | None = None) -> type[Parameters]:
    """The model of all parameters; `defaults` are those of one endpoint, by name. Raises `SettingsError`.

    >>> inference_config({"batch_size": 8})(language="German").request().decoding.language
    'de'
    """
    given = dict(defaults or {})
    known = _all_documented()
    hint, default, _ = known["response_format"]
    *others, last = map(repr, FORMATS)
    known["response_format"] = (hint, default, f"{', '.join(others)} or {last}")
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise SettingsError(f"The request default {unknown[0]!r} is no parameter: name one of {', '.join(known)}.")
    own: dict[str, Any] = {
        name: (hint, Field(given.get(name, default), description=doc, validate_default=True))
        for name, (hint, default, doc) in known.items()
    }
    return create_model("InferenceConfig", __base__=Parameters, **own)


def parse_parameters(parameters: object = None, config: type[Parameters] | None = None) -> Request:
    """Check one request's parameters, over the operator's defaults. Raises `BadParameters`, one sentence.

    Values may be strings, as query parameters are; `None`, `""`, `"none"` and `"null"` mean not given. A parameter
    may be sent by the name that another tool has for it (`aliases.py`). The operator's defaults are `config`'s, and
    before them those of the environment's `INFERENCE_*` variables.
    """
    config = config or InferenceConfig
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, Mapping):
        raise BadParameters(f"parameters is a {type(parameters).__name__}: send an object of names and values.")
    sent = resolve({str(name): value for name, value in parameters.items() if not is_missing(str(name), value)})
    given = {name: _agreed(name, ways, config) for name, ways in sent.items()}
    defaults = _environment_defaults(config)
    request = _checked({**defaults, **_replaced(given, config), **given}, config).request()
    unknown = sorted(given.keys() - config.model_fields.keys())
    request = replace(request, ignored=tuple(map(_shown_name, unknown)))
    _check_pairs(request)
    return request


def check_defaults(config: type[Parameters] | None = None) -> None:
    """Raises `SettingsError` where a request default, of the environment or of `config`, is wrong."""
    try:
        parse_parameters({}, config)
    except BadParameters as error:
        raise SettingsError(f"A request default ({DEFAULTS_PREFIX}*) is wrong: {error}") from None


def parameters_of(request: Request) -> dict[str, object]:
    """The parameters that `parse_parameters` makes `request` of, those that say nothing left out."""
    values = {name: getattr(request, name) for name in _documented(Request)}
    for field, kind in NESTED.items():
        values |= {name: getattr(getattr(request, field), name) for name in _documented(kind)}
    return {name: value for name, value in values.items() if value is not None}


def _all_documented() -> dict[str, tuple[object, object, str]]:
    """Every parameter."""
    return {name: found for kind in (*NESTED.values(), Request) for name, found in _documented(kind).items()}


def _documented(kind: type[Any]) -> dict[str, tuple[object, object, str]]:
    """The fields that are parameters: their types, defaults, and what to give."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in fields(kind):
        for extra in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(extra, Doc):
                found[field.name] = (hints[field.name], field.default, extra.documentation)
    return found


@cache
def _numbers() -> frozenset[str]:
    """The parameters that are numbers."""
    hints = {name: hint for name, (hint, _, _) in _all_documented().items()}
    return frozenset(name for name, hint in hints.items() if {int, float} & _alternatives(hint))


def _is_list(hint: Any) -> bool:
    return get_origin(hint.__origin__) is tuple


def _alternatives(hint: Any) -> set[object]:
    """The types that an annotation allows: `Annotated[int | None, ...]` -> `{int, NoneType}`."""
    plain = hint.__origin__
    return set(get_args(plain)) or {plain}


def _known_language(name: str) -> str:
    """Its code."""
    code = language_code(name)
    if code is None:
        # pydantic writes the value into its message, which a lone surrogate cannot be written into
        value = name.encode("utf-8", "replace").decode()
        raise PydanticCustomError("language", "unknown language", {"value": value})
    return code


def _environment_defaults(config: type[Parameters]) -> dict[str, Sent]:
    named = {
        name.upper().removeprefix(DEFAULTS_PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.upper().startswith(DEFAULTS_PREFIX)
    }
    sent = resolve({name: value for name, value in named.items() if not is_missing(name, value)})
    return {name: _agreed(name, ways, config) for name, ways in sent.items() if name in config.model_fields}


def _replaced(given: Mapping[str, Sent], config: type[Parameters]) -> dict[str, Sent]:
    """The operator's defaults that what is given puts aside, though it has other names."""
    aside: dict[str, object] = {}
    split = "channels" in given and given["channels"].value == "split"  # excludes ways to tell speakers apart
    if split or any(name.endswith("_speakers") for name in given):
        aside |= {name: None for name in config.model_fields if name.endswith("_speakers")}
    if split:
        aside["diarize"] = None
    if given.keys() & {"language", "languages"}:
        aside |= {"language": None, "languages": ()}
    for names in EXCLUSIVE:
        own = [name for name in names if name in given]
        if any(_says_something(name, given[name], config) for name in own):
            aside |= {name: DEFAULTS[name] for name in names if name not in own}
    return {name: Sent(name, value) for name, value in aside.items()}


def _says_something(name: str, sent: Sent, config: type[Parameters]) -> bool:
    return bool(getattr(_checked({name: sent}, config), name) != DEFAULTS[name])


def _agreed(name: str, ways: Sequence[Sent], config: type[Parameters]) -> Sent:
    """One of the ways in which a parameter was sent. Raises `BadParameters` where they say different things."""
    first, *others = ways
    for other in others if name in config.model_fields else ():
        if len({getattr(_checked({name: way}, config), name) for way in (first, other)}) > 1:
            raise BadParameters(f"{first.name} and {other.name} disagree: send one of them.")
    return first


def _checked(sent: Mapping[str, Sent], config: type[Parameters]) -> Parameters:
    """Raises `BadParameters` with `batch_size is 'many': give a whole number from 1 to 512.` for each wrong value."""
    try:
        return config.model_validate({name: value for name, (_, value) in sent.items()})
    except ValidationError as error:
        parts: dict[str, str] = {}
        for wrong in error.errors():
            name = str(wrong["loc"][0])
            value = wrong.get("ctx", {}).get("value", wrong["input"])  # of a list, the member
            sent_as = sent[name].name if name in sent else name
            expected = config.model_fields[name].description
            parts.setdefault(name, f"{sent_as} is {shown(value)}: give {expected}")
        raise BadParameters("; ".join(parts.values()) + ".") from None


def _shown_name(name: str) -> str:
    """A parameter's name as it is; what is no plain name is quoted and cut."""
    return name if name.isprintable() and len(name) <= SHOWN_CHARACTERS else shown(name)


def _check_pairs(request: Request) -> None:
    if request.response_format is not None:
        find_format(request.response_format)  # so that nothing is transcribed that cannot be written
    language, languages = request.decoding.language, request.decoding.languages
    decoding = request.decoding
    if decoding.num_beams > 1 and decoding.assisted:
        raise BadParameters(
            f"num_beams is {decoding.num_beams} and assisted is true: an assistant helps a single beam, "
            "leave one of them out."
        )
    if decoding.speech is not None and not decoding.vad:
        raise BadParameters("vad is false and speech was sent: leave one of them out.")
    if languages and language not in (None, MULTI, *languages):
        raise BadParameters(
            f"language is {language!r} and languages are {', '.join(map(repr, languages))}: leave one of them out."
        )
    low, high = request.min_speakers, request.max_speakers
    if request.num_speakers is not None and (low is not None or high is not None):
        raise BadParameters("num_speakers excludes min_speakers and max_speakers: give the number or a range.")
    if low is not None and high is not None and low > high:
        raise BadParameters(f"min_speakers is {low} and max_speakers {high}: min must not be above max.")
    if request.channels == "split":
        if request.diarize or request.speaker_counts:
            raise BadParameters(
                "channels is 'split', which makes every channel a speaker: leave diarize and speaker counts out, "
                "or use channels 'mix'."
            )
        if request.encoding is not None:
            raise BadParameters("channels is 'split' and headerless PCM is mono: leave one of them out.")


DEFAULTS = {name: default for name, (_, default, _) in _documented(DecodingOptions).items()}
InferenceConfig = inference_config()
PARAMETERS = frozenset(InferenceConfig.model_fields)
SUBTITLES = tuple(_documented(SubtitleOptions))
LISTS = frozenset(name for name, (hint, _, _) in _documented(DecodingOptions).items() if _is_list(hint))
