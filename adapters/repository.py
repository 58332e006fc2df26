"""This repository as it is deployed: with its own `config.py`, `diarization_utils.py` and `handler.py`."""

from __future__ import annotations

import sys
from pathlib import Path

# Flyte has the repository on the path of imports only while it reads the workflows.
ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from config import load_settings, parse_config  # noqa: E402
from turnscribe.deployment import Deployment  # noqa: E402
from turnscribe.pipeline import Pipeline  # noqa: E402
from turnscribe.settings import ModelSettings  # noqa: E402


def _load(settings: ModelSettings) -> Pipeline:
    from handler import EndpointHandler

    return EndpointHandler(path=str(ROOT), settings=settings).pipeline


REPOSITORY = Deployment(load_settings=load_settings, parse=parse_config, load=_load)
