"""What an owner of this endpoint edits: its models, its limits, and what a request gets that does not say otherwise.

Each setting is also an environment variable of its name in upper case (`ASR_MODEL`), each request default one with
`INFERENCE_` before it (`INFERENCE_BATCH_SIZE`); a variable goes before what stands here. All settings and parameters
are explained in `docs/`.
"""

from __future__ import annotations

from pydantic import PositiveFloat, PositiveInt

from turnscribe import parameters, settings
from turnscribe.request import Request
from turnscribe.settings import ServerSettings

__all__ = [
    "InferenceConfig",
    "ModelSettings",
    "ServerSettings",
    "load_server_settings",
    "load_settings",
    "parse_config",
]


class ModelSettings(settings.ModelSettings):
    """The models of this endpoint and its limits; `turnscribe.settings.ModelSettings` has the rest.

    A model is a folder or an openai-whisper checkpoint in this repository, a named model such as whisper-base, or a
    Hub id. To deploy a copy of this repository without setting a variable, give `asr_model` a default here.
    """

    # asr_model: str = "openai/whisper-large-v3-turbo"
    assistant_model: str | None = None  # a distil-whisper, for assisted requests
    diarization_model: str | None = (
        None  # "open", which needs no account, or pyannote's: its conditions have to be accepted
    )
    max_audio_seconds: PositiveFloat = 4 * 3600
    max_input_bytes: PositiveInt = 512 * 2**20
    allow_url_inputs: bool = False


REQUEST_DEFAULTS: dict[str, object] = {
    "task": "transcribe",
    "batch_size": 24,  # windows at a time
    "assisted": False,  # True: with the assistant, where one is loaded
    "chunk_length_s": 30,  # the longest window; Whisper hears 30 s at once
    "sampling_rate": 16_000,  # Hz, of headerless PCM
    "language": None,  # detected
    "num_speakers": None,
    "min_speakers": None,
    "max_speakers": None,
}

InferenceConfig = parameters.inference_config(REQUEST_DEFAULTS)


def parse_config(given: object = None) -> Request:
    """One request's parameters over this endpoint's defaults. Raises `BadParameters`, one sentence."""
    return parameters.parse_parameters(given, InferenceConfig)


def load_settings() -> ModelSettings:
    """The environment's settings, checked, with the request defaults. Raises `SettingsError`."""
    loaded = settings.load_settings(ModelSettings)
    parameters.check_defaults(InferenceConfig)
    return loaded


def load_server_settings() -> ServerSettings:
    """The environment's settings of the server. Raises `SettingsError`."""
    return settings.load_settings(ServerSettings)
