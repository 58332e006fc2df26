"""Files of `torch.save`, read without running anything that they hold."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from turnscribe.checkpoints.pickled_weights import warn_of
from turnscribe.errors import SettingsError


def read_torch_file(path: Path, name: str, *, publisher: str, stand_ins: Sequence[str] = ()) -> Any:
    """What `torch.save` wrote to the file, its tensors still in the file: they are mapped, not read.

    Objects of the types that `stand_ins` names (`package.module.Type`) become empty ones with the same attributes:
    their packages are not imported. Raises `SettingsError`, one sentence that starts with `name`, for files that are
    missing, damaged, or hold other objects, which could run code; `publisher` says whose file would be right.
    Process-wide while it lasts, so meant for start-up.
    """
    import torch

    if not path.is_file():
        raise SettingsError(f"{name} is not there: name a checkpoint file that exists.")
    try:
        path.open("rb").close()
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: check the permissions of the file.") from error
    if not is_plain_zip(path):
        raise SettingsError(
            f"{name} is not a whole file of torch.save in its zip format: copy it again, or save it again."
        )
    warn_of(name, [path])
    try:
        with torch.serialization.safe_globals([_stand_in(path) for path in stand_ins]):
            # `mmap` also refuses torch's older format, in which torch 2.5 may run code in spite of `weights_only`
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise SettingsError(
            f"{name} holds code or objects beside weights, and nothing of it was run: name a checkpoint as "
            f"{publisher} publishes them."
        ) from error


def is_plain_zip(path: Path) -> bool:
    """Whether a zip can be mapped, so is neither cut off nor compressed, and is no TorchScript, which torch 2.5 runs.

    The list of contents comes from torch's own reader: a crafted file can show another reader other contents.
    """
    import torch

    try:
        records = torch._C.PyTorchFileReader(str(path)).get_all_records()
        with zipfile.ZipFile(path) as archive:
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    except (RuntimeError, zipfile.BadZipFile):
        return False
    return stored and not any(record.endswith("constants.pkl") for record in records)


class _StandIn:
    """An object of a type whose package is not imported: whatever it is made of, it keeps its attributes only."""

    def __init__(self, *_: Any) -> None:
        pass


def _stand_in(path: str) -> type:
    module, _, name = path.rpartition(".")
    return type(name, (_StandIn,), {"__module__": module})
