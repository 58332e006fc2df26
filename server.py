"""`python -m server`: `turnscribe serve` with this repository's `handler.py`, `config.py` and `diarization_utils.py`.

What their owner edits counts here too. The server itself is `turnscribe/serving`.
"""

from __future__ import annotations

import sys

from turnscribe.pipeline import Pipeline

from config import ModelSettings, load_settings, parse_config
from handler import EndpointHandler
from turnscribe import settings
from turnscribe.serving.server import main


def load(model_settings: settings.ModelSettings) -> Pipeline:
    assert isinstance(model_settings, ModelSettings)  # those of `load_settings`
    return EndpointHandler(settings=model_settings).pipeline


if __name__ == "__main__":
    sys.exit(main(load=load, read_settings=load_settings, parse=parse_config))
