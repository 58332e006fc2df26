"""Create, update, wait for and delete an Inference Endpoint that runs this repository.

    export HF_TOKEN=...  # or `hf auth login`; it may manage Inference Endpoints
    python -m scripts.deploy_endpoint create turnscribe --repository your-name/turnscribe \\
        --asr-model openai/whisper-large-v3 --read-token-file read-token.txt --wait
    python -m scripts.deploy_endpoint update turnscribe --instance-type nvidia-a10g
    python -m scripts.deploy_endpoint delete turnscribe

Without `--image` the endpoint runs Hugging Face's own container with this repository's `handler.py`; with it, the
container that `Dockerfile` builds. `--dry-run` prints what would be sent. Tokens come from the environment and from
files, reach the endpoint as secrets, and are never printed.

Exit status: 0 done, 1 refused or failed to start, 2 wrong usage or settings, 130 Ctrl-C.
How it is sent huggingface_hub knows; what is sent, `turnscribe/cli/endpoints` does. This file has the commands.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from turnscribe.cli.endpoints.confirmation import confirm_deletion
from turnscribe.cli.endpoints.dry_run import dry_run
from turnscribe.cli.endpoints.errors import Refused, explained
from turnscribe.cli.endpoints.request import (
    CREATE_DEFAULTS,
    MODELS,
    PORT,
    build_request,
    build_secrets,
    masked,
    read_token,
)
from turnscribe.cli.endpoints.waiting import Tell, page_of, state_of, wait_until_running
from turnscribe.errors import SettingsError

ENV_SINCE = "0.31"  # huggingface_hub's first version with the parameter `env`


def main(
    argv: Sequence[str] | None = None,
    *,
    api: Any = None,
    environ: Mapping[str, str] | None = None,
    prog: str = "deploy_endpoint",
) -> int:
    """`api` is a `huggingface_hub.HfApi`."""
    args = build_parser(prog).parse_args(argv)
    environ = os.environ if environ is None else environ
    hidden = [environ.get("HF_TOKEN", "")]

    def tell(text: str, *, result: bool = False) -> None:
        print(masked(text, hidden), file=sys.stdout if result else sys.stderr, flush=True)

    try:
        secrets = build_secrets(args, environ)
        hidden += secrets.values()
        own_token = read_token(args.token_file) if args.token_file else None
        hidden.append(own_token or "")
        if api is None:
            from huggingface_hub import HfApi

            api = HfApi(token=own_token)
        hidden.append(str(getattr(api, "token", None) or _stored_token()))
        try:
            return int(COMMANDS[args.command](args, secrets, api, tell))
        except (SettingsError, Refused):
            raise
        except Exception as error:
            sentence = explained(error, args)
            if sentence is None:
                raise
            raise Refused(sentence) from error
    except (SettingsError, Refused) as error:
        tell(f"error: {error}")
        return 2 if isinstance(error, SettingsError) else 1
    except KeyboardInterrupt:
        return 130


def _stored_token() -> str:
    """What huggingface_hub sends where nothing else is said: of the environment, or of `hf auth login`."""
    from huggingface_hub import get_token

    return get_token() or ""


# --- Commands -----------------------------------------------------------------------------------------------


def _create(args: argparse.Namespace, secrets: Mapping[str, str], api: Any, tell: Tell) -> int:
    request = build_request(args, secrets)
    _check_version(api.create_inference_endpoint, request)
    if not args.repository:
        raise SettingsError("--repository is missing: name your copy of this repository, owner/name.")
    if "ASR_MODEL" not in request.get("env", {}):
        tell("note: no --asr-model: the endpoint starts only where its repository's config.py names one.")
    if "HF_TOKEN" in secrets and not args.read_token_file:
        tell(
            "note: the endpoint gets HF_TOKEN of this shell; a token that may only read is safer: --read-token-file."
        )
    if args.dry_run:
        namespace = args.namespace or "your-account"
        return dry_run(
            lambda: api.create_inference_endpoint(args.name, namespace=namespace, token=api.token, **request), tell
        )
    endpoint = api.create_inference_endpoint(args.name, namespace=args.namespace, token=api.token, **request)
    tell(f"{endpoint.name} is created: {page_of(endpoint)}", result=True)
    return _watch(endpoint, args, tell) if args.wait else 0


def _update(args: argparse.Namespace, secrets: Mapping[str, str], api: Any, tell: Tell) -> int:
    request = build_request(args, secrets)
    if not request:
        raise SettingsError("There is nothing to update: give at least one option, for example --max-replica 2.")
    _check_version(api.update_inference_endpoint, request)
    namespace = args.namespace
    if "env" in request:
        endpoint = api.get_inference_endpoint(args.name, namespace=namespace, token=api.token)
        namespace = endpoint.namespace
        request = build_request(args, secrets, endpoint.raw["model"].get("env"))
    if args.dry_run:
        namespace = namespace or "your-account"
        return dry_run(
            lambda: api.update_inference_endpoint(args.name, namespace=namespace, token=api.token, **request), tell
        )
    endpoint = api.update_inference_endpoint(args.name, namespace=namespace, token=api.token, **request)
    tell(f"{endpoint.name} is updated: {page_of(endpoint)}", result=True)
    return _watch(endpoint, args, tell) if args.wait else 0


def _wait(args: argparse.Namespace, secrets: Mapping[str, str], api: Any, tell: Tell) -> int:
    return _watch(api.get_inference_endpoint(args.name, namespace=args.namespace, token=api.token), args, tell)


def _status(args: argparse.Namespace, secrets: Mapping[str, str], api: Any, tell: Tell) -> int:
    endpoint = api.get_inference_endpoint(args.name, namespace=args.namespace, token=api.token)
    compute = endpoint.raw.get("compute", {})
    instance = [compute.get(name) for name in ("accelerator", "instanceType", "instanceSize")]
    lines = [
        f"{endpoint.name}: {state_of(endpoint)}",
        *filter(None, [endpoint.url]),
        f"repository {endpoint.repository}",
    ]
    lines.append("instance " + " ".join(map(str, filter(None, instance))))
    tell("\n".join([*lines, page_of(endpoint)]), result=True)
    return 0


def _delete(args: argparse.Namespace, secrets: Mapping[str, str], api: Any, tell: Tell) -> int:
    endpoint = api.get_inference_endpoint(args.name, namespace=args.namespace, token=api.token)
    if not args.yes:
        confirm_deletion(endpoint.name, f"{endpoint.namespace}/{endpoint.name} ({state_of(endpoint)})", tell)
    endpoint.delete()
    tell(f"{endpoint.name} is deleted.", result=True)
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "create": _create,
    "update": _update,
    "wait": _wait,
    "status": _status,
    "delete": _delete,
}


def _check_version(method: Any, request: Mapping[str, Any]) -> None:
    import huggingface_hub

    if "env" in request and "env" not in inspect.signature(method).parameters:
        raise SettingsError(
            f"huggingface_hub {huggingface_hub.__version__} cannot set variables on an endpoint: install "
            f"{ENV_SINCE} or newer on the machine that deploys, in an environment of its own."
        )


def _watch(endpoint: Any, args: argparse.Namespace, tell: Tell) -> int:
    try:
        tell(wait_until_running(endpoint, timeout=args.timeout, every=args.every, tell=tell), result=True)
    except KeyboardInterrupt:
        tell(f"\nNo longer waiting; {endpoint.name} goes on, and costs, without this command: {page_of(endpoint)}")
        raise
    return 0


# --- The command line ---------------------------------------------------------------------------------------


def build_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Manage this repository's Inference Endpoint.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    summaries = {
        "create": "create an endpoint",
        "update": "change what is given, and leave the rest",
        "wait": "wait until it answers",
        "status": "print its state and address",
        "delete": "delete it for good",
    }
    for name, summary in summaries.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper() + summary[1:]}.")
        add = command.add_argument
        add("name", metavar="NAME", help="the endpoint's name")
        add("--namespace", metavar="ACCOUNT", help="user or organization; default: the token's user")
        add("--token-file", metavar="FILE", help="this command's token; default: HF_TOKEN, or `hf auth login`")
        if name == "delete":
            add("--yes", action="store_true", help="do not ask")
        if name in ("create", "update"):
            _add_options(command)
            add("--wait", action="store_true", help="wait until it answers")
        if name in ("create", "update", "wait"):
            add("--timeout", type=float, default=1800, metavar="SECONDS", help="wait no longer (default: 1800)")
            add("--every", type=float, default=5, metavar="SECONDS", help="look this often (default: 5)")
    return parser


def _add_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--dry-run", action="store_true", help="print the body of the request, secrets masked, and send nothing")
    add("--repository", metavar="OWNER/NAME", help="your copy of this repository")
    add("--revision", help="branch, tag or commit; default: main")
    for name, default in CREATE_DEFAULTS.items():
        number = int if isinstance(default, int) else str
        add("--" + name.replace("_", "-"), type=number, help=f"new endpoints: {default}")
    add("--image", metavar="URL", help="a container made with this repository's Dockerfile; default: Hugging Face's")
    add("--port", type=int, help=f"where that container's server listens; default: {PORT}")
    models = command.add_argument_group("variables of the endpoint (an update keeps the others)").add_argument
    for name in MODELS:
        models("--" + name.lower().replace("_", "-"), metavar="MODEL", help=name)
    models("--env", action="append", default=[], metavar="NAME=VALUE", help="any other variable; repeatable")
    secret = command.add_argument_group("secrets of the endpoint (an update may replace all of them)").add_argument
    secret("--read-token-file", metavar="FILE", help="its HF_TOKEN; a new endpoint's default: this shell's HF_TOKEN")
    secret("--secret", action="append", default=[], metavar="NAME", help="a variable of this shell; repeatable")
