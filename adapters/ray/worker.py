"""What runs on the cluster: an actor with one process's models.

Imports nothing heavy: a variable such as HF_HUB_OFFLINE counts only where it is set before the libraries come.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from pydantic import SecretStr

from turnscribe.bulk.manifest import Entry, from_text, to_text

if TYPE_CHECKING:
    from turnscribe.bulk.entries import TranscribeEntry

BROKEN = 3  # failures in a row, no success between them: it is not the files
AGAIN_SECONDS = 20.0  # until a worker without models tries again, with another bundle

log = logging.getLogger("turnscribe")


class BundleRow(TypedDict):
    """A bundle of entries on its way to a worker, as a manifest's text."""

    bundle: str


class EntryRow(TypedDict):
    """An entry on its way back; or, where the worker has no models, why, and whether it may have them later."""

    entry: str
    refused: str
    may_pass: bool


class BundleWorker:
    """Takes rows with a bundle of entries, gives a row for each; without its models, one that says why.

    They are loaded with the first bundle and not with the actor. One that was at work, died and fails to start again
    Ray would wait for, and one whose process dies as it starts it would start again and again.
    """

    def __init__(
        self,
        environment: Mapping[str, SecretStr],
        formats: Sequence[str],
        part_seconds: float | None = None,
        of_parts: bool = False,
    ) -> None:
        os.environ.update({name: secret.get_secret_value() for name, secret in environment.items()})
        self.formats, self.part_seconds, self.of_parts = formats, part_seconds, of_parts
        self.transcribe: TranscribeEntry | None = None

    def __call__(self, row: BundleRow) -> list[EntryRow]:
        from adapters.repository import REPOSITORY
        from turnscribe.bulk.entries import transcribe_bundle
        from turnscribe.errors import ModelUnavailable, SettingsError

        if self.transcribe is None:
            try:
                REPOSITORY.pipeline()
            except SettingsError as error:
                may_pass = isinstance(error, ModelUnavailable)
                if may_pass:
                    log.warning("%s", error)
                    time.sleep(AGAIN_SECONDS)
                return [{"entry": "", "refused": str(error), "may_pass": may_pass}]
            self.transcribe = Watched(self._work())
        done = transcribe_bundle(from_text(row["bundle"]), self.transcribe)
        return [{"entry": to_text([entry]), "refused": "", "may_pass": False} for entry in done]

    def _work(self) -> TranscribeEntry:
        from adapters.ray.parts import cut_or_transcribe, transcribe_part_entry
        from adapters.repository import REPOSITORY
        from turnscribe.bulk.entries import transcribe_entry

        if self.of_parts:
            return partial(transcribe_part_entry, deployment=REPOSITORY)
        if self.part_seconds is None:
            return partial(transcribe_entry, deployment=REPOSITORY, formats=self.formats)
        return partial(cut_or_transcribe, part_seconds=self.part_seconds, deployment=REPOSITORY, formats=self.formats)


class Watched:
    """Transcribes entries, and ends its process where the device answers nothing any more.

    After some errors a device fails every call at once, until its process ends. Such a worker would be the fastest of
    all, and fail what the others could do. Ray starts a new one in its place, and its bundle goes elsewhere.
    """

    def __init__(self, transcribe: TranscribeEntry) -> None:
        self.transcribe = transcribe
        self.failures = 0  # in a row

    def __call__(self, entry: Entry) -> Entry:
        from turnscribe.errors import InferenceFailed, OutOfMemory

        try:
            done = self.transcribe(entry)
        except OutOfMemory:
            raise  # that is the recording's
        except InferenceFailed:
            self.failures += 1
            if self.failures >= BROKEN:
                log.critical("%d recordings in a row failed: this worker ends, to start anew.", self.failures)
                os._exit(1)  # SystemExit would end a thread of it
            raise
        self.failures = 0
        return done
