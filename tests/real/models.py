"""The models that the tests run, by the product's own command's code: fetched once into the cache of whoever runs them."""

from __future__ import annotations

import os
from pathlib import Path


def fetch_models() -> Path:
    return Path(os.environ["TURNSCRIBE_HOME"])
