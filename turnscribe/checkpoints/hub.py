"""Where models come from, and what to tell the operator when one cannot be loaded.

A model is named by a folder or by an id on the Hugging Face Hub. Knows no model class.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turnscribe.errors import ModelUnavailable, SettingsError

HUB = "https://huggingface.co"
BUSY = (408, 425, 429)  # answers that may be others later, as those from 500 on
ASK_SECONDS = 10.0


def resolve_model(name: str, root: Path) -> str:
    """A folder in the repository at `root`, then one in the working directory, else `name` as a Hub id."""
    for base in (root, Path.cwd()):
        if (base / name).exists():
            return str(base / name)
    return name


@contextmanager
def loading(variable: str, model: str) -> Iterator[None]:
    """Turns whatever goes wrong inside into one `SettingsError` that names `variable` and what to do.

    It is a `ModelUnavailable` where the same may go well later.
    """
    try:
        yield
    except SettingsError:
        raise
    except Exception as error:
        raise explain(error, variable, model) from error


def explain(error: BaseException, variable: str, model: str) -> SettingsError:
    """What to raise for a failed load: one sentence, which never holds the token or the text of `error`.

    Where `error` does not tell, the Hub is asked about `model` once more.
    """
    name = f"{variable} {shown(model)}"
    found = _of_the_hub(error, name, model)
    if found is not None:
        return found
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return SettingsError(f"{name} does not fit into memory: choose a smaller model or a larger device.")
    if not (Path(model).exists() or _is_path(model)):
        # to transformers, weights that it could not fetch just now are weights that the model lacks
        now = _of_the_hub(_asked_about(model), name, model)
        if isinstance(now, ModelUnavailable):
            return now
    return SettingsError(
        f"{name} could not be loaded ({type(error).__name__}): check that it is a complete model of the right kind."
    )


def _of_the_hub(error: BaseException | None, name: str, model: str) -> SettingsError | None:
    """What to raise where the Hub, the way to it or the model's name is at fault; `None` for anything else."""
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
            if status in BUSY or status >= 500:
                return ModelUnavailable(f"{name} could not be fetched, the Hub answered {status}: try again later.")
            if status != 404:  # that is a file the model lacks
                return SettingsError(
                    f"{name} was refused by the Hub ({status}): set HF_TOKEN to a valid token with read access "
                    f"to {page}."
                )
    unreachable = f"{name} is not on this machine and the Hub cannot be reached: check the name and the network."
    if any(map(_no_answer, causes)):
        return ModelUnavailable(unreachable)
    if any(isinstance(cause, LocalEntryNotFoundError | OfflineModeIsEnabled) for cause in causes):
        return SettingsError(unreachable)
    return None


def _asked_about(model: str) -> BaseException | None:
    """What comes of asking for the model's page on the Hub; at once where HF_HUB_OFFLINE is set."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(model, timeout=ASK_SECONDS)
    except Exception as error:
        return error
    return None


def _no_answer(error: BaseException) -> bool:
    """An error of the library that huggingface_hub asks with, and none that came as an answer."""
    library = type(error).__module__.partition(".")[0]
    return library in ("requests", "httpx", "httpx2") and getattr(error, "response", None) is None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_path(model: str) -> bool:
    return Path(model).is_absolute() or model.startswith((".", "~")) or model.count("/") > 1


def shown(model: str) -> str:
    """A Hub id as it is; of a path only the last name, since messages hold no path of the server."""
    return Path(model).name if _is_path(model) else model
