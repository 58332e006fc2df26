"""What runs on the cluster: an actor with one loaded handler. Knows nothing of the cluster.

Imports nothing heavy: a variable such as HF_HUB_OFFLINE counts only where it is set before the libraries come.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from scripts.bulk.manifest import from_text, to_text

BROKEN = 3  # failures in a row, no success between them: it is not the files

log = logging.getLogger("turnscribe")


class Transcriber:
    """Takes rows with a bundle of entries, gives a row for each; without a model, one that says why."""

    def __init__(self, environment: Mapping[str, SecretStr], formats: Sequence[str]) -> None:
        os.environ.update({name: secret.get_secret_value() for name, secret in environment.items()})
        self.formats = formats
        self.handler: Watched | None = None
        self.refused = ""
        self._load()

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        from scripts.bulk.files import transcribe_bundle

        if self.refused:
            return [{"entry": "", "refused": self.refused}]
        done = transcribe_bundle(from_text(row["bundle"]), formats=self.formats, handler=self.handler)
        return [{"entry": to_text([entry]), "refused": ""} for entry in done]

    def _load(self) -> None:
        from scripts.bulk.files import loaded_handler
        from turnscribe.errors import SettingsError

        try:
            self.handler = Watched(loaded_handler())
        except SettingsError as error:
            self.refused = str(error)


class Watched:
    """A handler that ends its process where it answers nothing any more.

    After some errors a device fails every call at once, until its process ends; a worker with such a one would be the
    fastest of all, and fail what the others could do. Once dead it is started anew, and its bundle goes elsewhere.
    """

    def __init__(self, handler: Any) -> None:
        self.limits = handler.limits
        self.handler = handler
        self.failures = 0

    def transcribe(self, *args: Any, **kwargs: Any) -> Any:
        from turnscribe.errors import InferenceFailed, OutOfMemory

        try:
            transcript = self.handler.transcribe(*args, **kwargs)
        except OutOfMemory:
            raise  # that is the recording's
        except InferenceFailed:
            self.failures += 1
            if self.failures >= BROKEN:
                log.critical("%d recordings in a row failed: this worker ends, to start anew.", self.failures)
                os._exit(1)  # SystemExit would end a thread of it
            raise
        self.failures = 0
        return transcript
