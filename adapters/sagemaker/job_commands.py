"""`transform`: create, describe and stop a batch transform job, and delete its model, as the command line says."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from adapters.environment import request_defaults
from adapters.sagemaker import control_plane, recordings
from adapters.sagemaker.choice import TRANSFORM
from adapters.sagemaker.control_plane import Clients, look, state_of
from adapters.sagemaker.environment import parse_parameters, shown
from adapters.sagemaker.errors import Refused
from adapters.sagemaker.request import TransformJob, build_transform_job
from adapters.sagemaker.steps import check_no_model, dry_run, model_call
from adapters.sagemaker.waiting import wait_for
from turnscribe.cli.endpoints.confirmation import confirm_deletion
from turnscribe.cli.endpoints.request import masked
from turnscribe.cli.endpoints.waiting import Tell
from turnscribe.errors import SettingsError

STAYS = (
    "What was created stays, and a job that runs costs until its end: repeat the command to go on, or use "
    "`transform stop`."
)


def create(args: argparse.Namespace, token: str | None, clients: Clients, tell: Tell) -> int:
    if bool(args.input) == bool(args.manifest):
        raise SettingsError("The recordings are missing: give --input or --manifest, one of them.")
    job = TransformJob(
        source=args.input or args.manifest,
        manifest=bool(args.manifest),
        output=args.output,
        instance_type=args.instance_type,
        instances=args.instances,
        concurrency=args.concurrency,
        payload_mb=args.max_payload_mb,
        timeout_s=args.request_timeout,
        content_type=args.content_type or recordings.UNKNOWN,
        accept=args.accept,
        # A file of a job has no CustomAttributes; the handler takes these variables as the defaults of its requests.
        parameters=request_defaults(parse_parameters(args.parameter)),
    )
    calls = [build_transform_job(args.name, job, model=args.model_name)]
    if args.model_name:
        check_no_model(args)
    else:
        if not args.model_data or not args.role:
            raise SettingsError("The model is missing: give --model-data and --role, or --model-name.")
        calls.insert(0, model_call(args, TRANSFORM, token, clients))
    if args.dry_run:
        return dry_run(calls, tell)
    for call in calls:
        control_plane.create(clients, call, tell)
    return _watch(args, clients, tell)


def _watch(args: argparse.Namespace, clients: Clients, tell: Tell) -> int:
    def at() -> tuple[str, str | None]:
        state = state_of(_job(args, clients))
        return state, None if state in ("InProgress", "Stopping") else state

    state = at()[0]
    if args.wait:
        state = wait_for(at, what=f"The job {args.name}", timeout=args.timeout, every=args.every, tell=tell)
    if not state.startswith(("Completed", "InProgress")):
        raise Refused(
            f"The job {args.name} is at its end ({state}): what was transcribed is at {args.output}. A name serves "
            "once: give the next job another."
        )
    tell(f"{args.name}: {state}; {args.output}", result=True)
    return 0


def _job(args: argparse.Namespace, clients: Clients) -> dict[str, Any]:
    job = look(clients, "describe_transform_job", TransformJobName=args.name)
    if job is None:
        raise Refused(f"There is no transform job {args.name} in this region: check the name and --region.")
    return job


def describe(args: argparse.Namespace, token: str | None, clients: Clients, tell: Tell) -> int:
    job = _job(args, clients)
    lines = [f"transform job {args.name}: {state_of(job)}", control_plane.limits_of(TRANSFORM)]
    lines += control_plane.describe_model(clients, job["ModelName"])
    lines.append(f"recordings: {job['TransformInput']['DataSource']['S3DataSource']['S3Uri']}")
    lines.append(f"results: {job['TransformOutput']['S3OutputPath']}")
    lines += [f"{name}={value}" for name, value in sorted(shown(job.get("Environment", {})).items())]
    tell(masked("\n".join(lines), control_plane.secrets_of(clients, job["ModelName"])), result=True)
    return 1 if job["TransformJobStatus"] == "Failed" else 0


def stop(args: argparse.Namespace, token: str | None, clients: Clients, tell: Tell) -> int:
    job = _job(args, clients)
    if job["TransformJobStatus"] == "InProgress":
        clients("sagemaker").stop_transform_job(TransformJobName=args.name)
        tell(f"transform job {args.name}: stopping", result=True)
    else:
        tell(f"transform job {args.name}: {state_of(job)}, nothing to stop", result=True)
    return 0


def delete(args: argparse.Namespace, token: str | None, clients: Clients, tell: Tell) -> int:
    job = look(clients, "describe_transform_job", TransformJobName=args.name)
    if job and job["TransformJobStatus"] in ("InProgress", "Stopping"):
        raise Refused(f"The job {args.name} is running: `transform stop {args.name}` first.")
    control_plane.check_no_endpoint(clients, args.name)
    if not args.yes:
        confirm_deletion(args.name, f"The model {args.name}", tell)
    control_plane.delete_model(clients, args.name, partial(tell, result=True))
    if job:
        tell(f"transform job {args.name}: SageMaker keeps its record, which costs nothing")
    return 0


ACTIONS = {"create": create, "describe": describe, "stop": stop, "delete": delete}
