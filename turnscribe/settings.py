"""What the environment says: which models, within which limits, and how the server serves.

`ModelSettings` and `ServerSettings` are read from variables of their fields' names in upper case; a secret may be in
a file instead, which a variable such as `API_KEYS_FILE` names. A repository that is deployed may have a
`ModelSettings` of its own with other defaults (`config.py` at its top).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from turnscribe.asr.protocol import WeightsType
from turnscribe.asr.registry import BACKENDS
from turnscribe.diarization.diarizer import Effort
from turnscribe.errors import SettingsError
from turnscribe.inputs.limits import Limits

FROM_ENVIRONMENT = SettingsConfigDict(
    extra="ignore",
    env_ignore_empty=True,
    str_strip_whitespace=True,
    hide_input_in_errors=True,  # where a setting is missing, the input is all the others, a token among them
)


class ModelSettings(BaseSettings):
    """Models and limits.

    A model is a folder or a `.pt` file of openai-whisper (relative ones: in the repository, then in the working
    directory), a named model (`turnscribe models list`), or a Hub id.
    """

    model_config = FROM_ENVIRONMENT

    asr_model: str = Field(min_length=1)
    assistant_model: str | None = None
    diarization_model: str | None = None
    diarization_effort: Effort = "exact"
    hf_token: SecretStr | None = None
    asr_backend: str = "engine"
    asr_dtype: WeightsType = "auto"
    max_audio_seconds: PositiveFloat = 4 * 3600
    max_input_bytes: PositiveInt = 512 * 2**20
    allow_url_inputs: bool = False
    url_ports: str = "443"  # separated by commas: those that URLs, of webhooks too, may name
    voices_folder: Path | None = None  # of `turnscribe voices`: who is known by voice
    speaker_similarity: float | None = Field(default=None, gt=0, lt=1)  # None: the diarizer's own

    @field_validator("asr_backend")
    @classmethod
    def _known_backend(cls, value: str) -> str:
        if value not in BACKENDS:
            raise ValueError(f"input should be {' or '.join(map(repr, BACKENDS))}")
        return value

    @field_validator("url_ports")
    @classmethod
    def _ports(cls, value: str) -> str:
        if not all(re.fullmatch(r"\s*[0-9]{1,5}\s*", port) and 0 < int(port) < 2**16 for port in value.split(",")):
            raise ValueError("ports are numbers from 1 to 65535, separated by commas")
        return value

    @property
    def token(self) -> str | None:
        """The Hub's token in the clear."""
        return self.hf_token.get_secret_value() if self.hf_token else None

    @property
    def limits(self) -> Limits:
        """What one input may cost."""
        ports = tuple(int(port) for port in self.url_ports.split(","))
        return Limits(max_seconds=self.max_audio_seconds, max_bytes=self.max_input_bytes, url_ports=ports)


class ServerSettings(BaseSettings):
    """How the server serves."""

    model_config = FROM_ENVIRONMENT

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    devices: str = "auto"  # separated by commas: each has a process of its own
    api_keys: SecretStr | None = None  # separated by commas or line ends; without any, everybody may call
    max_concurrent_requests: int = Field(default=8, ge=1, le=256)
    max_queued_requests: int = Field(default=32, ge=0)
    request_timeout_s: float = Field(default=900, gt=0)
    shutdown_timeout_s: float = Field(default=25, gt=0)  # for what is running when the server is told to end
    max_connections: int = Field(default=1000, ge=1)
    spool_bytes: int = Field(default=2**20, ge=1)  # of an upload that are kept in memory; the rest goes to disk
    jobs_folder: Path = Path("build/jobs")
    max_concurrent_jobs: int = Field(default=2, ge=1, le=64)
    max_queued_jobs: int = Field(default=1000, ge=1)
    job_retention_s: float = Field(default=24 * 3600, gt=0)  # after a job has ended
    max_live_sessions: int = Field(default=8, ge=1, le=256)
    max_live_seconds: float = Field(default=3600, gt=0)  # of audio in one
    webhook_secret: SecretStr | None = None  # signs what is sent to a job's webhook

    @field_validator("devices")
    @classmethod
    def _known_devices(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")]
        if value != "auto" and not all(re.fullmatch(r"cpu|cuda:[0-9]{1,3}", name) for name in names):
            raise ValueError("devices are auto, or such as cuda:0,cuda:1 or cpu")
        return value

    @field_validator("api_keys")
    @classmethod
    def _plain_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().isascii():
            raise ValueError("keys are plain ASCII, as headers are")
        return value

    def for_devices(self, count: int) -> ServerSettings:
        """These settings where so many devices work: what is said of one at a time, for all together."""
        requests, jobs = self.max_concurrent_requests * count, self.max_concurrent_jobs * count
        return self.model_copy(update={"max_concurrent_requests": requests, "max_concurrent_jobs": jobs})

    @property
    def keys(self) -> tuple[str, ...]:
        given = self.api_keys.get_secret_value() if self.api_keys else ""
        return tuple(key.strip() for key in re.split(r"[,\n]", given) if key.strip())


Settings = TypeVar("Settings", bound=BaseSettings)


def load_settings(kind: type[Settings], **given: object) -> Settings:
    """The environment's settings of a kind, `ModelSettings` or `ServerSettings`; `given` go before them.

    Raises `SettingsError`.
    """
    try:
        load: Callable[..., Settings] = kind
        return load(**{**_secrets_in_files(kind), **given})
    except ValidationError as error:
        wrong = error.errors(include_input=False)[0]
        variable = f"{kind.model_config.get('env_prefix') or ''}{wrong['loc'][0]}".upper()
        if variable == "ASR_MODEL":
            raise SettingsError(
                "ASR_MODEL is not set: name a Whisper model, for example ASR_MODEL=whisper-base, which needs no "
                "account, or ASR_MODEL=openai/whisper-large-v3."
            ) from None
        reason = wrong["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{variable} is wrong: {reason.lower()}.") from None


def _secrets_in_files(kind: type[BaseSettings]) -> dict[str, str]:
    """By field: what is in the files that `API_KEYS_FILE` and the like name. Raises `SettingsError`."""
    found: dict[str, str] = {}
    for name, field in kind.model_fields.items():
        variable = f"{kind.model_config.get('env_prefix') or ''}{name}".upper()
        path = os.environ.get(f"{variable}_FILE", "").strip()
        if SecretStr not in get_args(field.annotation) or not path:
            continue
        if os.environ.get(variable, "").strip():
            raise SettingsError(f"{variable} and {variable}_FILE are both set: leave one out.")
        try:
            found[name] = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise SettingsError(f"{variable}_FILE cannot be read ({why}): name a text file.") from None
        if not found[name]:
            raise SettingsError(f"{variable}_FILE names an empty file: write the secret into it, or leave it out.")
    return found
