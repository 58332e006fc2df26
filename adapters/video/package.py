"""Lay out what `aws cloudformation package` uploads: the template, the state machine, and the functions' code.

    python -m scripts.video.package build/video

The functions' code is theirs and the modules of this repository that they import; boto3 is Lambda's own. Uploads and
deploys nothing: the AWS command line does.
"""

from __future__ import annotations

import argparse
import ast
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from turnscribe.errors import SettingsError

REPOSITORY = Path(__file__).resolve().parents[2]
VIDEO = Path("adapters/video")
IMPORTED = (VIDEO / "functions", Path("turnscribe/formats"))  # the formats are imported by their names
OWN = ".scripts.video.package"  # an empty file in a folder that was laid out here: what is in it may be removed


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="package", description="Lay out the video workflow for deployment.")
    parser.add_argument("folder", type=Path, help="new, empty or of an earlier time, for example build/video")
    try:
        folder = lay_out(parser.parse_args(argv).folder)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{folder / 'template.yaml'} is ready for `aws cloudformation package`.")
    return 0


def lay_out(folder: Path) -> Path:
    """`template.yaml`, `workflow.asl.json` and `code/` in `folder`, written anew where they are of an earlier time.

    Raises `SettingsError` for a folder with anything else in it, which stays as it is.
    """
    code, own = folder / "code", folder / OWN
    if folder.exists() and not own.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{folder} has files of another origin: name a new or an empty folder.")
    folder.mkdir(parents=True, exist_ok=True)
    own.touch()
    if code.exists():
        shutil.rmtree(code)
    modules = [file for place in IMPORTED for file in (REPOSITORY / place).glob("*.py")]
    for source in [REPOSITORY / VIDEO / "media_convert_job.json", *needed_files(modules)]:
        target = code / source.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for name in ("template.yaml", "workflow.asl.json"):
        shutil.copyfile(REPOSITORY / VIDEO / name, folder / name)
    return folder


def needed_files(modules: Iterable[Path]) -> list[Path]:
    """These modules and all of this repository that they import when they are imported, with their packages."""
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _packages(file)
            waiting += [imported for name in _imports(file) if (imported := _file(name))]
    return sorted(found)


def _packages(file: Path) -> Iterator[Path]:
    for folder in file.relative_to(REPOSITORY).parents:
        if folder.name:
            yield REPOSITORY / folder / "__init__.py"


def _imports(file: Path) -> Iterator[str]:
    """Names of modules, or of what is in one, in the statements that run when `file` is imported."""
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield str(statement.module)
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def _file(module: str) -> Path | None:
    """The module's file; `None` where it is none of this repository's."""
    place = REPOSITORY.joinpath(*module.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)
