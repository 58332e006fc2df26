"""The variables of this shell that a worker elsewhere needs to load the same models and treat requests the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from config import ModelSettings
from turnscribe.parameters import DEFAULTS_PREFIX

TOKEN = "HF_TOKEN"


def worker_environment(environ: Mapping[str, str], *, without: Sequence[str] = ()) -> dict[str, str]:
    """Those that name models, limits and request defaults, but for `without`.

    >>> worker_environment({"ASR_MODEL": "whisper", "INFERENCE_LANGUAGE": "en", "PATH": "/bin"})
    {'ASR_MODEL': 'whisper', 'INFERENCE_LANGUAGE': 'en'}
    """
    settings = {name.upper() for name in ModelSettings.model_fields}.difference(without)
    return {name: value for name, value in environ.items() if name in settings or name.startswith(DEFAULTS_PREFIX)}


def request_defaults(parameters: Mapping[str, str]) -> dict[str, str]:
    """The variables that make `parameters` the defaults of every request.

    >>> request_defaults({"language": "en"})
    {'INFERENCE_LANGUAGE': 'en'}
    """
    return {DEFAULTS_PREFIX + name.upper(): value for name, value in parameters.items()}
