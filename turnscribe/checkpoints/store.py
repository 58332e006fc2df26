"""Where named models are kept on this machine, and whether one is there.

    HOME/models/NAME/    a finished model, moved there in one step
    HOME/partial/NAME/   what is being fetched
    HOME/locks/          held while a model is fetched or removed

HOME is `TURNSCRIBE_HOME`, else `turnscribe` in `XDG_CACHE_HOME`, else `~/.cache/turnscribe`. Where the first is not
set and the others cannot be written, as for a container's user without a home, it is a folder of this user alone in
the temporary directory. A model is found in whichever has it, so an image may bring models in a folder that nobody
writes.

Fetches nothing, and knows nothing of the Hub's own cache.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from turnscribe.checkpoints.catalogue import Catalogue, NamedModel, find
from turnscribe.errors import SettingsError

HOME_VARIABLE = "TURNSCRIBE_HOME"
HAS_USERS = hasattr(os, "getuid")  # and a temporary directory that they share; Windows has neither


def folder_of(
    name: str, *, catalogue: Catalogue | None = None, environ: Mapping[str, str] | None = None
) -> Path | None:
    """The folder of a named model that is there whole, else `None`; `None` too for what is no named model."""
    model = find(name, catalogue)
    if model is None:
        return None
    for home in homes(environ):
        if is_whole(model, folder := home / "models" / model.name):
            return folder
    return None


def is_whole(model: NamedModel, folder: Path) -> bool:
    """Are all files there in their sizes? Hashes were checked before the folder came to be."""
    return not missing_files(model, folder)


def missing_files(model: NamedModel, folder: Path) -> list[str]:
    """Paths in the folder of the files that are not there, or not in their size."""
    return [file.path for file in model.files if _size(folder / file.path) != file.size]


def homes(environ: Mapping[str, str] | None = None) -> list[Path]:
    """The folders that may have models, the first one first; they need not exist."""
    environ = os.environ if environ is None else environ
    if given := environ.get(HOME_VARIABLE, "").strip():
        return [Path(given).expanduser().absolute()]
    return [*_cache_folders(environ), *_temporary_folder()]


def home_to_write(environ: Mapping[str, str] | None = None) -> Path:
    """The first that can be written, made if need be. Raises `SettingsError`."""
    environ = os.environ if environ is None else environ
    given = bool(environ.get(HOME_VARIABLE, "").strip())
    for home in homes(environ) if given else _cache_folders(environ):
        if _make(home):
            return home
    if given:
        raise SettingsError(f"{HOME_VARIABLE} cannot be written: name a folder that this user can write.")
    if not HAS_USERS:
        raise _no_folder()
    private = _temporary_name()
    with contextlib.suppress(OSError):
        private.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(private):
        raise _no_folder()
    return private


def _no_folder() -> SettingsError:
    return SettingsError(
        f"There is no folder to keep models in: set {HOME_VARIABLE} to one that this user can write."
    )


def _cache_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    cache = environ.get("XDG_CACHE_HOME", "").strip()
    if Path(cache).is_absolute():  # the specification says that others do not count
        yield Path(cache) / "turnscribe"
        return
    # with the given variables, and for a user without HOME by the system's list, which may not know this one
    user = environ.get("HOME") or os.path.expanduser("~")
    if Path(user).is_absolute():
        yield Path(user) / ".cache" / "turnscribe"


def _temporary_folder() -> list[Path]:
    """Only if it is safe: a folder that another user could have made may hold anything under a model's name."""
    if not HAS_USERS:
        return []
    private = _temporary_name()
    return [private] if _is_private(private) else []


def _temporary_name() -> Path:
    return Path(tempfile.gettempdir()) / f"turnscribe-{os.getuid()}"


def _is_private(folder: Path) -> bool:
    """Whether it is a folder, and no link to one, of this user that nobody else may enter."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _make(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1
