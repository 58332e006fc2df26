"""`model.tar.gz` for SageMaker: the code, what it requires, and the weights where they should travel along.

    code/inference.py code/requirements.txt code/handler.py code/config.py code/diarization_utils.py code/turnscribe/
    whisper/ assistant/ diarizer/    weights, under the names that ASR_MODEL=whisper and the others give

The container unpacks it, installs `code/requirements.txt` and imports `code/inference.py`. Equal contents make equal
bytes, and an archive is there whole or not at all.
"""

from __future__ import annotations

import gzip
import re
import tarfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from tqdm.utils import CallbackIOWrapper

from turnscribe.checkpoints.openai_vocabulary import find_vocabulary
from turnscribe.checkpoints.openai_whisper import is_checkpoint
from turnscribe.errors import SettingsError
from turnscribe.files import whole
from turnscribe.listener import OnProgress

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("handler.py", "config.py", "diarization_utils.py")
CODE = "code"
LEVEL = 1  # of gzip: weights hardly get smaller, whatever time is spent
VOCABULARIES = ("gpt2.tiktoken", "multilingual.tiktoken")
# The containers bring torch 2.5 or 2.6, made for their drivers, and Python up to 3.12. That torch must stay: without
# a bound pip replaces it: what pyannote.audio 3.4 needs, speechbrain, asks for 2.7 in its newest versions only.
CONTAINERS = {
    "torch": "torch>=2.5,<2.7",
    "torchvision": "torchvision>=0.20,<0.22",
    "torchaudio": "torchaudio>=2.5,<2.7",
    "pyannote.audio": "pyannote.audio>=3.4,<4",
}


def build_archive(
    destination: Path, *, models: Mapping[str, Path] | None = None, on_progress: OnProgress | None = None
) -> Path:
    """Write the archive and return `destination`; `models` are folders, or `.pt` checkpoints, by their names inside.

    A checkpoint `tiny.pt` named `whisper` gets the path `whisper/tiny.pt`, and its vocabulary goes beside it.
    `on_progress` gets the share of the bytes that are written, 0 to 1. Raises `SettingsError`.
    """
    files = {f"{CODE}/{name}": file for name, file in _code()}
    for name, model in (models or {}).items():
        _check_name(name)
        files |= {f"{name}/{inner}": file for inner, file in _weights(name, Path(model))}
    requirements = build_requirements((REPOSITORY / "requirements.txt").read_text(encoding="utf-8")).encode()
    total = sum(file.stat().st_size for file in files.values())
    written = 0

    def count(size: int) -> None:
        nonlocal written
        written += size
        if on_progress is not None and size:
            on_progress(min(1.0, written / total))

    with (
        whole(destination) as unfinished,
        unfinished.open("wb") as raw,
        gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        _add(archive, f"{CODE}/requirements.txt", BytesIO(requirements), len(requirements))
        for name, path in sorted(files.items()):
            with path.open("rb") as file:
                _add(archive, name, CallbackIOWrapper(count, file), path.stat().st_size)
    return destination


def name_inside(name: str, model: Path) -> str:
    """What ASR_MODEL and the others call these weights: `whisper`, or `whisper/tiny.pt` of a checkpoint."""
    return f"{name}/{model.name}" if model.is_file() else name


def build_requirements(text: str) -> str:
    """`requirements.txt` as the containers need it, in its own order: first what they must keep."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines]
    return "".join(f"{line}\n" for line in dict.fromkeys(map(CONTAINERS.get, names, lines)))


def _code() -> Iterator[tuple[str, Path]]:
    """Path below `code/`, and the file."""
    yield "inference.py", Path(__file__).with_name("inference.py")
    for name in MODULES:
        yield name, REPOSITORY / name
    for name, file in _below(REPOSITORY / "turnscribe"):
        yield f"turnscribe/{name}", file


def _weights(name: str, model: Path) -> Iterator[tuple[str, Path]]:
    """Path below the model's name, and the file."""
    if model.is_file() and is_checkpoint(str(model)):
        yield model.name, model
        for vocabulary in _vocabularies(model):
            yield vocabulary.name, vocabulary
        return
    files = list(_below(model)) if model.is_dir() else []
    if not files:
        raise SettingsError(f"The model {name} is neither a folder with files nor a .pt checkpoint: check its path.")
    yield from files


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Links are followed: the Hub's cache is made of them."""
    for file in folder.rglob("*"):
        relative = file.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
        if not hidden and file.is_file():
            yield relative.as_posix(), file


def _vocabularies(checkpoint: Path) -> list[Path]:
    """Of the tokenizer, which a checkpoint does not hold: beside it, or those of the openai-whisper package.

    Which of them it needs is read when it is loaded; its name tells as well, as openai names them.
    """
    found = {name: file for name in VOCABULARIES if (file := find_vocabulary(name, checkpoint.parent))}
    needed = "gpt2.tiktoken" if checkpoint.stem.lower().endswith(".en") else "multilingual.tiktoken"
    if needed not in found:
        raise SettingsError(
            f"{checkpoint.name} needs {needed} (an English-only model gpt2.tiktoken, and a name that ends in "
            ".en.pt): install openai-whisper, or put the file beside it."
        )
    return list(found.values())


def _check_name(name: str) -> None:
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII) or name == CODE:
        raise SettingsError(
            f"A model cannot be called {name!r} in the archive: take one plain name such as whisper, and not {CODE}."
        )


def _add(archive: tarfile.TarFile, name: str, file: BinaryIO, size: int) -> None:
    """With nothing of this machine: neither times, owners nor modes."""
    member = tarfile.TarInfo(name)
    member.size = size
    archive.addfile(member, file)
