"""This repository as it is deployed: with its own `config.py`, `diarization_utils.py` and `handler.py`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from config import load_settings, parse_config

# Not where it is needed: Flyte has the repository on the path of imports only while it reads the workflows.
from handler import EndpointHandler
from turnscribe.deployment import Deployment, missing_models
from turnscribe.pipeline import Pipeline
from turnscribe.settings import ModelSettings

ROOT = Path(__file__).resolve().parents[1]


def _load(settings: ModelSettings) -> Pipeline:
    return EndpointHandler(path=str(ROOT), settings=settings).pipeline


REPOSITORY = Deployment(
    load_settings=load_settings, parse=parse_config, load=_load, missing=partial(missing_models, root=ROOT)
)
