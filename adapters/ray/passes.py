"""All entries through an actor pool of Ray Data, and again those whose worker died.

Ray Data would run a bundle that lost its worker again and again until it ends, and with a file that kills its workers
it never does. So Ray repeats nothing here. What is missing after a pass goes into the next pass, each file by itself,
and a file that is missing after every pass is reported. A bundle whose worker has no models yet is treated the same.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeAlias

from pydantic import SecretStr

from adapters.ray.worker import BundleRow, BundleWorker, EntryRow
from turnscribe.bulk.manifest import Entry, bundles, from_text, left_to_do, to_text
from turnscribe.bulk.places import PlaceError
from turnscribe.errors import ModelUnavailable, SettingsError

PASSES = 3  # two nodes may be lost under a file before it is given up
LOST_BUNDLES = 10  # that the first pass survives, beside two for each actor and a tenth of all
ALL = -1
FAILED_STARTS = 3  # of actors, one after another; and of each, to load its models

OnMessage: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Pool:
    """`actors` actors, each with `share` of a cluster; a bundle has at most `files` files, `size_bytes` together.

    With `part_seconds` the actors cut what is longer than that (`parts.py`); `of_parts` says that the entries are
    such parts.
    """

    actors: int
    share: Mapping[str, float]
    environment: Mapping[str, SecretStr]
    formats: Sequence[str] = ()
    files: int = 16
    size_bytes: int = 64 * 2**20
    part_seconds: float | None = None
    of_parts: bool = False


class WorkersDie(Exception):
    """Too many of them did: the fault is not a file's."""


def transcribe_all(entries: Sequence[Entry], pool: Pool, *, output: str, on_message: OnMessage) -> Iterator[Entry]:
    """Each entry once, done or failed, as they come; one that was cut into parts without a status.

    Raises `SettingsError`, which is `ModelUnavailable` where no worker has its models but may get them later,
    `WorkersDie` and what Ray raises.
    """
    left = {entry.uri: entry for entry in entries}
    for number in range(PASSES):
        # so many files to a bundle that every actor has one
        files = min(pool.files, math.ceil(len(left) / pool.actors)) if number == 0 else 1
        made = bundles(list(left.values()), files=files, size_bytes=pool.size_bytes)
        # in the first, workers that die of everything end the job; what is left then may all be such that kill them
        may_lose = LOST_BUNDLES + 2 * pool.actors + len(made) // 10 if number == 0 else ALL
        for entry in one_pass(made, pool, may_lose=may_lose):
            if left.pop(entry.uri, None):
                yield entry
        if not left:
            return
        lost, there = left_to_do(list(left.values()), output, formats=pool.formats)
        left = {entry.uri: entry for entry in lost}
        yield from (replace(entry, status="done") for entry in there)  # written before the worker died
        if left and number + 1 < PASSES:
            on_message(f"{len(left)} files were with workers that died or had no models: again, each by itself.")
    died = (
        f"The worker died with it or had no models {PASSES} times: it may need more memory than there is, or crash a "
        "decoder."
    )
    yield from (replace(entry, status="failed", error=died) for entry in left.values())


def transcribe_parts(cut: Sequence[Entry], pool: Pool, *, output: str, on_message: OnMessage) -> Iterator[Entry]:
    """Each of the recordings that were cut once, done or failed, as soon as its last part has ended.

    All parts of all recordings are shared out among the actors, but for those that are there already. Raises as
    `transcribe_all` does.
    """
    from adapters.ray.parts import CutEntry

    recordings = []
    for entry in cut:
        try:
            recordings.append(CutEntry.read(entry))
        except PlaceError as error:
            yield replace(entry, status="failed", error=str(error))
    owners = {part.uri: recording for recording in recordings for part in recording.parts}
    left, there = left_to_do([part for recording in recordings for part in recording.parts], output)
    on_message(f"{len(recordings)} long recordings have {len(owners)} parts, {len(there)} of them there already.")
    done = transcribe_all(left, replace(pool, of_parts=True, formats=()), output=output, on_message=on_message)
    for part in chain(there, done if left else ()):
        recording = owners[part.uri]
        recording.ended(part)
        if recording.is_over:
            yield recording.merged(pool.formats)


def one_pass(made: Sequence[Sequence[Entry]], pool: Pool, *, may_lose: int) -> Iterator[Entry]:
    """The entries of the bundles as they come; without those whose worker died or had no models."""
    import ray.data
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # a long recording shows none for hours
    context.max_consecutive_actor_init_deaths = FAILED_STARTS
    context.max_errored_blocks = may_lose
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # a trace for every lost bundle
    rows: list[BundleRow] = [{"bundle": to_text(bundle)} for bundle in made]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # max_task_retries is to go in Ray 2.64; until then nothing takes its place
        results = ray.data.from_items(rows, override_num_blocks=len(rows)).flat_map(
            BundleWorker,
            fn_constructor_args=[pool.environment, pool.formats, pool.part_seconds, pool.of_parts],
            # one bundle at a time: another one waiting would be lost with it
            compute=ray.data.ActorPoolStrategy(size=min(pool.actors, len(rows)), max_tasks_in_flight_per_actor=1),
            max_restarts=-1,  # dead actors start anew,
            max_task_retries=0,  # and what they were doing does not
            **pool.share,
        )
    try:
        yield from entries_of(results.iter_rows(), may_wait=min(FAILED_STARTS * pool.actors, len(made)))
    except RayError as error:
        raise WorkersDie(
            f"Too many workers died or did not start ({type(error).__name__}): see Ray's logs, or --worker-logs."
        ) from error


def entries_of(rows: Iterable[EntryRow], *, may_wait: int) -> Iterator[Entry]:
    """The entries in what the workers gave.

    Raises `SettingsError` where a worker will never have its models, and `ModelUnavailable` where `may_wait` bundles
    came to workers that had none, and not one to a worker that had: while some work, the others may go on trying.
    """
    waited, working = 0, False
    for row in rows:
        if not row["refused"]:
            working = True
            yield from from_text(row["entry"])
        elif not row["may_pass"]:
            raise SettingsError(row["refused"])
        else:
            waited += 1
            if waited >= may_wait and not working:
                raise ModelUnavailable(row["refused"])
