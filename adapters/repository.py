"""This repository as it is deployed: with its own `config.py`, `diarization_utils.py` and `handler.py`."""

from __future__ import annotations

from pathlib import Path

from config import load_settings, parse_config
from turnscribe.deployment import Deployment
from turnscribe.pipeline import Pipeline
from turnscribe.settings import ModelSettings

ROOT = Path(__file__).resolve().parents[1]


def _load(settings: ModelSettings) -> Pipeline:
    from handler import EndpointHandler

    return EndpointHandler(path=str(ROOT), settings=settings).pipeline


REPOSITORY = Deployment(load_settings=load_settings, parse=parse_config, load=_load)
