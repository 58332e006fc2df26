"""What a client sets with `session.update`: OpenAI's fields by OpenAI's names, and ours in `turnscribe`.

A field that is absent stays as it was, and null clears it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from turnscribe.diarization.known_speakers import MOST_NAMES
from turnscribe.live.commit import Rule
from turnscribe.live.container import OGG, WEBM, ContainerFormat
from turnscribe.live.endpoints import Endpointing
from turnscribe.live.intake import G711_ALAW, G711_ULAW, PCM16, PCM16_16K, AudioFormat
from turnscribe.live.session import LiveOptions
from turnscribe.live.utterance import Style
from turnscribe.request import KEYWORD_CHARACTERS, MOST_KEYWORDS, PROMPT_CHARACTERS
from turnscribe.serving.openai_form import known_speaker_files
from turnscribe.serving.problems import Malformed
from turnscribe.serving.service import ParseParameters

STEPS = {"minimal": 0.5, "low": 0.7, "medium": 1.0, "high": 1.5, "xhigh": 3.0}  # seconds
EAGERNESS = {"low": 8.0, "medium": 4.0, "high": 2.0, "auto": 4.0}  # seconds of silence after half a sentence
MOST_LANGUAGES = 20
NO_REDUCTION = "noise_reduction has no effect: the models hear the audio as it is."
LOGPROBS = "item.input_audio_transcription.logprobs"


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Pcm(_Fields):
    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000, 16000] = 24000  # 16 kHz is ours


class Ulaw(_Fields):
    type: Literal["audio/pcmu"]


class Alaw(_Fields):
    type: Literal["audio/pcma"]


class Webm(_Fields):
    """Ours, as is the next: what MediaRecorder gives."""

    type: Literal["audio/webm"]


class Ogg(_Fields):
    type: Literal["audio/ogg"]


class Transcription(_Fields):
    model: Annotated[str, Field(max_length=200)] | None = None  # any name is answered by the loaded model
    language: Annotated[str, Field(max_length=50)] | None = None
    languages: Annotated[list[Annotated[str, Field(max_length=50)]], Field(max_length=MOST_LANGUAGES)] | None = None
    prompt: Annotated[str, Field(max_length=PROMPT_CHARACTERS)] | None = None
    keywords: (
        Annotated[list[Annotated[str, Field(max_length=KEYWORD_CHARACTERS)]], Field(max_length=MOST_KEYWORDS)] | None
    ) = None
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class ServerVad(_Fields):
    type: Literal["server_vad"]
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5000)] = 300
    silence_duration_ms: Annotated[int, Field(ge=100, le=10_000)] = 500
    idle_timeout_ms: Annotated[int, Field(ge=5000, le=30_000)] | None = None
    create_response: bool | None = None  # of conversations
    interrupt_response: bool | None = None


class SemanticVad(_Fields):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool | None = None
    interrupt_response: bool | None = None


class NoiseReduction(BaseModel):
    """Heard of, told again, and of no effect."""

    model_config = ConfigDict(extra="ignore")
    type: Annotated[str, Field(max_length=50)] | None = None


class Input(_Fields):
    format: Annotated[Pcm | Ulaw | Alaw | Webm | Ogg, Field(discriminator="type")] = Pcm()
    transcription: Transcription | None = Transcription()
    noise_reduction: NoiseReduction | None = None
    turn_detection: Annotated[ServerVad | SemanticVad, Field(discriminator="type")] | None = ServerVad(
        type="server_vad"
    )


class Audio(_Fields):
    input: Input = Input()


class Own(_Fields):
    """What OpenAI's sessions have not."""

    rule: Rule = "alignatt"
    speakers: bool = True
    max_speakers: Annotated[int, Field(ge=1, le=100)] | None = None
    keep: bool = True  # the session as a job
    known_speaker_names: (
        Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=MOST_NAMES)] | None
    ) = None
    known_speaker_references: Annotated[list[str], Field(max_length=MOST_NAMES)] | None = Field(
        default=None, exclude=True
    )  # what was made of them is kept, and they are told to nobody


class SessionFields(_Fields):
    type: Literal["transcription"] = "transcription"
    include: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=20)] | None = None
    audio: Audio = Audio()
    turnscribe: Own = Own()


Changes: TypeAlias = dict[str, Any]


def changed(before: SessionFields, changes: object) -> tuple[SessionFields, list[str]]:
    """The fields after `changes`, and what of them has no effect. Raises `Malformed`, one sentence."""
    if not isinstance(changes, dict):
        raise Malformed("session is missing: send session.update with an object of what changes.")
    if changes.get("type", "transcription") != "transcription":
        raise Malformed("session.type is not transcription: this server has no conversations.")
    try:
        after = SessionFields.model_validate(_merged(before.model_dump(), changes))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        unknown = wrong["type"] == "extra_forbidden"  # its name is the client's own
        where = ".".join(str(part) for part in ("session", *(wrong["loc"][:-1] if unknown else wrong["loc"])))
        what = "has a field that is not known" if unknown else f"is wrong: {wrong['msg'].lower()}"
        raise Malformed(f"{where} {what}.") from None
    warnings = []
    given = _at(changes, "audio", "input")
    if given.get("noise_reduction"):
        warnings.append(NO_REDUCTION)
    if set(changes.get("include") or ()) - {LOGPROBS}:
        warnings.append(f"include has {LOGPROBS}, and nothing else: the rest has no effect.")
    return after, warnings


def live_options(
    fields: SessionFields,
    parse: ParseParameters,
    similarity: float | None,
    people: Mapping[str, NDArray[np.float32]],
) -> LiveOptions:
    """How a session with these fields hears, that knows these voices. Raises `BadParameters`."""
    heard = fields.audio.input
    own = fields.turnscribe
    request = parse(parameters(fields))
    decoding = replace(request.decoding, token_logprobs=LOGPROBS in (fields.include or ()))
    style = Style(replace(request, decoding=decoding), own.rule)
    delay = (heard.transcription or Transcription()).delay or "medium"
    return LiveOptions(
        style,
        endpointing=_endpointing(heard.turn_detection),
        step=STEPS[delay],
        speakers=own.speakers and similarity is not None,
        similarity=similarity or 1.0,
        most_speakers=own.max_speakers,
        people=people,
    )


def further_known_speakers(before: SessionFields, after: SessionFields) -> dict[str, bytes] | None:
    """Files with people's voices, by name; `None` where nothing changes. Raises `BadParameters`."""
    own = after.turnscribe
    if own.known_speaker_references is None and own.known_speaker_names == before.turnscribe.known_speaker_names:
        return None
    return known_speaker_files(own.known_speaker_names or (), own.known_speaker_references or ())


def parameters(fields: SessionFields) -> dict[str, Any]:
    """Those that a recording with these fields would be sent with."""
    heard = fields.audio.input.transcription or Transcription()
    given = {
        "language": heard.language,
        "languages": heard.languages,
        "prompt": heard.prompt,
        "keywords": heard.keywords,
    }
    return {name: value for name, value in given.items() if value}


def audio_format(fields: SessionFields) -> AudioFormat | ContainerFormat:
    """What the client sends."""
    match fields.audio.input.format:
        case Webm():
            return WEBM
        case Ogg():
            return OGG
        case Ulaw():
            return G711_ULAW
        case Alaw():
            return G711_ALAW
        case Pcm(rate=16000):
            return PCM16_16K
    return PCM16


def _endpointing(detection: ServerVad | SemanticVad | None) -> Endpointing | None:
    match detection:
        case ServerVad():
            return Endpointing(
                detection.threshold, detection.prefix_padding_ms / 1000, detection.silence_duration_ms / 1000
            )
        case SemanticVad():
            return Endpointing(silence_s=EAGERNESS[detection.eagerness], semantic=True)
    return None


def _merged(before: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Objects are merged, where they are of one type; everything else is replaced."""
    merged = dict(before)
    for name, value in changes.items():
        old = merged.get(name)
        if (
            isinstance(old, dict)
            and isinstance(value, dict)
            and value.get("type", old.get("type")) == old.get("type")
        ):
            value = _merged(old, value)
        merged[name] = value
    return merged


def _at(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        value = fields.get(name)
        fields = value if isinstance(value, dict) else {}
    return fields
