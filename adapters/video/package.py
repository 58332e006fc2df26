"""Lay out what `aws cloudformation package` uploads: the template, the state machine, and the functions' code.

    python -m scripts.video.package build/video

The functions' code is theirs and the five files of the package that render subtitles; boto3 is Lambda's own. Uploads
and deploys nothing: the AWS command line does.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from turnscribe.errors import SettingsError

REPOSITORY = Path(__file__).resolve().parents[2]
VIDEO = Path("adapters/video")
OWN = ".scripts.video.package"  # an empty file in a folder that was laid out here: what is in it may be removed
CODE = (
    "adapters/__init__.py",
    "adapters/video/__init__.py",
    "adapters/video/media_convert_job.json",
    "turnscribe/__init__.py",
    "turnscribe/errors.py",
    "turnscribe/formats/__init__.py",
    "turnscribe/whisper/__init__.py",
    "turnscribe/whisper/languages.py",
    "turnscribe/transcript.py",
)


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
    functions = sorted((REPOSITORY / VIDEO / "functions").glob("*.py"))
    for source in [*(REPOSITORY / name for name in CODE), *functions]:
        target = code / source.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for name in ("template.yaml", "workflow.asl.json"):
        shutil.copyfile(REPOSITORY / VIDEO / name, folder / name)
    return folder
