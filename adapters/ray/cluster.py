"""Which cluster, what its workers get, and how many of them there will be."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from adapters.environment import worker_environment
from turnscribe.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]
CONNECT_SECONDS = 10.0
LEFT_AT_HOME = (  # of the code that goes to a cluster, beside what .gitignore names
    ".git .ci .venv* build docs tests **/__pycache__ **/*.pyc .*_cache .hypothesis **/.env* **/*-token.txt"
).split()


def build_init(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `ray.init`; without an address, of a cluster of this machine that ends with the job.

    That one has the address "local": without it Ray would join a cluster that RAY_ADDRESS or a file of its own names.
    """
    arguments: dict[str, Any] = {"log_to_driver": args.worker_logs, "logging_level": "error"}
    if args.address is None:
        sizes = {"object_store_memory": args.object_store_memory, "_temp_dir": args.temp_dir, "num_cpus": args.cpus}
        arguments |= {"address": "local", "include_dashboard": False}
        return arguments | {name: value for name, value in sizes.items() if value}
    if args.upload:
        arguments["runtime_env"] = {"working_dir": str(ROOT), "excludes": LEFT_AT_HOME}
    return arguments | {"address": args.address}


def check_address(address: str) -> None:
    """Raises `SettingsError` where nobody listens at HOST:PORT; Ray itself goes on trying for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as e:
        raise SettingsError(
            f"No cluster answers at {address}: give the address that `ray start --head` printed, or auto."
        ) from e


def join_cluster(args: argparse.Namespace) -> None:
    """`ray.init`; raises `SettingsError` for whatever it raises."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of this process, which would print it
    import ray
    from ray.exceptions import RayError

    if args.address not in (None, "auto"):
        check_address(args.address)
    try:
        ray.init(**build_init(args))  # ends with the process, after the report is written
    except (RayError, ValueError, RuntimeError, OSError) as e:
        why = " ".join(str(e).split()) or type(e).__name__
        if args.address is None:
            what, check = "on this machine could not be started", "--cpus, --object-store-memory and --temp-dir"
        else:  # a wrong token is seldom called one
            what, check = f"at {args.address} could not be joined", "that it runs, RAY_AUTH_TOKEN and Ray's version"
        raise SettingsError(f"The cluster {what} ({why}): check {check}.") from e


def build_environment(environ: Mapping[str, str], names: Sequence[str] = ()) -> dict[str, SecretStr]:
    """The variables that the workers take over: `worker_environment`'s and those in `names`.

    They travel as an argument and not in Ray's `runtime_env`, which Ray writes into its logs. Raises `SettingsError`.
    """
    if missing := [name for name in names if name not in environ]:
        raise SettingsError(f"{missing[0]} is not set: set it in this shell, or leave out --env {missing[0]}.")
    variables = worker_environment(environ) | {name: environ[name] for name in names}
    return {name: SecretStr(value) for name, value in variables.items()}


def build_actor(args: argparse.Namespace, resources: Mapping[str, float]) -> tuple[int, dict[str, float]]:
    """How many actors, and what each takes of the cluster's `resources`; raises `SettingsError` where none fits."""
    gpus = args.gpus_per_actor
    if gpus is None:
        gpus = 1.0 if resources.get("GPU") else 0.0
    share = {"num_cpus": args.cpus_per_actor, "num_gpus": gpus}
    name, per_actor = ("GPU", gpus) if gpus else ("CPU", args.cpus_per_actor)
    number = args.actors or int(resources.get(name, 0) / per_actor)
    if not number:
        raise SettingsError(
            f"The cluster has {resources.get(name, 0):g} {name} and an actor takes {per_actor:g}: give each less "
            f"(--{name.lower()}s-per-actor), or say with --actors for how many the cluster will grow."
        )
    return number, share
