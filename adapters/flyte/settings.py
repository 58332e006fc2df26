"""What a task may use and how often it is tried, from the environment of whoever registers the workflows (`TASK_*`).

Flyte fixes these when the workflows are registered; inside a task nothing reads them. Does not know the models: the
variables that name them go along to the tasks as they are (`model_environment`).
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from config import DEFAULTS_PREFIX, ModelSettings
from turnscribe.errors import SettingsError

PREFIX = "TASK_"
TOKEN = "HF_TOKEN"


class TaskSettings(BaseSettings):
    """Of the tasks that run models; the others are small."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)

    gpu: int = Field(default=1, ge=0, le=1)  # a handler uses one
    accelerator: str | None = None  # of the cluster's node labels, as nvidia-l4; any where it is not given
    cpu: str = "4"
    memory: str = "16Gi"
    concurrency: int = Field(default=16, ge=0)  # tasks at a time; 0: as many as there are
    retries: int = Field(default=3, ge=0)
    min_success_ratio: float = Field(default=0.9, gt=0, le=1)  # of the tasks over many files
    timeout_minutes: float = Field(default=120, gt=0)  # of one attempt
    secret_group: str | None = None  # the cluster's secret that has the key HF_TOKEN


def load_task_settings() -> TaskSettings:
    """The environment's settings. Raises `SettingsError`."""
    try:
        return TaskSettings()
    except ValidationError as error:
        wrong = error.errors(include_input=False)[0]
        raise SettingsError(f"{PREFIX}{str(wrong['loc'][0]).upper()} is wrong: {wrong['msg'].lower()}.") from None


def model_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that name models, limits and request defaults. The token is none of them: it is a secret."""
    names = {name.upper() for name in ModelSettings.model_fields} - {TOKEN}
    return {name: value for name, value in environ.items() if name in names or name.startswith(DEFAULTS_PREFIX)}
