"""Transcribe files from the command line: who said what, printed or written beside each other.

    python -m scripts.transcribe talk.mp3
    python -m scripts.transcribe recordings/ --format srt,verbose_json --output-dir transcripts --language en

Recordings are files, folders (searched through for audio and video) or patterns. The models come from
the options, else from the environment, as the endpoint's do. An output that is there already is left alone
unless `--overwrite` is given, so a batch that was stopped goes on where it was. `--watch FOLDER` goes on with
whatever comes into a folder. What is wrong with files, folders and models is said before any model is loaded.

Exit status: 0 all done, 1 a file failed (the others are done), 2 wrong usage or settings, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from turnscribe.checkpoints.store import home_to_write
from turnscribe.cli.transcription.arguments import build_parameters, build_parser, set_environment
from turnscribe.cli.transcription.batch import Order, run_batch
from turnscribe.cli.transcription.check import CheckFile, check_output_folder, problems_of_files
from turnscribe.cli.transcription.outputs import is_binary
from turnscribe.cli.transcription.plan import plan
from turnscribe.cli.transcription.summary import Outcome, shown, summary
from turnscribe.cli.transcription.watch import WatchedFolder, watch
from turnscribe.deployment import Deployment, package_deployment
from turnscribe.errors import SettingsError, TurnscribeError
from turnscribe.files import printable
from turnscribe.inputs.limits import Limits
from turnscribe.inputs.look import check_container
from turnscribe.pipeline import Pipeline
from turnscribe.speeds import Speeds

__all__ = ["build_parser", "main"]

SPEEDS = "speeds.json"  # in the folder of models: what this machine took


def main(
    argv: Sequence[str] | None = None,
    *,
    deployment: Deployment | None = None,
    prog: str = "transcribe",
    check: CheckFile = check_container,
) -> int:
    """Runs the command line, returns its exit status; by default with the package's own settings and rules.

    `check` looks into a file before any model is loaded.
    """
    deployment = deployment or package_deployment()
    parser = build_parser(prog)
    args = parser.parse_args(argv)
    _check_usage(args, parser.error)
    try:
        outputs = plan(args.recordings)
        if args.format and not args.output_dir and len(outputs) > 1:
            parser.error("--format with several recordings needs --output-dir.")
        set_environment(args)
        order = Order(args, deployment.parse(build_parameters(args)), _speeds_file())
        limits = deployment.load_settings().limits
        check_file: CheckFile = (lambda _: None) if order.request.encoding else check
        refused = problems_of_files(outputs, limits, check_file)
        wrong = [*_problems(args, deployment)]
        for source, why in refused.items():
            print(f"error: {shown(source)}: {printable(why)}", file=sys.stderr)
        for sentence in wrong:
            print(f"error: {printable(sentence)}", file=sys.stderr)
        if wrong:
            return 2
        loaded = _loaded(deployment, order)
        if args.watch:
            return _watch(order, loaded, limits, check_file)
        if len(refused) < len(outputs):
            loaded()  # now: Ctrl-C ends it at once
        outcomes = run_batch(outputs, order, loaded, refused)
    except TurnscribeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # while loading the models, or the second one
        return 130
    if not args.quiet:
        print(summary(outcomes), file=sys.stderr)
    return _status(outcomes)


def _check_usage(args: argparse.Namespace, error: Callable[[str], object]) -> None:
    """What no parser of single options sees."""
    if args.watch:
        if args.recordings:
            error("--watch transcribes a folder: leave the recordings out.")
        if not Path(args.watch).is_dir():
            error(f"--watch {args.watch}: there is no such folder.")
        args.output_dir = args.output_dir or args.watch
    elif not args.recordings:
        error("name a recording, a folder or a pattern, or give --watch FOLDER.")
    if len(args.format or ()) > 1 and not args.output_dir:
        error("several formats need --output-dir.")
    if args.format and not args.output_dir and is_binary(args.format[0]):
        error(f"{args.format[0]} is no text to be printed: it needs --output-dir.")


def _problems(args: argparse.Namespace, deployment: Deployment) -> list[str]:
    """For which nothing is begun."""
    wrong = []
    if args.output_dir:
        try:
            check_output_folder(Path(args.output_dir))
        except SettingsError as error:
            wrong.append(str(error))
    return [*wrong, *deployment.missing(deployment.load_settings())]


def _loaded(deployment: Deployment, order: Order) -> Callable[[], Pipeline]:
    """The models, once they are needed, with what is known of the machine's speed."""
    speeds = Speeds.read(order.speeds_file) if order.speeds_file else Speeds()

    def load() -> Pipeline:
        pipeline = deployment.pipeline()
        pipeline.speeds = speeds
        return pipeline

    return load


def _speeds_file() -> Path | None:
    with contextlib.suppress(SettingsError):
        return home_to_write() / SPEEDS
    return None


def _watch(order: Order, loaded: Callable[[], Pipeline], limits: Limits, check: CheckFile) -> int:
    """Until Ctrl-C."""
    args = order.args
    loaded()
    if not args.quiet:
        print(f"Watching {printable(args.watch)}; Ctrl-C ends it.", file=sys.stderr)
    try:
        for _ in watch(WatchedFolder(Path(args.watch)), order, loaded, limits, check):
            pass
    except OSError as error:
        print(f"error: {printable(args.watch)} can no longer be read: {error.strerror}.", file=sys.stderr)
        return 2
    return 130


def _status(outcomes: Sequence[Outcome]) -> int:
    statuses = {outcome.status for outcome in outcomes}
    return 130 if "stopped" in statuses else 1 if "failed" in statuses else 0
