"""Where models come from, and what to tell the operator when one cannot be loaded.

A model is named by a folder or by an id on the Hugging Face Hub. Knows no model class.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turnscribe.errors import SettingsError

HUB = "https://huggingface.co"


def resolve_model(name: str, root: Path) -> str:
    """A folder in the repository at `root`, then one in the working directory, else `name` as a Hub id."""
    for base in (root, Path.cwd()):
        if (base / name).exists():
            return str(base / name)
    return name


@contextmanager
def loading(variable: str, model: str) -> Iterator[None]:
    """Turns whatever goes wrong inside into one `SettingsError` that names `variable` and what to do."""
    try:
        yield
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(explain(error, variable, model)) from error


def explain(error: BaseException, variable: str, model: str) -> str:
    """One sentence for a failed load; never holds the token or the text of the error."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    name = f"{variable} {shown(model)}"
    page = HUB if _is_path(model) else f"{HUB}/{model}"
    missing = not Path(model).exists()
    for cause in _causes(error):
        if isinstance(cause, GatedRepoError):
            return f"{name} is gated: accept its terms at {page} and set HF_TOKEN to a token that may read it."
        if isinstance(cause, RepositoryNotFoundError):
            return (
                f"{name} was not found on the Hub: check the name at {page}, and if the model is private set "
                "HF_TOKEN to a token that may read it."
            )
        if isinstance(cause, LocalEntryNotFoundError | OfflineModeIsEnabled):
            return f"{name} is not on this machine and the Hub cannot be reached: check the name and the network."
        if missing and (isinstance(cause, HFValidationError) or (isinstance(cause, OSError) and _is_path(model))):
            return f"{name} is neither a model folder nor a Hub id: name a folder that exists, or owner/model."
        if isinstance(cause, HfHubHTTPError) and cause.response is not None:
            status = cause.response.status_code
            if status in (401, 403):
                return (
                    f"{name} was refused by the Hub ({status}): set HF_TOKEN to a valid token with read access "
                    f"to {page}."
                )
            if status != 404:  # that is a file the model lacks
                return f"{name} could not be fetched, the Hub answered {status}: try again later."
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"{name} does not fit into memory: choose a smaller model or a larger device."
    return (
        f"{name} could not be loaded ({type(error).__name__}): check that it is a complete model of the right kind."
    )


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
