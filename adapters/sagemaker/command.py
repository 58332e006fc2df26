"""Run this repository on Amazon SageMaker, in one of three ways.

    python -m scripts.sagemaker choose --payload-mb 40 --latency-s 30 --requests-per-hour 20
    python -m scripts.sagemaker package --model whisper=models/whisper --upload s3://bucket/turnscribe
    python -m scripts.sagemaker asynchronous create talk --model-data s3://bucket/turnscribe/model.tar.gz \\
        --role arn:aws:iam::123456789012:role/sagemaker --asr-model whisper \\
        --output s3://bucket/answers --failure s3://bucket/failures --max-instances 2
    python -m scripts.sagemaker asynchronous delete talk

`real-time` (6 MB and 60 s a request), `asynchronous` (1 GB, down to zero instances) and `transform` (100 MB, a job
over a folder in S3) each have `create`, `describe` and `delete`. A create that was interrupted goes on when it is
repeated. `--dry-run` prints the requests. Credentials are AWS's own; the Hub's token comes from a file or the
environment and is never printed.

Exit status: 0 done, 1 refused or failed, 2 wrong usage or settings, 130 Ctrl-C.
The requests themselves are made in the other modules of this folder, and boto3 sends them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from adapters.sagemaker import endpoint_commands, job_commands, recordings
from adapters.sagemaker.arguments import parser
from adapters.sagemaker.choice import ASYNCHRONOUS, REAL_TIME, TRANSFORM, choose, comparison
from adapters.sagemaker.control_plane import Clients
from adapters.sagemaker.errors import Refused, explained
from adapters.sagemaker.package import build_archive, name_inside
from adapters.sagemaker.request import check_name, check_s3
from adapters.sagemaker.steps import token_of
from turnscribe.checkpoints.catalogue import find
from turnscribe.checkpoints.fetch import fetch
from turnscribe.cli.endpoints.request import masked
from turnscribe.cli.endpoints.waiting import Tell
from turnscribe.errors import SettingsError

ACTIONS: dict[str, dict[str, Callable[..., int]]] = {
    REAL_TIME.command: endpoint_commands.ACTIONS,
    ASYNCHRONOUS.command: endpoint_commands.ACTIONS,
    TRANSFORM.command: job_commands.ACTIONS,
}
SECRETS = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def main(
    argv: Sequence[str] | None = None, *, clients: Clients | None = None, environ: Mapping[str, str] | None = None
) -> int:
    """`clients` gives a boto3 client for a service's name."""
    args = parser().parse_args(argv)
    environ = os.environ if environ is None else environ
    hidden = [environ.get(name, "") for name in SECRETS]

    def tell(text: str, *, result: bool = False) -> None:
        stream = sys.stdout if result else sys.stderr
        try:
            print(masked(text, hidden), file=stream, flush=True)
        except BrokenPipeError:  # `| head` has read enough; what is being done goes on
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    try:
        if args.way == "choose":
            return _choose(args, tell)
        connected = clients or connect(getattr(args, "region", None))
        if args.way == "package":
            return _package(args, connected, tell)
        check_name(args.name)
        token = token_of(args, environ)
        hidden.append(token or "")
        return ACTIONS[args.way][args.action](args, token, connected, tell)
    except (SettingsError, Refused) as error:
        tell(f"error: {error}")
        return 2 if isinstance(error, SettingsError) else 1
    except KeyboardInterrupt:
        tell("\n" + " ".join(["Interrupted.", *_stays(args)]))
        return 130
    except Exception as error:
        sentence = _explained(error)
        if sentence is None:
            raise
        tell("\n".join([f"error: {sentence}", *_stays(args)]))
        return 1


def connect(region: str | None) -> Clients:
    """A client for each service, made when it is first needed."""

    @cache
    def client(service: str) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise SettingsError("boto3 is not installed: `pip install boto3` on the machine that deploys.") from error
        # An invocation may take its 60 s; boto3 would otherwise send the recording a second time meanwhile.
        retries = {"mode": "standard", "total_max_attempts": 1 if service == "sagemaker-runtime" else 5}
        return boto3.client(service, region_name=region, config=Config(retries=retries, read_timeout=70))  # type: ignore[arg-type]

    return client


def _stays(args: argparse.Namespace) -> list[str]:
    """What to know where a create ended when some of its requests were sent."""
    if getattr(args, "action", "") != "create":
        return []
    return [job_commands.STAYS if args.way == TRANSFORM.command else endpoint_commands.STAYS]


def _explained(error: Exception) -> str | None:
    try:
        return explained(error)
    except ImportError:  # without boto3 it is none of its errors
        return None


# --- Without an endpoint --------------------------------------------------------------------------------------


def _choose(args: argparse.Namespace, tell: Tell) -> int:
    try:
        choice = choose(
            payload_mb=args.payload_mb,
            latency_s=args.latency_s,
            requests_per_hour=args.requests_per_hour,
            request_s=args.request_s,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if choice.way is None:
        lines = [choice.reason, *choice.notes]
    else:
        counts = {
            REAL_TIME: f"--instances {choice.max_instances}",
            ASYNCHRONOUS: f"--min-instances {choice.min_instances} --max-instances {choice.max_instances}",
            TRANSFORM: "",
        }
        lines = [f"{choice.way.title}: {choice.reason}"]
        lines += [f"Not {title}: {reason}" for title, reason in choice.against.items()]
        lines += [
            *choice.notes,
            f"python -m scripts.sagemaker {choice.way.command} create NAME {counts[choice.way]}".strip(),
        ]
    tell("\n".join(lines + (["", comparison()] if args.table else [])), result=True)
    return 0 if choice.way else 1


def weights_of(path: str, tell: Tell) -> Path:
    """Weights at a path, or those of a named model, which is fetched if it is not there. Raises `SettingsError`."""
    model = None if Path(path).exists() else find(path)
    return fetch(model.name, say=tell) if model else Path(path)


def _package(args: argparse.Namespace, clients: Clients, tell: Tell) -> int:
    from tqdm import tqdm

    if args.upload:
        check_s3(args.upload, "--upload")
    models = {}
    for pair in args.model:
        name, equals, path = pair.partition("=")
        if not equals or not path:
            raise SettingsError("--model takes NAME=PATH, for example --model whisper=models/whisper.")
        models[name] = weights_of(path, tell)
    with tqdm(total=100, unit="%", desc="package", leave=False) as bar:
        archive = build_archive(
            Path(args.output), models=models, on_progress=lambda share: bar.update(int(100 * share) - bar.n)
        )
    tell(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB", result=not args.upload)
    if models:
        inside = ", ".join(name_inside(name, path) for name, path in models.items())
        tell(f"for --asr-model and the other models' options: {inside}")
    if args.upload:
        tell(recordings.upload(clients, archive, args.upload), result=True)
    return 0
