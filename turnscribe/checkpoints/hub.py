"""Where models come from, and what to tell the operator when one cannot be loaded.

The settings name a model by a folder, by a name of the catalogue or by its id on the Hugging Face Hub.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from turnscribe.checkpoints.catalogue import NAMED, Catalogue, Kind, NamedModel, find
from turnscribe.checkpoints.fetch import fetch
from turnscribe.checkpoints.reach import REACH, is_cached, offline
from turnscribe.checkpoints.store import folder_of
from turnscribe.errors import ModelUnavailable, SettingsError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB = "https://huggingface.co"
BUSY_STATUSES = (408, 425, 429)  # a later request may be answered otherwise, as after a status from 500 on
TIMEOUT_SECONDS = 10.0
ID = re.compile(r"[\w.-]+(/[\w.-]+)?")  # of a model on the Hub
log = logging.getLogger("turnscribe")


def resolve_model(name: str, root: Path, *, catalogue: Catalogue | None = None) -> str:
    """Where a model is now: fetches nothing.

    A folder in the repository at `root`, then one in the working directory, then the store's folder of a named model;
    a named model that is not there as its name; else `name` as a Hub id.
    """
    if folder := _folder(name, root):
        return str(folder)
    if model := find(name, catalogue):
        return str(folder_of(model.name, catalogue=catalogue) or model.name)
    return name


def available_model(
    variable: str, name: str, root: Path, *, catalogue: Catalogue | None = None, api: HfApi | None = None
) -> str:
    """As `resolve_model`, for loading: a named model that is not there is fetched, but with HF_HUB_OFFLINE.

    Raises `SettingsError` that begins with `variable`, the setting that names the model.
    """
    model = find(name, catalogue)
    if model is None or _folder(name, root):
        return resolve_model(name, root, catalogue=catalogue)
    found = folder_of(model.name, catalogue=catalogue)
    if found is None or model.kind != kind_of(variable):
        _check_named(variable, model)
    if found:
        return str(found)
    try:
        return str(fetch(model.name, catalogue=catalogue, api=api, say=log.warning))
    except SettingsError as error:
        raise type(error)(f"{variable} {error}") from error.__cause__


def kind_of(variable: str) -> Kind:
    """What kind of model a setting names."""
    return "diarizer" if variable == "DIARIZATION_MODEL" else "Whisper model"


def get_command(name: str) -> str:
    """The command that fetches a model ahead of its loading."""
    return f"turnscribe models get {name}"


@contextmanager
def loading(variable: str, model: str) -> Iterator[None]:
    """Turns every error of loading `model` into one `SettingsError`, which names `variable` and what to do.

    The error is a `ModelUnavailable` where loading again later may succeed. Where the Hub does not answer, a model of
    it is loaded from the cache, without asking it.
    """
    try:
        with _source_of(variable, model):
            yield
    except SettingsError:
        raise
    except Exception as error:
        raise explain(error, variable, model) from error


def check_available(variable: str, name: str, root: Path, *, catalogue: Catalogue | None = None) -> None:
    """Whether a model that a setting names can be loaded, as far as that is known in seconds; fetches nothing.

    Raises `SettingsError` that begins with `variable`.
    """
    from huggingface_hub import constants

    if _folder(name, root):
        return
    model = find(name, catalogue)
    if model is not None:
        if folder_of(model.name, catalogue=catalogue) is None or model.kind != kind_of(variable):
            _check_named(variable, model)
    elif _is_path(name) or not ID.fullmatch(name):
        names = ", ".join(known.name for known in (NAMED if catalogue is None else catalogue))
        raise SettingsError(
            f"{variable} {display_name(name)} is not there: name a folder that exists, one of {names}, or a model of "
            "the Hub as owner/model."
        )
    elif not is_cached(name) and (constants.HF_HUB_OFFLINE or not REACH.is_there()):
        raise _out_of_reach(variable, name)


def _check_named(variable: str, model: NamedModel) -> None:
    """What is known of a named model before it is fetched."""
    from huggingface_hub import constants

    if model.kind != (wanted := kind_of(variable)):
        raise SettingsError(f"{variable} {model.name} is a {model.kind}: name a {wanted}.")
    if constants.HF_HUB_OFFLINE:
        raise SettingsError(
            f"{variable} {model.name} is not on this machine and HF_HUB_OFFLINE is set: "
            f"run `{get_command(model.name)}` first."
        )


def _out_of_reach(variable: str, model: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"{variable} {display_name(model)} is not on this machine and the Hub cannot be reached: check the name and "
        "the network."
    )


def _source_of(variable: str, model: str) -> AbstractContextManager[None]:
    """Nothing, or the cache alone. Raises `ModelUnavailable` where neither the Hub nor the cache has the model."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or Path(model).exists() or not ID.fullmatch(model) or REACH.is_there():
        return nullcontext()
    if not is_cached(model):
        raise _out_of_reach(variable, model)
    log.warning("The Hub cannot be reached: %s is taken from the cache as it is.", model)
    return offline()


def explain(error: BaseException, variable: str, model: str) -> SettingsError:
    """The exception to raise when `error` ended the loading of `model`, which the setting `variable` names.

    Its message is one sentence without the token and without the text of `error`. If `error` does not show whether
    the Hub is at fault, the Hub is asked about `model` once more.
    """
    name = f"{variable} {display_name(model)}"
    explained = _explain_hub_error(error, name, model)
    if explained is not None:
        return explained
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return SettingsError(f"{name} does not fit into memory: choose a smaller model or a larger device.")
    if isinstance(error, ValueError) and "trust_remote_code" in str(error):
        return SettingsError(own_code(name))
    if isinstance(error, ValueError) and "torch.load" in str(error):
        return SettingsError(
            f"{name} has its weights in a .bin file, for which transformers needs torch 2.6 or newer: install it, or "
            "name a model whose weights are safetensors."
        )
    if not (Path(model).exists() or _is_path(model)):
        # transformers reports weights that it could not fetch just now as weights that the model lacks
        hub_error = _ask_hub(model)
        explained = _explain_hub_error(hub_error, name, model) if hub_error else None
        if isinstance(explained, ModelUnavailable):
            return explained
    return SettingsError(
        f"{name} could not be loaded ({type(error).__name__}): check that it is a complete model of the right kind."
    )


def own_code(name: str) -> str:
    """The sentence for a model that needs code of its own; `name` is its setting and it."""
    return f"{name} brings code of its own, which is never run: name a model that transformers knows by itself."


def display_name(model: str) -> str:
    """A Hub id as it is; of a path only the last name, since messages hold no path of the server."""
    return Path(model).name if _is_path(model) else model


def is_hub_id(model: str) -> bool:
    """Whether `model` can be an id on the Hub; a folder of that name comes first."""
    return not _is_path(model)


def _explain_hub_error(error: BaseException, name: str, model: str) -> SettingsError | None:
    """As `explain`, where the Hub, the connection to it or the model's name is at fault; `None` elsewhere."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    page = HUB if _is_path(model) else f"{HUB}/{model}"
    missing = not Path(model).exists()
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, GatedRepoError):
            return SettingsError(
                f"{name} is gated: accept its terms at {page} and set HF_TOKEN to a token that may read it."
            )
        if isinstance(cause, RepositoryNotFoundError):
            return SettingsError(
                f"{name} was not found on the Hub: check the name at {page}, and if the model is private set "
                "HF_TOKEN to a token that may read it."
            )
        if missing and (isinstance(cause, HFValidationError) or (isinstance(cause, OSError) and _is_path(model))):
            return SettingsError(
                f"{name} is neither a model folder nor a Hub id: name a folder that exists, or owner/model."
            )
        if isinstance(cause, HfHubHTTPError) and cause.response is not None:
            status = cause.response.status_code
            if status in BUSY_STATUSES or status >= 500:
                return ModelUnavailable(f"{name} could not be fetched, the Hub answered {status}: try again later.")
            if status != 404:  # that is a file the model lacks
                return SettingsError(
                    f"{name} was refused by the Hub ({status}): set HF_TOKEN to a valid token with read access "
                    f"to {page}."
                )
    unreachable = f"{name} is not on this machine and the Hub cannot be reached: check the name and the network."
    if any(map(_is_connection_error, causes)):
        return ModelUnavailable(unreachable)
    if any(isinstance(cause, LocalEntryNotFoundError | OfflineModeIsEnabled) for cause in causes):
        return SettingsError(unreachable)
    return None


def _ask_hub(model: str) -> Exception | None:
    """The error with which the Hub refuses to show the model, if it does; at once where HF_HUB_OFFLINE is set."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(model, timeout=TIMEOUT_SECONDS)
    except Exception as error:
        return error
    return None


def _is_connection_error(error: BaseException) -> bool:
    """Whether the http library of huggingface_hub raised `error` without an answer of the server."""
    library = type(error).__module__.partition(".")[0]
    return library in ("requests", "httpx", "httpx2") and getattr(error, "response", None) is None


def _folder(name: str, root: Path) -> Path | None:
    """In the repository or the working directory; a file is one too."""
    return next((base / name for base in (root, Path.cwd()) if (base / name).exists()), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error`, what it was raised from, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_path(model: str) -> bool:
    return Path(model).is_absolute() or model.startswith((".", "~")) or model.count("/") > 1
