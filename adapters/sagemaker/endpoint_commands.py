"""`real-time` and `asynchronous`: create, describe, delete and invoke an endpoint, as the command line says."""

from __future__ import annotations

import argparse
from functools import partial

from adapters.sagemaker import control_plane, recordings
from adapters.sagemaker.choice import ASYNCHRONOUS, REAL_TIME, WAYS, Way
from adapters.sagemaker.control_plane import Clients, look, state_of
from adapters.sagemaker.environment import parse_parameters
from adapters.sagemaker.errors import Refused
from adapters.sagemaker.request import Fleet, Queue, build_endpoint, build_endpoint_config
from adapters.sagemaker.scaling import Scaling, build_scaling, check_scaling
from adapters.sagemaker.steps import dry_run, model_call
from adapters.sagemaker.waiting import wait_for
from turnscribe.cli.endpoints.confirmation import confirm_deletion
from turnscribe.cli.endpoints.request import masked
from turnscribe.cli.endpoints.waiting import Tell

STAYS = "What was created stays, and an endpoint costs: repeat the command to go on, or delete it."


def create(args: argparse.Namespace, token: str | None, clients: Clients, tell: Tell) -> int:
    way = way_of(args)
    model = model_call(args, way, token, clients)
    instances = getattr(args, "instances", 1)  # AWS: an asynchronous one too starts with one and goes to zero later
    fleet = Fleet(args.instance_type, instances, args.startup_timeout, args.ami)
    queue = scaling = None
    if way is ASYNCHRONOUS:
        queue = Queue(args.output, args.failure, args.success_topic, args.error_topic, args.concurrency)
        backlog = args.concurrency if args.backlog is None else args.backlog
        scaling = check_scaling(
            Scaling(args.min_instances, args.max_instances, backlog, args.scale_in_cooldown, args.scale_out_cooldown)
        )
    calls = [model, build_endpoint_config(args.name, fleet, queue), build_endpoint(args.name)]
    if args.dry_run:
        return dry_run(calls + (build_scaling(args.name, scaling) if scaling else []), tell)
    for call in calls:
        control_plane.create(clients, call, tell)
    tell(control_plane.limits_of(way))
    if scaling or args.wait:  # only an endpoint that is in service can be scaled
        _wait_in_service(args, clients, tell)
    if scaling:
        control_plane.create_scaling(clients, args.name, scaling, tell)
    state = state_of(look(clients, "describe_endpoint", EndpointName=args.name) or {})
    tell(f"{args.name}: {state}", result=True)
    return 1 if state.startswith("Failed") else 0


def _wait_in_service(args: argparse.Namespace, clients: Clients, tell: Tell) -> None:
    def at() -> tuple[str, str | None]:
        endpoint = look(clients, "describe_endpoint", EndpointName=args.name)
        if endpoint is None or endpoint["EndpointStatus"] == "Deleting":
            raise Refused(f"The endpoint {args.name} is gone or about to be: somebody deleted it meanwhile.")
        state = state_of(endpoint)
        if endpoint["EndpointStatus"] in ("Failed", "OutOfService", "UpdateRollbackFailed"):
            raise Refused(
                f"The endpoint {args.name} does not run ({state}): its log is in CloudWatch under "
                f"/aws/sagemaker/Endpoints/{args.name}; delete it before it is created again."
            )
        return state, state if endpoint["EndpointStatus"] == "InService" else None

    then = "`describe` shows it, and repeating the command goes on waiting; it costs until it is deleted."
    wait_for(at, what=f"The endpoint {args.name}", timeout=args.timeout, every=args.every, tell=tell, then=then)


def describe(args: argparse.Namespace, token: str | None, clients: Clients, tell: Tell) -> int:
    lines = control_plane.describe_endpoint(clients, args.name, way_of(args))
    tell(masked("\n".join(lines), control_plane.secrets_of(clients, args.name)), result=True)
    return 1 if ": Failed" in lines[0] else 0


def delete(args: argparse.Namespace, token: str | None, clients: Clients, tell: Tell) -> int:
    if not args.yes:
        confirm_deletion(args.name, f"The endpoint {args.name}, its configuration, model and scaling", tell)
    control_plane.delete_endpoint(clients, args.name, way_of(args), partial(tell, result=True))
    if args.wait:

        def at() -> tuple[str, str | None]:
            endpoint = look(clients, "describe_endpoint", EndpointName=args.name)
            return (state_of(endpoint), None) if endpoint else ("gone", "gone")

        wait_for(at, what=f"The end of {args.name}", timeout=args.timeout, every=args.every, tell=tell)
    return 0


def invoke(args: argparse.Namespace, token: str | None, clients: Clients, tell: Tell) -> int:
    parameters = parse_parameters(args.parameter)
    if way_of(args) is REAL_TIME:
        answer = recordings.invoke(
            clients,
            args.name,
            args.recording,
            content_type=args.content_type,
            accept=args.accept,
            parameters=parameters,
        )
    else:
        answer = recordings.invoke_asynchronous(
            clients,
            args.name,
            args.recording,
            folder=args.upload_to,
            content_type=args.content_type,
            accept=args.accept,
            parameters=parameters,
            timeout=args.timeout,
            every=args.every,
            tell=tell,
        )
    tell(answer.decode(errors="replace").rstrip("\n"), result=True)
    return 0


ACTIONS = {
    "create": create,
    "describe": describe,
    "delete": delete,
    "invoke": invoke,
}


def way_of(args: argparse.Namespace) -> Way:
    return next(way for way in WAYS if way.command == args.way)
