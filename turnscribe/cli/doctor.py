"""Check, before money is spent, whether the settings of the environment can be served from here.

    ASR_MODEL=openai/whisper-large-v3 HF_TOKEN=... python -m scripts.doctor
    ASR_MODEL=demo/whisper DIARIZATION_MODEL=demo/diarizer python -m scripts.doctor --json

One line a check: ok, warning or FAILED, and what to do. No model is loaded or downloaded, and on a GPU a small random
one is tried; the Hub is asked for sizes, gates and the token's rights, and for nothing where every model is a folder.
Memory is reckoned, not measured.

Exit status: 0 nothing failed, 1 something did. Never prints the token.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from turnscribe.checkpoints.hub import display_name, resolve_model
from turnscribe.cli.checks.access import check_gate, check_token, gates, unreachable
from turnscribe.cli.checks.device import check_device
from turnscribe.cli.checks.machine import Machine, check_disk, check_memory, this_machine
from turnscribe.cli.checks.models import Facts, check_assistant, look_at
from turnscribe.cli.checks.named import check_named
from turnscribe.cli.checks.packages import (
    check_decoding,
    check_import,
    check_python,
    check_torch_pair,
    check_versions,
    version_of,
)
from turnscribe.cli.checks.results import Check, Result, guarded
from turnscribe.deployment import Deployment, package_deployment
from turnscribe.errors import SettingsError
from turnscribe.settings import ModelSettings, ServerSettings, load_settings

HERE = Path(__file__).resolve().parents[2]  # a repository, or where packages are installed
if TYPE_CHECKING:
    from huggingface_hub import HfApi

MODELS = ("ASR_MODEL", "ASSISTANT_MODEL", "DIARIZATION_MODEL")
IMPORTS = ("torch", "torchaudio", "transformers", "pyannote.audio", "huggingface_hub", "numpy", "av", "pydantic")


def main(
    argv: Sequence[str] | None = None,
    *,
    deployment: Deployment | None = None,
    prog: str = "doctor",
    api: HfApi | None = None,
    machine: Machine | None = None,
) -> int:
    """By default of the package's own settings, and of this machine; `api` is asked in place of the Hub's."""
    deployment = deployment or package_deployment()
    args = build_parser(prog).parse_args(argv)
    results: list[Result] = []
    token = os.environ.get("HF_TOKEN", "").strip()
    for name, check in checks(deployment, args.server, api, machine):
        for result in guarded(name, check):
            results.append(result)
            if not args.json:
                print(_masked(str(result), token), flush=True)
    failed = sum(result.status == "FAILED" for result in results)
    if args.json:
        print(_masked(json.dumps([dataclasses.asdict(result) for result in results], indent=2), token))
    else:
        print(f"{failed} of {len(results)} checks failed." if failed else f"All {len(results)} checks passed.")
    return 1 if failed else 0


def build_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Check whether these settings can be served from here.")
    parser.add_argument("--json", action="store_true", help="print the results as a JSON list")
    parser.add_argument("--server", action="store_true", help="check the packages of `python -m server` too")
    return parser


def _masked(text: str, token: str) -> str:
    return text.replace(token, "***") if token else text


def checks(
    deployment: Deployment, server: bool, api: HfApi | None, machine: Machine | None
) -> Iterable[tuple[str, Check]]:
    """Cheap ones first; what depends on the settings comes only where they are valid."""
    yield "python", lambda: check_python(sys.version_info[:2])
    yield "packages", lambda: check_versions("packages", HERE / "requirements.txt")
    yield "torch and torchaudio", lambda: check_torch_pair(version_of("torch"), version_of("torchaudio"))
    for module in IMPORTS:
        yield f"import {module}", partial(check_import, module)
    if server:
        yield (
            "server packages",
            lambda: check_versions("server packages", HERE / "requirements-server.txt", extra="server"),
        )
        yield "server settings", lambda: check_settings("server settings", lambda: load_settings(ServerSettings))
    yield "decoding", check_decoding
    yield "device", check_device
    yield "settings", lambda: check_settings("settings", deployment.load_settings)
    try:
        settings = deployment.load_settings()
    except SettingsError:
        return
    yield "models", lambda: check_models(settings, api or _api(settings.token), machine or this_machine())


def check_settings(name: str, load: Callable[[], ModelSettings | ServerSettings]) -> Result:
    try:
        settings = load()
    except SettingsError as error:
        detail, _, advice = str(error).partition(": ")
        return Result(name, "FAILED", detail, advice or "mend the variable")
    models = {variable: getattr(settings, variable.lower(), None) for variable in MODELS}
    named = ", ".join(f"{variable} {display_name(model)}" for variable, model in models.items() if model)
    return Result(name, "ok", named or "valid")


def check_models(settings: ModelSettings, api: HfApi, machine: Machine) -> Iterable[Result]:
    """Each model, then what they need together."""
    named = {variable: getattr(settings, variable.lower()) for variable in MODELS}
    models = {variable: resolve_model(model, HERE) for variable, model in named.items() if model}
    missing = {
        variable: found for variable in models if (found := check_named(variable, named[variable], models[variable]))
    }
    remote = [model for variable, model in models.items() if variable not in missing and not Path(model).exists()]
    offline = unreachable(api) if remote else None
    yield from guarded("HF_TOKEN", lambda: check_token(settings.token, api, needed=bool(remote), offline=offline))
    facts = {
        variable: Facts(missing[variable][0], download=missing[variable][1].size)
        if variable in missing
        else look_at(variable, model, api, offline)
        for variable, model in models.items()
    }
    yield from (found.result for found in facts.values())
    diarizer = models.get("DIARIZATION_MODEL")
    if diarizer and not offline and "DIARIZATION_MODEL" not in missing:
        for repository in gates(diarizer, version_of("pyannote.audio") or ""):
            yield check_gate(repository, api)
    if "ASSISTANT_MODEL" in facts:
        yield check_assistant(facts["ASR_MODEL"].config, facts["ASSISTANT_MODEL"].config)
    bytes_each = {"float32": 4, "int8": 4, "auto": 2 if machine.device == "cuda" else 4}.get(settings.asr_dtype, 2)
    yield from guarded("memory", lambda: check_memory(facts, machine, bytes_each))
    yield check_disk(sum(found.download for found in facts.values()), machine.disk)


def _api(token: str | None) -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(token=token or False)
