"""What runs on the cluster: an actor with one loaded handler. Knows nothing of the cluster.

Imports nothing heavy: a variable such as HF_HUB_OFFLINE counts only where it is set before the libraries come.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from turnscribe.bulk.manifest import from_text, to_text

BROKEN = 3  # failures in a row, no success between them: it is not the files
AGAIN_SECONDS = 20.0  # until a worker without models tries again, with another bundle

log = logging.getLogger("turnscribe")


class Transcriber:
    """Takes rows with a bundle of entries, gives a row for each; without its models, one that says why.

    They are loaded with the first bundle and not with the actor. One that was at work, died and fails to start again
    Ray would wait for, and one whose process dies as it starts it would start again and again.
    """

    def __init__(self, environment: Mapping[str, SecretStr], formats: Sequence[str]) -> None:
        os.environ.update({name: secret.get_secret_value() for name, secret in environment.items()})
        self.formats = formats
        self.handler: Watched | None = None

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        from turnscribe.bulk.files import loaded_handler, transcribe_bundle
        from turnscribe.errors import ModelUnavailable, SettingsError

        try:
            self.handler = self.handler or Watched(loaded_handler())
        except SettingsError as error:
            may_pass = isinstance(error, ModelUnavailable)
            if may_pass:
                log.warning("%s", error)
                time.sleep(AGAIN_SECONDS)
            return [{"entry": "", "refused": str(error), "may_pass": may_pass}]
        done = transcribe_bundle(from_text(row["bundle"]), formats=self.formats, handler=self.handler)
        return [{"entry": to_text([entry]), "refused": "", "may_pass": False} for entry in done]


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
