"""A named model as the doctor sees it before it looks into folders: of the right kind, and there, or how to get it.

Fetches nothing. What is in the folder of one that is there, `models.py` looks at as at any other folder.
"""

from __future__ import annotations

from pathlib import Path

from turnscribe.checkpoints.catalogue import NamedModel, find
from turnscribe.checkpoints.hub import get_command, kind_of
from turnscribe.checkpoints.store import folder_of
from turnscribe.cli.checks.results import GB, Result

NO_ACCOUNT = "no account needed: DIARIZATION_MODEL=open"


def check_named(variable: str, name: str, resolved: str) -> tuple[Result, NamedModel] | None:
    """What is to be said of a named model that cannot be looked at as a folder, and which; `None` for all others.

    `resolved` is what `resolve_model` makes of `name`.
    """
    model = find(name)
    if model is None:
        return None
    there = folder_of(model.name)
    if Path(resolved).exists() and (there is None or Path(resolved) != there):
        return None  # a folder of this name, which goes first
    if model.kind != (wanted := kind_of(variable)):
        return Result(variable, "FAILED", f"{model.name} is a {model.kind}", f"name a {wanted}"), model
    return None if there else (_not_here(variable, model), model)


def _not_here(variable: str, model: NamedModel) -> Result:
    from huggingface_hub import constants

    detail = f"{model.name} is not on this machine, {model.size / GB:.1f} GB"
    if constants.HF_HUB_OFFLINE:
        return Result(variable, "FAILED", f"{detail}, and HF_HUB_OFFLINE is set", f"run {get_command(model.name)}")
    return Result(variable, "warning", f"{detail}; it is fetched at the start", f"run {get_command(model.name)}")
