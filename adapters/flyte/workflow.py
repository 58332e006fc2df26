"""Flyte workflows: many recordings in parallel, and one very long recording on many machines.

    pyflyte run adapters/flyte/workflow.py transcribe_files --inputs '["talks/"]' --output transcripts
    pyflyte run adapters/flyte/workflow.py transcribe_recording --recording day.mp3 --output transcripts

`inputs` are folders, prefixes (`s3://...`), manifests and single files; `output` is a folder or a prefix. On a
cluster both must be where the tasks can reach them. Models, limits and request defaults are the environment's of
whoever registers (`ASR_MODEL`, ...), and so is what the tasks may use (`TASK_GPU`, `TASK_MEMORY`, ...: see
`settings.py`).

Caching, by shard and by part. A shard is transcribed again when one of its files' address, size or content (ETag,
time of change), its parameters, a model's name or another setting of the handler changes (also when it changes back),
its formats, the output or CACHE_VERSION, when the output has no report of it, or when a report among the inputs says
that one of its files failed; a part when its samples, its parameters, the models or CACHE_VERSION change. Weights
replaced under the same name are not looked at: `--overwrite-cache`.

Failures. A file that is at fault is a failed entry of the report, and the others of its shard are done. Whatever else
goes wrong (a busy store, a busy Hub, a failing device, an answer that cannot be written) makes Flyte retry the shard,
which goes on after the files that are done (its checkpoint). A shard whose attempts are used up counts against
TASK_MIN_SUCCESS_RATIO; with fewer successes the workflow fails, and the report is written all the same. Of one
recording every part is needed.

A thin layer: what the tasks do is in `shards.py`, `recording.py` and `adapters/long_recording.py`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NamedTuple

from flytekit import HashMethod, Resources, Secret, current_context, map_task, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.extras.accelerators import GPUAccelerator
from flytekit.types.error.error import FlyteError
from flytekit.types.file import FlyteFile

from adapters.environment import TOKEN, worker_environment
from adapters.flyte import recording as recordings
from adapters.flyte import shards as sharding
from adapters.flyte.failures import may_pass
from adapters.flyte.settings import load_task_settings
from adapters.long_recording import cut_recording
from adapters.repository import REPOSITORY
from turnscribe.bulk.long_recordings import PartTranscript, transcribe_part
from turnscribe.bulk.manifest import Entry, from_text, to_text
from turnscribe.bulk.places import read

CACHE_VERSION = "2"  # raise it when the same recording and settings give another answer

log = logging.getLogger("turnscribe")


def _hash(file: FlyteFile) -> str:
    return hashlib.sha256(Path(file.path).read_bytes()).hexdigest()


HashedFile = Annotated[FlyteFile, HashMethod(_hash)]  # the cache knows it by its content, wherever it lies


class PartTasks(NamedTuple):
    """What the tasks of the parts get, and what merging them needs."""

    audio: list[HashedFile]
    offsets: list[float]
    parameters: list[str]
    warnings: list[str]
    entry: str
    models: str


def token_secret(group: str | None) -> list[Secret] | None:
    """The token, as the variable of its name, from the cluster's secret `group`."""
    if group is None:
        return None
    return [Secret(group=group, key=TOKEN, env_var=TOKEN, mount_requirement=Secret.MountType.ENV_VAR)]


settings = load_task_settings()
resources = Resources(cpu=settings.cpu, mem=settings.memory, gpu=str(settings.gpu) if settings.gpu else None)
environment = worker_environment(os.environ, without=[TOKEN])  # that is a secret
model_task = functools.partial(
    task,
    requests=resources,
    limits=resources,
    accelerator=GPUAccelerator(settings.accelerator) if settings.accelerator and settings.gpu else None,
    environment=environment,
    secret_requests=token_secret(settings.secret_group),
    retries=settings.retries,
    timeout=timedelta(minutes=settings.timeout_minutes),
)
small_task = functools.partial(
    task,
    requests=Resources(cpu="1", mem="2Gi"),
    limits=Resources(cpu="2", mem="4Gi"),
    environment=environment,
    retries=settings.retries,
)


# --- Many recordings ----------------------------------------------------------------------------------------


@small_task()
def list_shards(inputs: list[str], output: str, parameters: str, formats: str, files_per_task: int) -> list[str]:
    """Everything that can be wrong with what was given is found here, before a model is loaded."""
    sharding.format_names(formats)
    with retried():
        return sharding.list_shards(inputs, output, sharding.request_parameters(parameters), files=files_per_task)


@model_task(cache=True, cache_version=CACHE_VERSION)
def transcribe_shard(shard: str, formats: str) -> str:
    """The shard's entries, done or failed."""
    with retried():
        entries = sharding.transcribe_shard(
            shard, formats=sharding.format_names(formats), done=_saved_entries(), on_done=_save_entries
        )
    return to_text(entries)


@small_task()
def report(shards: list[str], results: list[str | None], output: str, formats: str) -> str:
    with retried():
        entries = sharding.build_report(shards, results, output, formats=sharding.format_names(formats))
        return sharding.write_report(entries, output)


@small_task()
def report_failure(
    inputs: list[str],
    output: str,
    parameters: str,
    formats: str,
    files_per_task: int,
    err: FlyteError | None = None,
) -> None:
    """The report of a run in which too many shards failed: what is there, and what is not."""
    with retried():
        found = sharding.list_shards(inputs, output, sharding.request_parameters(parameters), files=files_per_task)
        entries = sharding.build_report(
            found, [None] * len(found), output, formats=sharding.format_names(formats), lost=sharding.ENDED
        )
        print(sharding.write_report(entries, output))


@workflow(on_failure=report_failure)
def transcribe_files(
    inputs: list[str], output: str, parameters: str = "{}", formats: str = "srt", files_per_task: int = 16
) -> str:
    """Every recording's answer (JSON) and `formats` below `output`, and a manifest of how each went."""
    shards = list_shards(
        inputs=inputs, output=output, parameters=parameters, formats=formats, files_per_task=files_per_task
    )
    results = map_task(
        functools.partial(transcribe_shard, formats=formats),
        concurrency=settings.concurrency,
        min_success_ratio=settings.min_success_ratio,
    )(shard=shards)
    return report(shards=shards, results=results, output=output, formats=formats)  # type: ignore[no-any-return]


# --- One very long recording --------------------------------------------------------------------------------


@model_task()
def split_recording(recording: str, output: str, parameters: str, formats: str, part_minutes: float) -> PartTasks:
    sharding.format_names(formats)
    sharding.check_positive("part_minutes", part_minutes)
    with retried():
        entry = recordings.only_entry(recording, output, sharding.request_parameters(parameters))
        audio = read(entry.uri, max_bytes=REPOSITORY.load_settings().limits.max_bytes)
        cut = cut_recording(audio, entry.parameters, _folder(), part_seconds=part_minutes * 60)
    return PartTasks(
        [FlyteFile(str(file)) for file in cut.files],
        cut.offsets,
        list(map(json.dumps, cut.parameters)),
        cut.warnings,
        to_text([entry]),
        sharding.model_key(),
    )


@model_task(cache=True, cache_version=CACHE_VERSION)
def transcribe_one_part(audio: FlyteFile, offset: float, parameters: str, models: str) -> FlyteFile:
    """A part's transcript and voices. `models` is for the cache."""
    with retried():
        part = transcribe_part(Path(audio).read_bytes(), offset, json.loads(parameters), REPOSITORY)
    file = _folder() / "part.json"
    file.write_text(part.to_json())
    return FlyteFile(str(file))


@small_task()
def merge_recording(parts: list[FlyteFile], entry: str, output: str, warnings: list[str], formats: str) -> str:
    with retried():
        done = recordings.merge_recording(
            [PartTranscript.from_json(Path(part).read_text()) for part in parts],
            from_text(entry)[0],
            output,
            warnings=warnings,
            formats=sharding.format_names(formats),
        )
    return done.answer


@workflow
def transcribe_recording(
    recording: str, output: str, parameters: str = "{}", formats: str = "srt", part_minutes: float = 10.0
) -> str:
    """One recording, in parts of about `part_minutes`, to one answer with one numbering of the speakers."""
    parts = split_recording(
        recording=recording, output=output, parameters=parameters, formats=formats, part_minutes=part_minutes
    )
    transcripts = map_task(
        functools.partial(transcribe_one_part, models=parts.models), concurrency=settings.concurrency
    )(audio=parts.audio, offset=parts.offsets, parameters=parts.parameters)
    return merge_recording(  # type: ignore[no-any-return]
        parts=transcripts, entry=parts.entry, output=output, warnings=parts.warnings, formats=formats
    )


def _saved_entries() -> list[Entry]:
    """Those that the attempt before had done. An attempt that saved none leaves a place where nothing can be read."""
    try:
        return from_text((current_context().checkpoint.read() or b"").decode())
    except Exception as error:  # of whatever library the store brings
        log.warning("The checkpoint cannot be read (%s): the shard begins anew.", type(error).__name__)
        return []


def _save_entries(entries: Sequence[Entry]) -> None:
    try:
        current_context().checkpoint.write(to_text(entries).encode())
    except Exception as error:  # the next file's may be written, and without any the shard would begin anew
        log.warning("The checkpoint cannot be written (%s).", type(error).__name__)


def _folder() -> Path:
    """A new one in the task's: run locally, all tasks have the same."""
    return Path(tempfile.mkdtemp(dir=current_context().working_directory))


@contextmanager
def retried() -> Iterator[None]:
    """What may pass is an error that Flyte retries; all others end the task at once.

    Causes are left out: a library's may hold a URL with its query.
    """
    try:
        yield
    except Exception as error:
        if may_pass(error):
            raise FlyteRecoverableException(str(error)) from None
        raise error from None
