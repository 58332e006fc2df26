"""Files that are there whole or not at all, full disks, and names for a terminal."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

FULL = (errno.ENOSPC, errno.EDQUOT)
LEAST_FREE_BYTES = 2**22  # on the disk of an output, or nothing is transcribed for it


@contextmanager
def whole(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place once the block has ended without an error.

    Makes the folder. Without `overwrite` a file that is there, or appeared meanwhile, stays as it is and
    `FileExistsError` is raised.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{uuid4().hex}.part")
    try:
        yield unfinished
        if overwrite:
            os.replace(unfinished, path)
        elif path.exists():
            raise FileExistsError(f"{path} is there already.")
        else:
            os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes | str, *, overwrite: bool = True) -> None:
    """Write all of `data` to `path`, or nothing; text as UTF-8, in which what is no character becomes `?`.

    Raises as `whole` does.
    """
    with whole(path, overwrite=overwrite) as unfinished:
        unfinished.write_bytes(data.encode("utf-8", "replace") if isinstance(data, str) else data)


def disk_is_full(error: BaseException) -> bool:
    """Whether a file or a database could not be written for want of room."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in FULL


def free_bytes(folder: Path) -> int:
    """On the disk of a folder, which may not be there yet."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    usage = shutil.disk_usage(there)
    return usage.free if usage.total else sys.maxsize  # some that are mounted over a network tell nothing


def has_room(folder: Path) -> bool:
    """Whether the disk of a folder has room for a transcript."""
    return free_bytes(folder) >= LEAST_FREE_BYTES


def printable(text: str) -> str:
    r"""A text with a file's name in it, without what a terminal would take for an order.

    >>> print(printable("a\x1b[2J.wav"))
    a\x1b[2J.wav
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
