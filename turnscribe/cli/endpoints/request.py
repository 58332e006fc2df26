"""What the API is asked for: the arguments of the request, the endpoint's variables and its secrets.

Turns the command line into what huggingface_hub's `create_` and `update_inference_endpoint` take, and refuses secrets
where anyone could read them. Sends nothing, and does not know what a variable means to the handler.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from turnscribe.errors import SettingsError

MODELS = ("ASR_MODEL", "ASSISTANT_MODEL", "DIARIZATION_MODEL")
CREATE_DEFAULTS = {
    "accelerator": "gpu",
    "instance_type": "nvidia-l4",
    "instance_size": "x1",
    "vendor": "aws",
    "region": "us-east-1",
    "min_replica": 0,  # with the timeout: an endpoint nobody calls costs nothing
    "max_replica": 1,
    "scale_to_zero_timeout": 15,  # minutes
}
OPTIONS = (*CREATE_DEFAULTS, "repository", "revision")  # what is sent as it is given
PORT = 8000  # of `python -m server` and the Dockerfile
SECRET_NAME = r"TOKEN|SECRET|PASSWORD|API_KEY"
MASK = "***"


def build_request(
    args: argparse.Namespace, secrets: Mapping[str, str], present: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The arguments of huggingface_hub's `create_` or `update_inference_endpoint`, after the name.

    `present` are the variables the endpoint has: an update sends them along, as the API may replace all of them.
    """
    given = {name: getattr(args, name) for name in OPTIONS}
    request: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if args.command == "create":
        request = {**CREATE_DEFAULTS, "framework": "pytorch", "task": "custom", **request}
    if args.image:
        request["custom_image"] = {"url": args.image, "healthRoute": "/health", "port": args.port or PORT}
    if env := build_env(args):
        request["env"] = {**(present or {}), **env}
    if secrets:
        request["secrets"] = dict(secrets)
    return request


def build_env(args: argparse.Namespace) -> dict[str, str]:
    """The endpoint's variables. Raises `SettingsError` for what is no variable, or ought to be a secret."""
    env = {name: value for name in MODELS if (value := getattr(args, name.lower())) is not None}
    if args.image:
        env["PORT"] = str(args.port or PORT)
    elif args.port:
        raise SettingsError("--port is the custom container's: give --image too, or leave it out.")
    given = parse_variables(args.env, secret_place=_secret_place)
    if "PORT" in given:
        raise SettingsError("--env PORT: use --port, so that the endpoint asks where the server listens.")
    return {**env, **given}


def _secret_place(name: str) -> str:
    return "use --read-token-file" if name == "HF_TOKEN" else f"set it in the environment and use --secret {name}"


def parse_variables(pairs: Sequence[str], *, secret_place: Callable[[str], str]) -> dict[str, str]:
    """`NAME=VALUE` of `--env`. Raises `SettingsError`; for a secret, with what `secret_place` says of it."""
    variables = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise SettingsError("--env takes NAME=VALUE, for example --env MAX_AUDIO_SECONDS=7200.")
        if re.search(SECRET_NAME, name, re.I) or value.startswith("hf_"):
            raise SettingsError(
                f"--env {name} looks like a secret, and a command line is no place for one: {secret_place(name)}."
            )
        variables[name] = value
    return variables


def build_secrets(args: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, str]:
    """An update leaves the endpoint's token alone unless a file is named: HF_TOKEN may be there to manage it."""
    if args.command not in ("create", "update"):
        return {}
    secrets = {}
    for name in args.secret:
        if not environ.get(name):
            raise SettingsError(f"--secret {name}: there is no such variable in the environment of this command.")
        secrets[name] = environ[name]
    if args.read_token_file:
        secrets["HF_TOKEN"] = read_token(args.read_token_file)
    elif args.command == "create" and environ.get("HF_TOKEN"):
        secrets["HF_TOKEN"] = environ["HF_TOKEN"]
    return secrets


def read_token(file: str) -> str:
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The token file {file} cannot be read: name a text file that holds the token."
        ) from error
    if not token or len(token.split()) > 1:
        raise SettingsError(f"The token file {file} does not hold one token and nothing else.")
    return token


def masked(text: str, hidden: Sequence[str]) -> str:
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text
