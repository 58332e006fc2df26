"""Transcribe many recordings on a Ray cluster, or on all processors or GPUs of this machine.

    export ASR_MODEL=openai/whisper-large-v3
    python -m scripts.ray recordings/ --output transcripts/
    python -m scripts.ray s3://bucket/talks --output s3://bucket/transcripts --address auto --format srt

Each recording's answer is `<output>/<its path>.json`, beside it the other formats; `<output>/manifest.jsonl` says how
each went, also in earlier runs. What has all its results is not done again, so the same command goes on where it was
stopped.

Exit status: 0 all there, 1 some failed or the workers died, 2 wrong usage, settings or cluster, 130 Ctrl-C (a
second one ends at once).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import SecretStr

from adapters.ray.cluster import build_actor, build_environment, join_cluster
from adapters.ray.passes import Pool, WorkersDie, transcribe_all, transcribe_parts
from adapters.ray.report import Report
from adapters.repository import REPOSITORY
from turnscribe.bulk.entries import FILE_FORMATS
from turnscribe.bulk.manifest import Entry, ManifestError, left_to_do, list_entries, merge_report, read_report
from turnscribe.bulk.places import PlaceError
from turnscribe.errors import BadParameters, TurnscribeError
from turnscribe.files import printable
from turnscribe.formats import find_format
from turnscribe.interrupts import interrupt, two_step_interrupt


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv)
    with two_step_interrupt(at_first=interrupt, second_ends_process=True):  # the first writes the report
        try:
            return _run(args)
        except (TurnscribeError, ManifestError, PlaceError) as error:
            print(f"error: {printable(str(error))}", file=sys.stderr)
            return 2
        except WorkersDie as error:
            print(f"error: {printable(str(error))}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130


def _run(args: argparse.Namespace) -> int:
    environment = build_environment(os.environ, args.env)
    earlier = read_report(args.output)
    entries = build_entries(args.inputs, args.output, args.parameters, earlier)
    left, there = left_to_do(entries, args.output, formats=args.format)
    found = {entry.uri: entry for entry in [*left, *there]}
    merged = merge_report([found[entry.uri] for entry in entries], earlier)
    with Report(merged[: len(entries)], args.output, others=merged[len(entries) :]) as report:
        try:
            if left:
                _transcribe(left, args, environment, report)
        finally:
            print(report.summary(), file=sys.stderr)
    return 1 if report.failed else 0


def build_entries(
    inputs: Sequence[str], output: str, parameters: Mapping[str, object], earlier: Sequence[Entry] = ()
) -> list[Entry]:
    """Every recording with its parameters: the job's, and before them its own of a manifest.

    Its place is that of the `earlier` report. Raises `BadParameters`, `ManifestError`, `PlaceError`.
    """
    REPOSITORY.parse(parameters)
    entries = list_entries(inputs, output, earlier)
    return [replace(entry, parameters={**parameters, **entry.parameters}) for entry in entries]


def _transcribe(
    left: Sequence[Entry], args: argparse.Namespace, environment: Mapping[str, SecretStr], report: Report
) -> None:
    join_cluster(args)
    import ray

    actors, share = build_actor(args, ray.cluster_resources())
    part_seconds = args.part_minutes * 60 if args.part_minutes else None
    pool = Pool(
        actors, share, environment, args.format, args.files_per_bundle, int(args.bundle_mb * 2**20), part_seconds
    )
    nodes = sum(node["Alive"] for node in ray.nodes())
    report.show(f"{len(left)} recordings for {actors} actors on {nodes} nodes.")
    cut = []
    for entry in transcribe_all(left, pool, output=args.output, on_message=report.show):
        if entry.status is None:
            cut.append(entry)
        else:
            report.ended(entry)
    if cut:
        for entry in transcribe_parts(cut, pool, output=args.output, on_message=report.show):
            report.ended(entry)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ray", description="Transcribe many recordings on a Ray cluster.")
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="file, folder, s3:// prefix, https:// URL, or manifest (.jsonl)")
    add("--output", required=True, metavar="DIR", help="folder that all nodes share, or s3:// prefix")
    add("--format", nargs="+", choices=FILE_FORMATS, default=[], help="beside the answers")
    add("--parameters", type=_parameters, default={}, metavar="JSON", help="""a request's: '{"language": "en"}'""")
    add("--part-minutes", type=float, metavar="N", help="cut longer recordings, and share their parts out")
    add("--files-per-bundle", type=_positive, default=16, metavar="N", help="sharing batches (default: 16)")
    add("--bundle-mb", type=float, default=64, metavar="MB", help="at most, unless a file is larger (default: 64)")
    cluster = parser.add_argument_group("cluster").add_argument
    cluster(
        "--address",
        help="auto (the cluster this machine is in) or HOST:PORT; default: one of this machine, for this job",
    )
    cluster(
        "--actors",
        type=_positive,
        metavar="N",
        help="each with the models in memory; default: one a GPU, without any one a processor",
    )
    cluster("--gpus-per-actor", type=float, metavar="N", help="default: 1 where the cluster has any; may be 0.5")
    cluster("--cpus-per-actor", type=float, default=1, metavar="N", help="threads of the models (default: 1)")
    cluster("--env", action="append", default=[], metavar="NAME", help="a further variable for the workers")
    cluster(
        "--upload",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="send this repository to the cluster at --address; not needed where it is at the same path on all nodes",
    )
    cluster("--worker-logs", action="store_true", help="print what the workers log")
    own = parser.add_argument_group("cluster of this machine").add_argument
    own("--cpus", type=_positive, metavar="N", help="default: all")
    own("--object-store-memory", type=_positive, metavar="BYTES", help="default: Ray's")
    own("--temp-dir", metavar="DIR", help="Ray's sockets and logs; a short path (default: /tmp/ray)")
    args = parser.parse_args(argv)
    for name in args.format:
        try:
            find_format(name)  # what it needs is installed
        except BadParameters as error:
            parser.error(str(error))
    if (args.address or "").startswith("ray://"):
        parser.error("Ray Data cannot be driven over ray://: run this on the cluster, with --address auto.")
    if args.address and (args.cpus or args.object_store_memory or args.temp_dir):
        parser.error("--cpus, --object-store-memory and --temp-dir are those of `ray start` with an --address.")
    if not args.cpus_per_actor > 0 or not args.bundle_mb > 0 or (args.gpus_per_actor or 0) < 0:
        parser.error("--cpus-per-actor and --bundle-mb must be above 0, --gpus-per-actor at least 0.")
    if args.part_minutes is not None and not args.part_minutes > 0:
        parser.error("--part-minutes must be above 0.")
    return args


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too small: give at least 1.")
    return number


def _parameters(text: str) -> dict[str, object]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise argparse.ArgumentTypeError("it must be a JSON object.")
    return values
