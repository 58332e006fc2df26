"""Weights that torch unpickles, and what to say of them where the installed torch cannot be trusted with them.

`torch.load(weights_only=True)` runs no code that a file brings, but its check has published holes in older versions:
CVE-2025-32434 before torch 2.6, CVE-2026-24747 before 2.10. A serving container brings its own torch, and people have
files of their own, so nothing is refused. One line in the log names the file, the risk and the way out.

Files of the catalogue are known by their hashes, wherever they lie, and nothing is said of them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from turnscribe.checkpoints.catalogue import NAMED, Catalogue

SOUND_TORCH = (2, 10)  # the first whose check has no published hole
PICKLED = (".bin", ".ckpt", ".pt", ".pth")
log = logging.getLogger("turnscribe")


def warn_of(name: str, files: Iterable[Path], *, catalogue: Catalogue = NAMED, torch: str | None = None) -> None:
    """Log a warning of one line if this torch is about to unpickle files that may come from anywhere.

    `name` is the setting and the model, as messages begin; `torch` is the version, if not the installed one.
    """
    version = torch or importlib.metadata.version("torch")
    if is_sound(version):
        return
    found = sorted({file.name for file in files if not is_of_catalogue(file, catalogue)})
    if found:
        log.warning(
            "%s: torch %s unpickles %s, and its check of such files has published holes: name a model whose weights "
            "are safetensors, or install torch %d.%d or newer, unless you trust where the file comes from.",
            name,
            version.partition("+")[0],
            " and ".join(found),
            *SOUND_TORCH,
        )


@contextmanager
def warned(name: str, model: str) -> Iterator[None]:
    """Around a load of transformers: `warn_of` before it for what is here, after it for what was fetched."""
    there = _pickled_for_transformers(model)
    warn_of(name, there)
    yield
    if not there:
        warn_of(name, _pickled_for_transformers(model))


def is_sound(torch: str) -> bool:
    """Whether a version of torch has no published hole in its check.

    >>> is_sound("2.9.1+cu126"), is_sound("2.10.0")
    (False, True)
    """
    return tuple(int(number) for number in re.findall(r"\d+", torch)[:2]) >= SOUND_TORCH


def is_of_catalogue(file: Path, catalogue: Catalogue = NAMED) -> bool:
    """Whether a file has the size and the sha256 of one of a named model. One that cannot be read has not."""
    try:
        size = file.stat().st_size
        hashes = {known.sha256 for model in catalogue for known in model.files if known.size == size}
        if not hashes:
            return False
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() in hashes
    except OSError:
        return False


def pickled_of_pipeline(folder: Path) -> list[Path]:
    """Those in the folder of a pyannote pipeline."""
    return sorted(file for file in folder.rglob("*") if file.suffix in PICKLED and file.is_file())


def _pickled_for_transformers(model: str) -> list[Path]:
    """The files that transformers unpickles of a folder, or of a Hub's model as far as it is in the cache.

    Empty where there are safetensors, which it takes first.
    """
    if Path(model).is_dir():
        folder: Path | None = Path(model)
    else:
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(model, "config.json")
        folder = Path(config).parent if isinstance(config, str) else None
    if folder is None or any(folder.glob("model*.safetensors*")):
        return []
    return sorted(folder.glob("pytorch_model*.bin"))
