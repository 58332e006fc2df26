"""Transcribe files from the command line: who said what, printed or written beside each other.

    python -m scripts.transcribe talk.mp3
    python -m scripts.transcribe recordings/ --format srt,verbose_json --output-dir transcripts --language en

Recordings are files, folders (searched through for audio and video) or patterns. The models come from
the options, else from the environment, as the endpoint's do. An output that is there already is left alone
unless `--overwrite` is given, so a batch that was stopped goes on where it was.

Exit status: 0 all done, 1 a file failed (the others are done), 2 wrong usage or settings, 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from turnscribe.cli.transcription.arguments import build_parameters, build_parser, load_models
from turnscribe.cli.transcription.batch import run_batch
from turnscribe.cli.transcription.plan import plan
from turnscribe.cli.transcription.summary import summary
from turnscribe.deployment import Deployment, package_deployment
from turnscribe.errors import TurnscribeError

__all__ = ["build_parser", "main"]


def main(argv: Sequence[str] | None = None, *, deployment: Deployment | None = None, prog: str = "transcribe") -> int:
    """Runs the command line, returns its exit status; by default with the package's own settings and rules."""
    deployment = deployment or package_deployment()
    parser = build_parser(prog)
    args = parser.parse_args(argv)
    try:
        outputs = plan(args.recordings)
        if args.format and not args.output_dir and len(outputs) > 1:
            parser.error("--format with several recordings needs --output-dir.")
        if len(args.format or ()) > 1 and not args.output_dir:
            parser.error("several formats need --output-dir.")
        request = deployment.parse(build_parameters(args))
        outcomes = run_batch(outputs, args, request, load_models(args, deployment))
    except TurnscribeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # while loading the models, or the second one
        return 130
    if not args.quiet:
        print(summary(outcomes), file=sys.stderr)
    statuses = {outcome.status for outcome in outcomes}
    return 130 if "stopped" in statuses else 1 if "failed" in statuses else 0
