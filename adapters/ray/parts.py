"""A long recording over several actors: one cuts it, all transcribe its parts, the job merges them.

What passes from one to the other is in a folder beside the recording's answer, until that is there:

    talk.mp3.parts/plan.json            which parts there are, of which recording, cut for which request
    talk.mp3.parts/<its key>/0003       a part, a wav file
    talk.mp3.parts/<its key>/0003.json  its transcript and voices

So a job that was stopped goes on with the parts that are missing, and what was cut of another content, with other
parameters or for other models is left aside. A part is an `Entry` like any other; its `output` says whose it is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from adapters.flyte.shards import model_key
from adapters.long_recording import cut_recording, merge_parts
from adapters.repository import REPOSITORY
from turnscribe.bulk.entries import attempt, transcribe_entry
from turnscribe.bulk.long_recordings import PartTranscript, transcribe_part
from turnscribe.bulk.manifest import Entry
from turnscribe.bulk.places import Missing, PlaceError, check_room, join, read, remove, shown, write
from turnscribe.deployment import Deployment
from turnscribe.errors import TurnscribeError

MOST_BYTES = 2**31  # of a part, of its transcript, of a plan
WORTH_CUTTING = 1.5  # parts, at least

log = logging.getLogger("turnscribe")


@dataclass(frozen=True)
class Plan:
    """How a recording was cut; `key` tells its content, its parameters and the models from others."""

    key: str
    offsets: list[float]  # seconds from the start of the recording
    sizes: list[int]  # bytes
    parameters: list[dict[str, object]]  # of each part's request
    warnings: list[str]  # of the whole recording


def cut_or_transcribe(
    entry: Entry, *, part_seconds: float, formats: Sequence[str] = (), deployment: Deployment = REPOSITORY
) -> Entry:
    """A short recording's entry, done; or a long one's without a status, once its parts and its plan are there.

    Raises `PlaceError`, `RequestError`, and what `Pipeline.transcribe` raises.
    """
    from turnscribe.inputs.decode import measured_seconds

    check_room(entry.answer)
    request, limits = deployment.parse(entry.parameters), deployment.pipeline().limits
    audio = read(entry.uri, max_bytes=limits.max_bytes)
    seconds = measured_seconds(
        audio,
        limits=limits,
        sampling_rate=request.sampling_rate,
        encoding=request.encoding,
        audio_track=request.audio_track,
    )
    if request.channels == "split" or seconds < WORTH_CUTTING * part_seconds:
        return transcribe_entry(entry, deployment, formats=formats, audio=audio)
    key = _key(audio, [entry.parameters, model_key(deployment), part_seconds])
    if (plan := _plan_of(entry)) is None or plan.key != key:
        with tempfile.TemporaryDirectory() as folder:
            cut = cut_recording(
                audio, entry.parameters, Path(folder), part_seconds=part_seconds, deployment=deployment
            )
            sizes = []
            for index, file in enumerate(cut.files):
                write(_part(entry, key, index), file.read_bytes())
                sizes.append(file.stat().st_size)
        plan = Plan(key, cut.offsets, sizes, cut.parameters, cut.warnings)
        write(_plan(entry), json.dumps(asdict(plan)))
    return replace(entry, status=None, error=None)


def transcribe_part_entry(entry: Entry, *, deployment: Deployment = REPOSITORY) -> Entry:
    """A part's entry, done: its transcript and voices are where its answer would be. Raises as `transcribe_part`."""
    audio = read(entry.uri, max_bytes=MOST_BYTES)
    part = transcribe_part(audio, 0.0, entry.parameters, deployment)
    write(entry.answer, part.to_json())
    return replace(entry, status="done", error=None, duration=part.transcript.duration)


@dataclass
class CutEntry:
    """A recording that was cut, and how its parts went."""

    entry: Entry
    plan: Plan
    open: set[str] = field(default_factory=set)  # parts that have not ended, by their URIs
    failed: list[str] = field(default_factory=list)  # sentences

    @classmethod
    def read(cls, entry: Entry) -> CutEntry:
        """Raises `PlaceError`."""
        plan = _plan_of(entry)
        if plan is None:
            raise PlaceError(f"{shown(_plan(entry))} is gone: start again.")
        recording = cls(entry, plan)
        recording.open = {part.uri for part in recording.parts}
        return recording

    @property
    def parts(self) -> list[Entry]:
        """In order, as yet to be done."""
        plan = self.plan
        places = [_part(self.entry, plan.key, index) for index in range(len(plan.offsets))]
        return [
            Entry(place, place, parameters, size)
            for place, parameters, size in zip(places, plan.parameters, plan.sizes, strict=True)
        ]

    @property
    def is_over(self) -> bool:
        return not self.open

    def ended(self, part: Entry) -> None:
        """A part is done, was there, or has failed."""
        self.open.discard(part.uri)
        if part.status == "failed":
            offset = self.plan.offsets[int(part.uri.rpartition("/")[2])]
            self.failed.append(f"The part from {offset:.0f} s: {part.error}")

    def merged(self, formats: Sequence[str] = (), deployment: Deployment = REPOSITORY) -> Entry:
        """The entry, done, with its results written and its parts gone; or failed, as its first part that was."""
        if self.failed:
            return replace(self.entry, status="failed", error=self.failed[0])
        done = attempt(partial(self._merge, formats=formats, deployment=deployment), self.entry)
        if done.status == "done":
            try:
                remove(_folder(self.entry))
            except PlaceError as error:
                log.warning("%s", error)
        return done

    def _merge(self, entry: Entry, *, formats: Sequence[str], deployment: Deployment) -> Entry:
        texts = [read(part.answer, max_bytes=MOST_BYTES).decode() for part in self.parts]
        try:
            parts = [PartTranscript.from_json(text) for text in texts]
        except (ValueError, KeyError) as error:
            raise TurnscribeError(
                f"A part in {shown(_folder(entry))} was written by another version: delete that folder."
            ) from error
        placed = [replace(part, offset=offset) for part, offset in zip(parts, self.plan.offsets, strict=True)]
        return merge_parts(placed, entry, warnings=self.plan.warnings, formats=formats, deployment=deployment)


def _folder(entry: Entry) -> str:
    return f"{entry.output}.parts"


def _plan(entry: Entry) -> str:
    return join(_folder(entry), "plan.json")


def _part(entry: Entry, key: str, index: int) -> str:
    """No suffix, or it would be taken for a recording."""
    return join(_folder(entry), f"{key}/{index:04d}")


def _plan_of(entry: Entry) -> Plan | None:
    try:
        return Plan(**json.loads(read(_plan(entry), max_bytes=MOST_BYTES)))
    except Missing:
        return None
    except (ValueError, TypeError) as error:
        if isinstance(error, PlaceError):
            raise
        return None  # another version's


def _key(audio: bytes, made_with: Sequence[object]) -> str:
    known = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode())
    known.update(audio)
    return known.hexdigest()[:16]
