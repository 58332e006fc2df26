"""What runs on the cluster: an actor with one loaded handler. Knows nothing of the cluster.

Imports nothing heavy: a variable such as HF_HUB_OFFLINE counts only where it is set before the libraries come.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import SecretStr

from scripts.bulk.manifest import Entry


class Transcriber:
    """Takes rows with a bundle of entries, gives a row for each; without a model, one that says why."""

    def __init__(self, environment: Mapping[str, SecretStr], formats: Sequence[str]) -> None:
        os.environ.update({name: secret.get_secret_value() for name, secret in environment.items()})
        self.formats = formats
        self.refused = _refused()

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        from scripts.bulk.files import transcribe_bundle

        if self.refused:
            return [{"entry": "", "refused": self.refused}]
        done = transcribe_bundle(unpacked(row["bundle"]), formats=self.formats)
        return [{"entry": packed([entry]), "refused": ""} for entry in done]


def packed(entries: Sequence[Entry]) -> str:
    return json.dumps([asdict(entry) for entry in entries])


def unpacked(text: str) -> list[Entry]:
    return [Entry(**values) for values in json.loads(text)]


def _refused() -> str:
    from scripts.bulk.files import loaded_handler
    from turnscribe.errors import SettingsError

    try:
        loaded_handler()
    except SettingsError as error:
        return str(error)
    return ""
