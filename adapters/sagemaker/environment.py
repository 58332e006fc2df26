"""The container's variables: models, limits of the model server, the handler's own, and no secret by accident.

Hugging Face's container (multi-model-server) and the PyTorch container (TorchServe) have names of their own for
limits. SageMaker has no place for secrets: whoever may describe the model reads its variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from adapters.environment import TOKEN
from adapters.repository import REPOSITORY
from adapters.sagemaker.choice import MB, Way
from turnscribe.cli.endpoints.request import MASK, SECRET_NAME
from turnscribe.errors import BadParameters, SettingsError

CONTAINERS = ("huggingface", "pytorch")
SIZES = {  # what the model server calls its largest request and its largest answer, in bytes
    "huggingface": ("MMS_MAX_REQUEST_SIZE", "MMS_MAX_RESPONSE_SIZE"),
    "pytorch": ("TS_MAX_REQUEST_SIZE", "TS_MAX_RESPONSE_SIZE"),
}
PATIENCE = {  # and its time limits, in seconds; TorchServe has one of its own for loading
    "huggingface": ("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS",),
    "pytorch": ("TS_DEFAULT_RESPONSE_TIMEOUT", "TS_DEFAULT_STARTUP_TIMEOUT"),
}
LIMITS = {container: (*SIZES[container], *PATIENCE[container]) for container in CONTAINERS}
LARGEST = 2**31 - 1  # both servers are Java, and these are ints
SLACK = MB  # over SageMaker's own limit, so that it is SageMaker's that is met
LOADING_S = 900  # a worker loads the models when it starts, and the server's patience must outlast that
VALUE_CHARACTERS = 1024  # AWS: the most one variable may have
VARIABLES = 100  # and the most variables


def build_environment(
    way: Way,
    *,
    models: Mapping[str, str],
    token: str | None = None,
    extra: Mapping[str, str] | None = None,
    container: str = "huggingface",
) -> dict[str, str]:
    """Every variable of the container; `extra` wins. Raises `SettingsError`."""
    environment = {
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",  # each would load its own models onto the one GPU
        **dict.fromkeys(SIZES[container], str(way.payload_bytes + SLACK)),
        **dict.fromkeys(PATIENCE[container], str(max(way.seconds, LOADING_S))),
        "MAX_INPUT_BYTES": str(way.payload_bytes),  # the handler's
        **models,
        **({TOKEN: token} if token else {}),
        **(extra or {}),
    }
    for name in LIMITS[container]:
        if not environment[name].isdecimal() or not 0 < int(environment[name]) <= LARGEST:
            raise SettingsError(f"{name} is wrong: give a whole number from 1 to {LARGEST}, which Java can hold.")
    for name, value in environment.items():
        if len(value) > VALUE_CHARACTERS:
            raise SettingsError(f"{name} is too long: SageMaker takes {VALUE_CHARACTERS} characters for a variable.")
    if len(environment) > VARIABLES:
        raise SettingsError(f"There are {len(environment)} variables: SageMaker takes {VARIABLES}.")
    return environment


def secret_place(name: str) -> str:
    """Where a secret goes that was about to be given as a variable."""
    return "use --token-file for the Hub's token, or put the weights into the archive"


def parse_parameters(pairs: Sequence[str]) -> dict[str, str]:
    """A request's parameters, `language=en`, checked as the handler checks them. Raises `SettingsError`."""
    parameters = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError("--parameter takes NAME=VALUE, for example --parameter language=en.")
        parameters[name.strip()] = value.strip()
    try:
        unknown = REPOSITORY.parse(parameters).ignored
    except BadParameters as error:
        raise SettingsError(f"--parameter: {error}") from None
    if unknown:
        raise SettingsError(f"--parameter: there is no {', '.join(unknown)}; the README lists the parameters.")
    return parameters


def shown(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with what looks like a secret masked."""
    return {name: MASK if re.search(SECRET_NAME, name, re.I) else value for name, value in environment.items()}


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    return [value for name, value in environment.items() if re.search(SECRET_NAME, name, re.I)]
