"""Many recordings in shards: listed, transcribed one shard a task, reported together. Imports nothing of Flyte.

A shard is the text of a manifest: addresses, sizes, parameters, outputs, and for each recording a mark, `made_by`.
Flyte's cache returns the result of an earlier task for an equal text, so the text must change when the answer would.

The mark stands for what makes the answer: the file's content, its parameters and the models' settings. The report in
the output folder keeps it. While all three stay the same, the next run finds the mark there and the cache answers.
When one of them changes, the recording gets a mark that was never used before. It gets a new one, too, when they
change back: the earlier result is still in the cache, but the answer in the output folder was overwritten meanwhile.

Two changes go unnoticed: weights replaced under the same name, and a file behind a web address whose server sends
neither ETag nor time of change.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from uuid import uuid4

from adapters.flyte.failures import TryAgain, of_the_file
from adapters.repository import REPOSITORY
from turnscribe.bulk.entries import FILE_FORMATS, attempt, transcribe_entry
from turnscribe.bulk.manifest import (
    REPORT,
    Entry,
    add_to_report,
    from_text,
    left_to_do,
    list_entries,
    read_report,
    summary,
    to_text,
)
from turnscribe.bulk.places import PlaceError, Refused, shown, version
from turnscribe.deployment import Deployment
from turnscribe.errors import BadParameters
from turnscribe.formats import find_format
from turnscribe.parameters import parameters_of

SHARD_BYTES = 2**27  # files of one shard are in memory together: five hours of mp3 are 1 GB of samples
LOOKUPS = 32  # at files, at a time
TOGETHER = 8  # files of a shard at a time: they share the engine's batches, and the first are soon done
SHOWN_FAILURES = 20  # in a report's text; the manifest has all

GONE = "It was transcribed before and its answer is gone: run again with this report as the input."
LOST = "Its task failed in every attempt: the task's log says why; run again."
ENDED = "The workflow failed before it could tell what became of it: the failed tasks' logs say why; run again."


def list_shards(inputs: Sequence[str], output: str, parameters: dict[str, object], *, files: int) -> list[str]:
    """The recordings in shards of about `files`; `parameters` are a request's, and a manifest's own win over them.

    They are written to the report, so that an output that cannot be written is found now. What failed, as a report
    among the inputs says, makes its shard one that no cache knows. Raises `BadParameters`, `SettingsError`,
    `ManifestError`, `PlaceError`.
    """
    check_positive("files_per_task", files)
    models = model_key()
    earlier = read_report(output)
    before = {entry.output: entry for entry in earlier}

    def waiting(entry: Entry) -> Entry:
        entry = replace(entry, parameters={**parameters, **entry.parameters})
        return replace(entry, status=None, made_by=_made_by(entry, before.get(entry.output), models))

    listed = list_entries(inputs, output, earlier)
    with ThreadPoolExecutor(LOOKUPS) as pool:
        entries = list(pool.map(waiting, listed))
    add_to_report([_begun(entry, before.get(entry.output)) for entry in entries], output, earlier)
    return [to_text(shard) for shard in stable_bundles(entries, files=files, size_bytes=SHARD_BYTES)]


def stable_bundles(entries: Sequence[Entry], *, files: int, size_bytes: int) -> list[list[Entry]]:
    """Bundles of about `files`, at most twice as many, and but for a larger file alone `size_bytes` together.

    Where one ends its files' names say, so a file more or less changes one bundle and the cache keeps the others.
    Files of a bundle are of similar size, the largest (to a power of two) come first. An unknown size counts as a
    quarter of `size_bytes`.
    """

    def size(entry: Entry) -> int:
        return entry.size or size_bytes // 4

    made: list[list[Entry]] = []
    room = 0
    for entry in sorted(entries, key=lambda entry: (-size(entry).bit_length(), entry.uri)):
        begins = int(_hash(entry.uri)[:8], 16) % files == 0
        if not made or begins or len(made[-1]) == 2 * files or size(entry) > room:
            made.append([])
            room = size_bytes
        made[-1].append(entry)
        room -= size(entry)
    return made


def transcribe_shard(
    manifest: str,
    *,
    formats: Sequence[str] = (),
    done: Sequence[Entry] = (),
    on_done: Callable[[Sequence[Entry]], None] = lambda entries: None,
    deployment: Deployment = REPOSITORY,
) -> list[Entry]:
    """The shard's entries with what became of them; their results are written.

    A file that is itself at fault is one failed entry, since this result may be kept. So is one whose place refuses
    it where others could be read, without its `made_by`, so that no cache knows it in the next run. Whatever else
    goes wrong raises `TryAgain`, when all the others are through: those are in `done` of the next attempt, as the
    last call of `on_done` had them. Raises `SettingsError`.
    """
    deployment.pipeline()  # without models nothing is one file's trouble
    entries = from_text(manifest)
    finished = {entry.uri: entry for entry in done}
    again: list[Entry] = []
    refused: list[Entry] = []
    apart: dict[str, list[Entry]] = {}  # by URI, where an entry goes that is not finished

    def on_error(entry: Entry, error: Exception) -> None:
        if not of_the_file(error):
            apart[entry.uri] = refused if isinstance(error, Refused) else again

    transcribe = partial(transcribe_entry, deployment=deployment, formats=formats)
    left = [entry for entry in entries if entry.uri not in finished]
    with ThreadPoolExecutor(TOGETHER) as pool:
        for future in as_completed([pool.submit(attempt, transcribe, entry, on_error=on_error) for entry in left]):
            entry = future.result()
            if entry.uri in apart:
                apart[entry.uri].append(entry)
            else:
                finished[entry.uri] = entry
                on_done(list(finished.values()))
    if not finished:  # it is no one file's trouble
        again += refused
    if again:
        raise TryAgain(f"{len(again)} of {len(entries)} recordings may do better later: {again[0].error}")
    finished.update({entry.uri: replace(entry, made_by=None) for entry in refused})
    return [finished[entry.uri] for entry in entries]


def build_report(
    shards: Sequence[str],
    results: Sequence[str | None],
    output: str,
    *,
    formats: Sequence[str] = (),
    lost: str = LOST,
) -> list[Entry]:
    """Every recording once, with what became of it; `results` has None for a shard of which no result came.

    Of such a shard, answers that are there with their `formats` count as there ("exists"), unless they may be those
    of another content, other models or parameters; of the others the error is `lost`. One listing of `output` tells.
    """
    outdated = {entry.output for entry in read_report(output) if entry.outdated}
    known = [entry for result in results if result is not None for entry in from_text(result)]
    unknown = [
        replace(entry, status="failed", error=lost)
        for shard, result in zip(shards, results, strict=True)
        if result is None
        for entry in from_text(shard)
    ]
    missing, _ = left_to_do([entry for entry in known if entry.status == "done"] + unknown, output, formats=formats)
    gone = {entry.uri for entry in missing}
    entries = [
        replace(entry, status="failed", error=GONE) if entry.status == "done" and entry.uri in gone else entry
        for entry in known
    ]
    entries += [
        entry if entry.uri in gone or entry.output in outdated else replace(entry, status="exists", error=None)
        for entry in unknown
    ]
    entries = [
        replace(entry, outdated=entry.status == "failed" and entry.output in outdated)  # until it is done
        for entry in entries
    ]
    return sorted(entries, key=lambda entry: entry.uri)


def write_report(entries: Sequence[Entry], output: str) -> str:
    """Writes the manifest beside the results, with earlier runs' entries; the text says how many of this one's are
    done, and names what failed."""
    add_to_report(entries, output, read_report(output))
    failed = [entry for entry in entries if entry.status == "failed"]
    lines = [f"failed: {shown(entry.uri)}: {entry.error}" for entry in failed[:SHOWN_FAILURES]]
    if len(failed) > SHOWN_FAILURES:
        lines.append(f"and {len(failed) - SHOWN_FAILURES} more: see {REPORT}")
    return "\n".join([summary(entries), *lines])


def request_parameters(text: str, deployment: Deployment = REPOSITORY) -> dict[str, object]:
    """A request's parameters from a JSON object, checked. Raises `BadParameters`."""
    try:
        parameters = json.loads(text or "{}")
    except ValueError as e:
        raise BadParameters('parameters is not JSON: give an object such as {"language": "en"}.') from e
    deployment.parse(parameters)
    return dict(parameters)


def format_names(text: str) -> list[str]:
    """`"srt vtt"` or `"srt,vtt"` to names of formats. Raises `BadParameters`."""
    names = re.findall(r"[^\s,]+", text)
    if wrong := [name for name in names if name not in FILE_FORMATS]:
        raise BadParameters(f"formats has {wrong[0][:40]!r}: choose from {', '.join(FILE_FORMATS)}.")
    for name in names:
        find_format(name)  # raises where what it needs is not installed
    return names


def check_positive(name: str, value: float) -> None:
    """Raises `BadParameters`."""
    if not (value > 0 and math.isfinite(value)):
        raise BadParameters(f"{name} is {value:g}: give a number above 0.")


def model_key(deployment: Deployment = REPOSITORY) -> str:
    """The models and request defaults of this process's environment, without the token. Raises `SettingsError`."""
    settings = deployment.load_settings().model_dump(mode="json", exclude={"hf_token"})
    return json.dumps({**settings, **parameters_of(deployment.parse({}))}, sort_keys=True)


def _made_by(entry: Entry, before: Entry | None, models: str) -> str:
    """What the report `before` has, as long as nothing that makes the answer changes; or one that never was.

    That it is also for what failed, and where a place tells nothing of a file's content.
    """
    try:
        content = version(entry.uri)
    except PlaceError:  # whoever reads the file will say what is wrong
        content = uuid4().hex
    made_of = _hash(json.dumps([shown(entry.uri), content, entry.parameters, models], sort_keys=True))[:16]
    if before is not None and before.made_by and _made_of(before) == made_of and entry.status != "failed":
        return before.made_by
    return f"{made_of}-{uuid4().hex[:8]}"


def _made_of(entry: Entry) -> str:
    return (entry.made_by or "").partition("-")[0]


def _begun(entry: Entry, before: Entry | None) -> Entry:
    """The entry in the report, as long as nothing has become of it in this run."""
    if before is None or before.made_by is None:
        return entry
    if before.made_by == entry.made_by:
        return replace(before, uri=entry.uri, size=entry.size)
    return replace(entry, outdated=before.outdated or _made_of(before) != _made_of(entry))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
