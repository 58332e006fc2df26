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

REPOSITORY = Path(__file__).resolve().parents[2]
VIDEO = Path("scripts/video")
CODE = (
    "scripts/__init__.py",
    "scripts/video/__init__.py",
    "scripts/video/media_convert_job.json",
    "turnscribe/__init__.py",
    "turnscribe/errors.py",
    "turnscribe/formats.py",
    "turnscribe/languages.py",
    "turnscribe/transcript.py",
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="package", description="Lay out the video workflow for deployment.")
    parser.add_argument("folder", type=Path, help="written anew each time, for example build/video")
    folder = lay_out(parser.parse_args(argv).folder)
    print(f"{folder / 'template.yaml'} is ready for `aws cloudformation package`.")
    return 0


def lay_out(folder: Path) -> Path:
    """`template.yaml`, `workflow.asl.json` and `code/` in `folder`, which may hold those of an earlier time."""
    code = folder / "code"
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


if __name__ == "__main__":
    sys.exit(main())
