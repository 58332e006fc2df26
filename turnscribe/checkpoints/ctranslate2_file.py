"""Reads a model file of CTranslate2 (`model.bin`): which variables it has, and each one when it is asked for.

The format is that of CTranslate2 4.8, `ctranslate2/specs/model_spec.py`: binary version 6, the model's kind and
revision, the variables one after another, then aliases; numbers are little-endian. Nothing in it is code, and no
memory is reserved by a number of it that the file's own size does not bear out. Does not know what a Whisper is.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from turnscribe.errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor

BINARY_VERSION = 6
TYPES = ("float32", "int8", "int16", "int32", "float16", "bfloat16")  # by their number in the file
BYTES = {"float32": 4, "int8": 1, "int16": 2, "int32": 4, "float16": 2, "bfloat16": 2}
QUANTIZED = ("int8", "int16")
LFS_POINTER = b"version https://git-lfs"
COPY_AGAIN = "copy the file again, or convert the model again"


@dataclass(frozen=True)
class Variable:
    """Where a variable's values lie in the file, from byte `offset` on."""

    shape: tuple[int, ...]  # () for a single number
    type: str  # one of `TYPES`
    offset: int

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * BYTES[self.type]


@dataclass(frozen=True)
class ModelFile:
    """A mapped file, whose pages are read when a variable is."""

    kind: str  # "WhisperSpec"
    revision: int
    variables: Mapping[str, Variable]  # aliases too
    mapped: mmap.mmap

    def tensor(self, name: str, part: int = 0, parts: int = 1) -> Tensor:
        """A variable's values, or one of so many equal parts of its rows, in memory of their own.

        What the converter quantized is given as float32: the whole numbers divided by the scale beside them, which is
        one for all (int16) or one for each row (int8).
        """
        values, scale = self._stored(name, part, parts), self.variables.get(f"{name}_scale")
        if scale is None or self.variables[name].type not in QUANTIZED:
            return values
        divisor = self._stored(f"{name}_scale", part, parts if scale.shape else 1).float()
        return values.float() / divisor.reshape(divisor.shape + (1,) * (values.dim() - divisor.dim()))

    def number(self, name: str) -> int:
        """The value of a variable that is a single whole number."""
        return int(self._stored(name).item())

    def _stored(self, name: str, part: int = 0, parts: int = 1) -> Tensor:
        import torch

        variable = self.variables[name]
        size, start = variable.size // parts, variable.offset + (variable.size // parts * part if parts > 1 else 0)
        shape = variable.shape if parts == 1 else (variable.shape[0] // parts, *variable.shape[1:])
        data = torch.frombuffer(self.mapped, dtype=torch.uint8, count=size, offset=start)
        # copied before it is given its type: variables begin at any byte
        copied = data.clone().view(getattr(torch, variable.type)).reshape(shape)
        before = start % mmap.PAGESIZE
        self.mapped.madvise(mmap.MADV_DONTNEED, start - before, size + before)  # its pages are memory of ours, too
        return copied


def open_model_file(path: Path, name: str, *, kind: str, revision: int) -> ModelFile:
    """The file at `path`, which has to be of this `kind` and of no later `revision`.

    Raises `SettingsError`, in which the model is called `name`.
    """
    try:
        with path.open("rb") as opened:
            # an empty file cannot be mapped; writable for torch's sake: a page that were written would be our own
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) if opened.read(1) else None
    except FileNotFoundError as error:
        raise SettingsError(f"{name} lacks {path.name}: copy the whole model.") from error
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: check the permissions of {path.name}.") from error
    if mapped is None:
        raise SettingsError(f"{name} has an empty {path.name}: {COPY_AGAIN}.")
    if mapped[: len(LFS_POINTER)] == LFS_POINTER:
        raise SettingsError(f"{name} has a git-lfs pointer in place of {path.name}: fetch it with git lfs pull.")
    try:
        return _Parser(mapped, f"{name} has a {path.name} that").model_file(kind, revision)
    except _CutOff as error:
        raise SettingsError(f"{name} has a {path.name} that is cut off or damaged: {COPY_AGAIN}.") from error


class _CutOff(Exception):
    """The file ends before what it announces, or announces what cannot be."""


class _Parser:
    """Goes once through a file, over the values of the variables."""

    def __init__(self, data: mmap.mmap, subject: str) -> None:
        self.data, self.at, self.subject = data, 0, subject

    def model_file(self, kind: str, revision: int) -> ModelFile:
        own_kind, own_revision = self._header(kind, revision)
        variables: dict[str, Variable] = {}
        for _ in range(self._number("I")):
            name = self._string()
            if name in variables:
                raise _CutOff
            variables[name] = self._variable()
        for _ in range(self._number("I")):
            alias, name = self._string(), self._string()
            if name not in variables or alias in variables:
                raise _CutOff
            variables[alias] = variables[name]
            if f"{name}_scale" in variables:
                variables[f"{alias}_scale"] = variables[f"{name}_scale"]
        if self.at != len(self.data):
            raise _CutOff
        return ModelFile(own_kind, own_revision, variables, self.data)

    def _header(self, kind: str, revision: int) -> tuple[str, int]:
        try:
            version = self._number("I")
            own_kind = self._string()
            own_revision = self._number("I")
        except _CutOff:
            version, own_kind, own_revision = 0, "", 0
        if not (0 < version < 1000 and own_kind.isidentifier()):
            raise SettingsError(f"{self.subject} is not CTranslate2's: name a Whisper that its converter made.")
        if own_kind != kind:
            raise SettingsError(f"{self.subject} holds a {own_kind} and no {kind}: name a Whisper.")
        if version > BINARY_VERSION or own_revision > revision:
            raise SettingsError(
                f"{self.subject} is of a later version ({version}, revision {own_revision}) than {BINARY_VERSION}, "
                f"revision {revision}: convert the model with CTranslate2 4."
            )
        if version < BINARY_VERSION:
            raise SettingsError(
                f"{self.subject} is of version {version}, and only {BINARY_VERSION} is read: convert the model with "
                "CTranslate2 4."
            )
        return own_kind, own_revision

    def _variable(self) -> Variable:
        shape = tuple(self._number("I") for _ in range(self._number("B")))
        number = self._number("B")
        if number >= len(TYPES):
            raise SettingsError(
                f"{self.subject} stores weights in a type that is not known ({number}): convert the model as "
                f"{', '.join(type for type in TYPES if type != 'int32')}."
            )
        size = self._number("I")
        variable = Variable(shape, TYPES[number], self.at)
        if size != variable.size or size == 0:
            raise _CutOff
        self._skip(size)
        return variable

    def _number(self, form: str) -> int:
        length = struct.calcsize(f"<{form}")
        start = self.at
        self._skip(length)
        return int(struct.unpack_from(f"<{form}", self.data, start)[0])

    def _string(self) -> str:
        """Stored with its length and a zero at its end."""
        length = self._number("H")
        start = self.at
        self._skip(length)
        stored = self.data[start : self.at]
        if not stored.endswith(b"\0"):
            raise _CutOff
        try:
            return stored[:-1].decode()
        except UnicodeDecodeError as error:
            raise _CutOff from error

    def _skip(self, length: int) -> None:
        if self.at + length > len(self.data):
            raise _CutOff
        self.at += length
