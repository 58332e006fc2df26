"""What is wrong with files and folders, found before any model is loaded: a sentence each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from turnscribe.cli.transcription.batch import check_file
from turnscribe.errors import SettingsError, TurnscribeError
from turnscribe.inputs.limits import Limits
from turnscribe.inputs.look import check_container

CheckFile: TypeAlias = Callable[[Path], None]  # raises `BadAudio`, or `OSError`


def problems_of_files(sources: Iterable[Path], limits: Limits, check: CheckFile = check_container) -> dict[Path, str]:
    """Of each that cannot be transcribed, why; `check` looks into a file that is there."""
    found = {}
    for source in sources:
        try:
            check_file(source, limits)
            check(source)
        except TurnscribeError as error:
            found[source] = str(error)
        except OSError as error:
            found[source] = f"{error.strerror or error} ({error.filename})."
    return found


def check_output_folder(folder: Path) -> None:
    """Raises `SettingsError` where nothing can be written there; makes nothing."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise SettingsError(f"--output-dir {folder}: {there} is a file; name a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SettingsError(f"--output-dir {folder} cannot be written: name a folder that this user can write.")
