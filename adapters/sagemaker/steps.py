"""What the commands for endpoints and for jobs share: the token, the model's request and a dry run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence

from adapters.environment import TOKEN
from adapters.sagemaker.choice import Way
from adapters.sagemaker.control_plane import Clients
from adapters.sagemaker.environment import CONTAINERS, build_environment, secret_place, shown
from adapters.sagemaker.image import image_for
from adapters.sagemaker.request import Call, Container, build_model
from turnscribe.cli.endpoints.request import MODELS, parse_variables, read_token
from turnscribe.cli.endpoints.waiting import Tell
from turnscribe.errors import SettingsError


def token_of(args: argparse.Namespace, environ: Mapping[str, str]) -> str | None:
    if getattr(args, "token_file", None):
        return read_token(args.token_file)
    if getattr(args, "token_from_environment", False):
        if not environ.get(TOKEN):
            raise SettingsError("--token-from-environment: HF_TOKEN is not set in the environment of this command.")
        return environ[TOKEN]
    return None


def model_call(args: argparse.Namespace, way: Way, token: str | None, clients: Clients) -> Call:
    if not args.asr_model:
        raise SettingsError("--asr-model is missing: name a Whisper model, on the Hub or in the archive.")
    if args.container == "pytorch" and not args.image:
        raise SettingsError("--container pytorch needs its --image: the default is Hugging Face's.")
    image = args.image or image_for(args.region or clients("sagemaker").meta.region_name, args.instance_type)
    models = {name: value for name in MODELS if (value := getattr(args, name.lower()))}
    extra = parse_variables(args.env, secret_place=secret_place)
    environment = build_environment(
        way, models=models, token=token, extra=extra, container=args.container or CONTAINERS[0]
    )
    return build_model(args.name, Container(image, args.model_data, args.role, environment))


def check_no_model(args: argparse.Namespace) -> None:
    """With --model-name. Raises `SettingsError` where an option is given that only a new model would take."""
    options = ("model_data", "role", "image", "container", *map(str.lower, MODELS), "env")
    options += ("token_file", "token_from_environment")
    if given := [f"--{name.replace('_', '-')}" for name in options if getattr(args, name)]:
        raise SettingsError(
            f"--model-name is a model that is there, with what it was created with: leave out {', '.join(given)}, or "
            "--model-name."
        )


def dry_run(calls: Sequence[Call], tell: Tell) -> int:
    printed = []
    for call in calls:
        request = json.loads(json.dumps(call.request))
        if "PrimaryContainer" in request:
            request["PrimaryContainer"]["Environment"] = shown(request["PrimaryContainer"]["Environment"])
        printed.append({"call": f"{call.service} {call.operation}", "request": request})
    tell("not sent:")
    tell(json.dumps(printed, indent=2), result=True)
    return 0
