"""What the operator sets (environment) and what one request may ask for.

`ModelSettings` names the models and the limits, `ServerSettings` says how `server.py` serves; `InferenceConfig` holds
the parameters of one request, whose defaults the operator can change with `INFERENCE_*` variables
(`INFERENCE_CHUNK_LENGTH_S=15`). Knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from turnscribe.asr.protocol import Backend, Dtype
from turnscribe.errors import BadParameters, SettingsError
from turnscribe.whisper.languages import language_code

# To deploy a copy of this repository without setting a variable, name the model here.
DEFAULT_ASR_MODEL: str | None = None

DEFAULTS_PREFIX = "INFERENCE_"
SHOWN_CHARACTERS = 40  # of a wrong value, in an error


class ModelSettings(BaseSettings):
    """Models and limits, from environment variables of the same names in upper case.

    A model is a folder or a `.pt` file of openai-whisper (relative ones: in this repository, then in the working
    directory), or a Hub id.
    """

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, str_strip_whitespace=True)

    asr_model: str = Field(default=DEFAULT_ASR_MODEL, validate_default=True, min_length=1)  # type: ignore[assignment]
    assistant_model: str | None = None
    diarization_model: str | None = None
    hf_token: SecretStr | None = None
    asr_backend: Backend = "engine"
    asr_dtype: Dtype = "auto"
    max_audio_seconds: float = Field(default=4 * 3600, gt=0)
    max_input_bytes: int = Field(default=512 * 2**20, gt=0)
    allow_url_inputs: bool = False
    speaker_similarity: float = Field(default=0.5, gt=0, lt=1)  # below it nobody is taken for a known speaker

    @property
    def token(self) -> str | None:
        return self.hf_token.get_secret_value() if self.hf_token else None


class ServerSettings(BaseSettings):
    """How `server.py` serves, from environment variables of the same names in upper case."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, str_strip_whitespace=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    api_keys: SecretStr | None = None  # separated by commas; without any, everybody may call
    max_concurrent_requests: int = Field(default=8, ge=1, le=256)
    max_queued_requests: int = Field(default=32, ge=0)
    request_timeout_s: float = Field(default=900, gt=0)
    spool_bytes: int = Field(default=2**20, ge=1)  # of an upload that are kept in memory; the rest goes to disk
    jobs_folder: Path = Path("build/jobs")
    max_concurrent_jobs: int = Field(default=2, ge=1, le=64)
    max_queued_jobs: int = Field(default=1000, ge=1)
    job_retention_s: float = Field(default=24 * 3600, gt=0)  # after a job has ended
    webhook_secret: SecretStr | None = None  # signs what is sent to a job's webhook

    @field_validator("api_keys")
    @classmethod
    def _plain_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().isascii():
            raise ValueError("keys are plain ASCII, as headers are")
        return value

    @property
    def keys(self) -> tuple[str, ...]:
        given = self.api_keys.get_secret_value() if self.api_keys else ""
        return tuple(key.strip() for key in given.split(",") if key.strip())


Settings = TypeVar("Settings", bound=BaseSettings)


def load_settings() -> ModelSettings:
    """The environment's settings, checked, with the request defaults. Raises `SettingsError`."""
    settings = _loaded(ModelSettings)
    try:
        parse_config({})
    except BadParameters as error:
        raise SettingsError(f"A request default ({DEFAULTS_PREFIX}*) is wrong: {error}") from None
    return settings


def load_server_settings() -> ServerSettings:
    """The environment's settings of the server. Raises `SettingsError`."""
    return _loaded(ServerSettings)


def _loaded(kind: type[Settings]) -> Settings:
    try:
        return kind()
    except ValidationError as error:
        wrong = error.errors(include_input=False)[0]
        variable = str(wrong["loc"][0]).upper()
        if variable == "ASR_MODEL":
            raise SettingsError(
                "ASR_MODEL is not set: name a Whisper model, for example ASR_MODEL=openai/whisper-large-v3."
            ) from None
        raise SettingsError(f"{variable} is wrong: {wrong['msg'].lower()}.") from None


SpeakerCount = Annotated[int | None, Field(ge=1, le=100, description="a whole number from 1 to 100")]


class InferenceConfig(BaseModel):
    """The parameters of one request. The first nine and their defaults are the original handler's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: Literal["transcribe", "translate"] = Field("transcribe", description="'transcribe' or 'translate'")
    batch_size: int = Field(24, ge=1, le=512, description="a whole number from 1 to 512")
    assisted: bool = Field(False, description="true or false")
    chunk_length_s: float = Field(
        30, ge=1, le=30, allow_inf_nan=False, description="seconds from 1 to 30 (Whisper hears 30 at once)"
    )
    sampling_rate: int = Field(16_000, ge=4_000, le=192_000, description="hertz from 4000 to 192000")
    language: str | None = Field(None, description="a language code such as 'en' or a name such as 'english'")
    num_speakers: SpeakerCount = None
    min_speakers: SpeakerCount = None
    max_speakers: SpeakerCount = None
    diarize: bool | None = Field(None, description="true, false or nothing (as a diarizer is loaded)")
    timestamps: Literal["segment", "word"] = Field("segment", description="'segment' or 'word'")
    response_format: Literal["json", "verbose_json", "diarized_json", "text", "srt", "vtt", "tsv", "rttm"] | None = (
        Field(
            None,
            description="'json', 'verbose_json', 'diarized_json', 'text', 'srt', 'vtt', 'tsv' or 'rttm'",
        )
    )
    prompt: str | None = Field(None, max_length=10_000, description="text of at most 10000 characters")
    temperature: float = Field(0.0, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1")
    compression_ratio_threshold: float = Field(
        2.4, gt=0, allow_inf_nan=False, description="a number above 0 (a large one turns it off)"
    )
    logprob_threshold: float = Field(
        -1.0, le=0, allow_inf_nan=False, description="a number of at most 0 (-1000 turns it off)"
    )
    no_speech_threshold: float = Field(
        0.6, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1 (1 turns it off)"
    )
    encoding: Literal["pcm_s16le"] | None = Field(
        None, description="'pcm_s16le' (headerless PCM) or nothing (anything with a header)"
    )
    channels: Literal["mix", "split"] = Field("mix", description="'mix' or 'split'")

    _ignored: tuple[str, ...] = PrivateAttr(())

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of the parameters that were sent and are not known; what is no plain name is quoted and cut."""
        return self._ignored

    @property
    def speaker_counts(self) -> dict[str, int]:
        """Those of `num_speakers`, `min_speakers`, `max_speakers` that were given."""
        names = ("num_speakers", "min_speakers", "max_speakers")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @field_validator(
        "batch_size",
        "chunk_length_s",
        "sampling_rate",
        "num_speakers",
        "min_speakers",
        "max_speakers",
        "temperature",
        "compression_ratio_threshold",
        "logprob_threshold",
        "no_speech_threshold",
        mode="before",
    )
    @classmethod
    def _no_truth_as_number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("true and false are not numbers")
        return value

    @field_validator("language")
    @classmethod
    def _language_code(cls, value: str | None) -> str | None:
        """`"German"`, `"de"` and `"de-AT"` -> `"de"`."""
        if value is None:
            return None
        code = language_code(value)
        if code is None:
            raise ValueError("unknown language")
        return code


def parse_config(parameters: object = None) -> InferenceConfig:
    """Check one request's parameters, over the operator's defaults. Raises `BadParameters`, one sentence.

    Values may be strings, as query parameters are; `None`, `""`, `"none"` and `"null"` mean not given.
    `return_timestamps` (`true` or `"word"`, what `huggingface_hub` sends) stands for `timestamps`.
    """
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, Mapping):
        raise BadParameters(f"parameters is a {type(parameters).__name__}: send an object of names and values.")
    given = {str(name): value for name, value in parameters.items() if not _is_missing(name, value)}
    _resolve_return_timestamps(given)
    defaults = _operator_defaults()
    split = given.get("channels") == "split"  # excludes what says how to tell speakers apart
    if split or any(name.endswith("_speakers") for name in given):  # a request's counts replace all the operator's
        defaults = {name: value for name, value in defaults.items() if not name.endswith("_speakers")}
    if split:
        defaults.pop("diarize", None)
    try:
        config = InferenceConfig.model_validate({**defaults, **given})
    except ValidationError as error:
        raise BadParameters(_sentence(error)) from None
    _check_pairs(config)
    unknown = sorted(given.keys() - InferenceConfig.model_fields.keys())
    config._ignored = tuple(
        name if name.isprintable() and len(name) <= SHOWN_CHARACTERS else _shown(name) for name in unknown
    )
    return config


def _is_missing(name: object, value: object) -> bool:
    if isinstance(value, str) and name != "prompt":
        return value.strip().lower() in ("", "none", "null")
    return value is None or value == ""


def _resolve_return_timestamps(given: dict[str, Any]) -> None:
    if "return_timestamps" not in given:
        return
    value = given.pop("return_timestamps")
    text = str(value).strip().lower() if isinstance(value, str | bool) else ""
    wanted = {"word": "word", "true": "segment", "false": "segment"}.get(text)
    if wanted is None:
        raise BadParameters(f"return_timestamps is {_shown(value)}: give true or 'word'.")
    if given.setdefault("timestamps", wanted) != wanted:
        raise BadParameters("timestamps and return_timestamps disagree: send one of them.")


def _operator_defaults() -> dict[str, str]:
    named = {
        name.upper().removeprefix(DEFAULTS_PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.upper().startswith(DEFAULTS_PREFIX)
    }
    return {
        name: value
        for name, value in named.items()
        if name in InferenceConfig.model_fields and not _is_missing(name, value)
    }


def _sentence(error: ValidationError) -> str:
    """`batch_size is 'many': give a whole number from 1 to 512.` for each wrong value."""
    parts: dict[str, str] = {}
    for wrong in error.errors():
        name = str(wrong["loc"][0])
        expected = InferenceConfig.model_fields[name].description
        parts.setdefault(name, f"{name} is {_shown(wrong['input'])}: give {expected}")
    return "; ".join(parts.values()) + "."


def _shown(value: object) -> str:
    """A wrong value on one short line; of what is not text or a number of usual size, only the type."""
    if isinstance(value, str):
        text = repr(value[:SHOWN_CHARACTERS])
    elif isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 128):
        text = repr(value)
    else:
        text = f"of type {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def _check_pairs(config: InferenceConfig) -> None:
    low, high = config.min_speakers, config.max_speakers
    if config.num_speakers is not None and (low is not None or high is not None):
        raise BadParameters("num_speakers excludes min_speakers and max_speakers: give the number or a range.")
    if low is not None and high is not None and low > high:
        raise BadParameters(f"min_speakers is {low} and max_speakers {high}: min must not be above max.")
    if config.channels == "split":
        if config.diarize or config.speaker_counts:
            raise BadParameters(
                "channels is 'split', which makes every channel a speaker: leave diarize and speaker counts out, "
                "or use channels 'mix'."
            )
        if config.encoding is not None:
            raise BadParameters("channels is 'split' and headerless PCM is mono: leave one of them out.")
