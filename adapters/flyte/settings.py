"""What a task may use and how often it is tried, from the environment of whoever registers the workflows (`TASK_*`).

Flyte fixes these when the workflows are registered; inside a task nothing reads them. The variables that name the
models go along to the tasks as they are (`adapters/environment.py`).
"""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from turnscribe.settings import load_settings


class TaskSettings(BaseSettings):
    """Of the tasks that run models; the others are small."""

    model_config = SettingsConfigDict(env_prefix="TASK_", extra="ignore", env_ignore_empty=True)

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
    return load_settings(TaskSettings)
