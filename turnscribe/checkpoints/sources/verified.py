"""A file of a named model, written while it is hashed: it is there with the right bytes, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from turnscribe.checkpoints.catalogue import ModelFile

BLOCK = 2**20  # bytes


class WrongBytes(Exception):
    """What was sent is not the file that the catalogue knows."""


def write_verified(file: ModelFile, blocks: Iterable[bytes], destination: Path) -> None:
    """Write `blocks`, no more of them than the file has bytes. Raises `WrongBytes`."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        with destination.open("wb") as opened:
            for block in blocks:
                size += len(block)
                if size > file.size:
                    raise WrongBytes(file.path)
                digest.update(block)
                opened.write(block)
        if size != file.size or digest.hexdigest() != file.sha256:
            raise WrongBytes(file.path)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise


def has_right_bytes(file: ModelFile, path: Path) -> bool:
    """Whether a file on this machine is the one that the catalogue knows."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as opened:
        digest = hashlib.sha256()
        for block in blocks_of(opened):
            digest.update(block)
    return digest.hexdigest() == file.sha256


def blocks_of(opened: IO[bytes]) -> Iterator[bytes]:
    while block := opened.read(BLOCK):
        yield block
