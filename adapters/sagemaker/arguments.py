"""The command line of `python -m scripts.sagemaker`: its commands, options and their help. Does nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from adapters.sagemaker.choice import ASYNCHRONOUS, REAL_TIME, TRANSFORM
from adapters.sagemaker.environment import CONTAINERS, LIMITS
from adapters.sagemaker.image import VERSION
from adapters.sagemaker.inference import ANSWER_TYPES
from adapters.sagemaker.request import Fleet, Queue, TransformJob
from adapters.sagemaker.scaling import Scaling
from turnscribe.cli.endpoints.request import MODELS

Add = Callable[..., Any]  # a parser's add_argument
INSTANCE_TYPE = "ml.g5.xlarge"  # an A10G with 24 GB


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="sagemaker", description="Run this repository on Amazon SageMaker.")
    commands = top.add_subparsers(dest="way", required=True, metavar="COMMAND")
    _choose(commands)
    _package(commands)
    for way in (REAL_TIME, ASYNCHRONOUS, TRANSFORM):
        limits = f"{way.payload_mb} MB" if way is not ASYNCHRONOUS else "1 GB"
        summary = f"{way.title}: up to {limits} and {way.seconds} s a request"
        actions = commands.add_parser(way.command, help=summary, description=f"{summary}.").add_subparsers(
            dest="action", required=True, metavar="ACTION"
        )
        if way is TRANSFORM:
            _transform(actions)
        else:
            _endpoint(actions, asynchronous=way is ASYNCHRONOUS)
    return top


def _choose(commands: argparse._SubParsersAction) -> None:
    add = _command(commands, "choose", "say which of the three ways fits, and why")
    add("--payload-mb", type=float, required=True, metavar="MB", help="the largest recording, in MB of 2**20 bytes")
    add("--latency-s", type=float, required=True, metavar="SECONDS", help="the longest wait; inf: whenever")
    add("--requests-per-hour", type=float, required=True, metavar="N", help="on average")
    add("--request-s", type=float, metavar="SECONDS", help="what a request takes to compute; default: 30 at most")
    add("--table", action="store_true", help="print the comparison of the ways too")


def _package(commands: argparse._SubParsersAction) -> None:
    add = _command(commands, "package", "make model.tar.gz: the code, what it requires, and weights")
    add("--output", default="build/model.tar.gz", metavar="FILE", help="default: build/model.tar.gz")
    add(
        "--model",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="weights to take along. A folder is then --asr-model NAME (or the like), a checkpoint FILE.pt "
        "--asr-model NAME/FILE.pt. PATH may be a named model, such as whisper-base. Repeatable",
    )
    add("--upload", metavar="S3", help="upload it below this address, s3://bucket/prefix")
    add("--region", help="AWS's region; default: the AWS configuration's")


def _endpoint(actions: argparse._SubParsersAction, *, asynchronous: bool) -> None:
    add = _command(actions, "create", "create the endpoint, or go on where creating it was interrupted", name=True)
    _model(add)
    fleet = Fleet(INSTANCE_TYPE)
    add("--instance-type", default=INSTANCE_TYPE, metavar="TYPE", help=f"default: {INSTANCE_TYPE}")
    add("--startup-timeout", type=int, default=fleet.startup_s, metavar="SECONDS", help="60 to 3600, default: 1800")
    add("--ami", metavar="VERSION", help="InferenceAmiVersion, for images that need a newer driver")
    if asynchronous:
        _queue(add)
    else:
        add(
            "--instances",
            type=int,
            default=fleet.instances,
            help="default: 1; they cost until the endpoint is deleted",
        )
    _dry_run(add)
    _waiting(add, "wait until it answers" + (" (it does anyway: scaling comes after)" if asynchronous else ""))
    add = _command(actions, "describe", "print its state, limits, instances and scaling", name=True)
    add = _command(actions, "delete", "delete the endpoint, its configuration, model and scaling", name=True)
    add("--yes", action="store_true", help="do not ask")
    _waiting(add, "wait until it is gone")
    add = _command(actions, "invoke", "transcribe one recording with it", name=True)
    add("recording", metavar="FILE", help="a recording" + (", here or s3://bucket/key" if asynchronous else ""))
    _request(add)
    if asynchronous:
        add("--upload-to", metavar="S3", help="where a recording of this machine goes: s3://bucket/prefix")
        add("--timeout", type=int, default=ASYNCHRONOUS.seconds, metavar="SECONDS", help="at most, and default: 3600")
        add("--every", type=float, default=5, metavar="SECONDS", help="look this often (default: 5)")


def _queue(add: Add) -> None:
    scaling = Scaling()
    add("--output", required=True, metavar="S3", help="where answers go: s3://bucket/prefix")
    add("--failure", required=True, metavar="S3", help="where failures go")
    add("--success-topic", metavar="ARN", help="SNS topic for answers")
    add("--error-topic", metavar="ARN", help="SNS topic for failures")
    concurrency = Queue("", "").concurrency
    add("--concurrency", type=int, default=concurrency, help="requests at once on one instance; default: 1")
    add("--min-instances", type=int, default=scaling.least, help="default: 0")
    add("--max-instances", type=int, default=scaling.most, help="default: 1")
    backlog = "requests that wait or run for one instance before another starts; default: the concurrency"
    add("--backlog", type=float, metavar="N", help=backlog)
    add("--scale-in-cooldown", type=int, default=scaling.in_cooldown_s, metavar="SECONDS", help="default: 600")
    add("--scale-out-cooldown", type=int, default=scaling.out_cooldown_s, metavar="SECONDS", help="default: 300")


def _transform(actions: argparse._SubParsersAction) -> None:
    job = TransformJob("", "", INSTANCE_TYPE)
    add = _command(actions, "create", "start a job over recordings in S3", name=True)
    _model(add, needed=False)
    add("--model-name", metavar="NAME", help="a model that is there already, instead of --model-data and --role")
    add("--input", metavar="S3", help="the recordings: every file whose address starts so; a folder ends with /")
    add("--manifest", metavar="S3", help="instead: a manifest file that names them")
    add("--output", required=True, metavar="S3", help="where `FILE.out` goes: s3://bucket/prefix, outside of --input")
    add("--instance-type", default=INSTANCE_TYPE, metavar="TYPE", help=f"default: {INSTANCE_TYPE}")
    add("--instances", type=int, default=job.instances, help="default: 1; they end with the job")
    add("--concurrency", type=int, default=job.concurrency, help="requests at once to one instance; default: 1")
    add("--max-payload-mb", type=int, default=job.payload_mb, help="times the concurrency at most, and default: 100")
    add("--request-timeout", type=int, default=job.timeout_s, metavar="SECONDS", help="at most, and default: 3600")
    _request(add)
    _dry_run(add)
    _waiting(add, "wait until it is done")
    _command(actions, "describe", "print its state and places", name=True)
    _command(actions, "stop", "stop the job", name=True)
    add = _command(actions, "delete", "delete its model; SageMaker keeps the record of the job", name=True)
    add("--yes", action="store_true", help="do not ask")


def _model(add: Add, *, needed: bool = True) -> None:
    add("--model-data", required=needed, metavar="S3", help="the archive, as `package --upload` printed it")
    add("--role", required=needed, metavar="ARN", help="the execution role: it reads S3 and writes logs")
    add("--image", metavar="URI", help=f"the container; default: Hugging Face's, {VERSION}")
    limits = f"whose limits are set; default: {CONTAINERS[0]}; {CONTAINERS[1]} needs --image"
    add("--container", choices=CONTAINERS, help=limits)
    for name in MODELS:
        add(
            "--" + name.lower().replace("_", "-"),
            metavar="MODEL",
            help=f"{name}: a named model, a Hub id, or what `package` printed",
        )
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="any other variable; repeatable. " + _ENV)
    add("--token-file", metavar="FILE", help="the Hub's token, as HF_TOKEN; whoever may describe the model reads it")
    add("--token-from-environment", action="store_true", help="this shell's HF_TOKEN instead")


_ENV = f"Limits, set to fit the way: {', '.join(LIMITS['huggingface'])}, MAX_INPUT_BYTES"


def _request(add: Add) -> None:
    add("--content-type", metavar="TYPE", help="of the recording; the handler looks for itself")
    first, *others = ANSWER_TYPES
    accept = f"{first} (default), {', '.join(others[:-1])} or {others[-1]}"
    add("--accept", default="application/json", metavar="TYPE", help=accept)
    add("--parameter", action="append", default=[], metavar="NAME=VALUE", help="language=en and others; repeatable")


def _dry_run(add: Add) -> None:
    add("--dry-run", action="store_true", help="print the requests, secrets masked, and send nothing")


def _waiting(add: Add, what: str) -> None:
    add("--wait", action="store_true", help=what)
    add("--timeout", type=float, default=3600, metavar="SECONDS", help="wait no longer (default: 3600)")
    add("--every", type=float, default=15, metavar="SECONDS", help="look this often (default: 15)")


def _command(commands: argparse._SubParsersAction, command: str, summary: str, *, name: bool = False) -> Add:
    made = commands.add_parser(command, help=summary, description=f"{summary[0].upper() + summary[1:]}.")
    if name:
        made.add_argument("name", metavar="NAME", help="its name, and that of all that belongs to it")
        made.add_argument("--region", help="AWS's region; default: the AWS configuration's")
    return made.add_argument
