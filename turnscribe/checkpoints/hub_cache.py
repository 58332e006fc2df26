"""Models in the Hub's own cache: what is there, fetching just the files that loading takes, removing.

What is named by a Hub id stays where transformers and pyannote look for it. Named models are in `store.py`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from turnscribe.checkpoints.hub import explain
from turnscribe.checkpoints.progress import without_hub_bars
from turnscribe.errors import SettingsError
from turnscribe.files import disk_is_full

if TYPE_CHECKING:
    from huggingface_hub import HfApi, HFCacheInfo

# Kinds of weights that one loads, the first that a repository has. `model.bin` is CTranslate2's.
WEIGHTS = (
    r"model\.safetensors",
    r"model-\d+-of-\d+\.safetensors|model\.safetensors\.index\.json",
    r"pytorch_model\.bin",
    r"pytorch_model-\d+-of-\d+\.bin|pytorch_model\.bin\.index\.json",
    r"model\.bin",
)
BESIDE = re.compile(r"[^/]+\.(json|txt|model|tiktoken)")  # configurations and tokenizers
COPIES = re.compile(r".*\.(fp32|fp16|bf16)[.-].*|.*\.index\.(\w+\.)?json")
OTHER_RUNTIMES = re.compile(r".*\.(onnx|onnx_data|msgpack|h5|ot|tflite|gguf|mlmodel|md|png|jpg|svg|gif|pdf|wav)|\..*")


@dataclass(frozen=True)
class CachedModel:
    """`size` in bytes; `revisions` are their hashes."""

    id: str
    size: int
    revisions: tuple[str, ...]


def cached_models() -> list[CachedModel]:
    """Those in the cache, by name."""
    found = []
    info = _cache()
    for repository in info.repos if info else ():
        if repository.repo_type == "model":
            revisions = tuple(revision.commit_hash for revision in repository.revisions)
            found.append(CachedModel(repository.repo_id, repository.size_on_disk, revisions))
    return sorted(found, key=lambda model: model.id)


def fetch_from_hub(model: str, api: HfApi | None = None) -> Path:
    """The snapshot's folder, with the files one needs; of a pyannote pipeline also the models that it names.

    Raises `SettingsError`, one sentence.
    """
    from huggingface_hub import HfApi

    hub = api or HfApi()
    try:
        info = hub.model_info(model, timeout=10.0)
        names = [file.rfilename for file in info.siblings or ()]
        with nullcontext() if sys.stderr.isatty() else without_hub_bars():
            folder = Path(hub.snapshot_download(model, allow_patterns=_escaped(needed_files(names))))
    except Exception as error:
        if disk_is_full(error):
            raise SettingsError(
                f"{model} could not be fetched: the disk is full; free some, or set HF_HOME to another."
            ) from error
        explained = explain(error, "", model)
        raise type(explained)(str(explained).strip()) from error
    for named in models_of_pipeline(folder):
        fetch_from_hub(named, api)
    return folder


def snapshot_of(model: str) -> Path | None:
    """The newest snapshot in the cache, without asking the Hub."""
    info = _cache()
    revisions = [
        revision
        for repository in (info.repos if info else ())
        if repository.repo_id == model and repository.repo_type == "model"
        for revision in repository.revisions
    ]
    newest = max(revisions, key=lambda revision: ("main" in revision.refs, revision.last_modified), default=None)
    return Path(newest.snapshot_path) if newest else None


def remove_from_cache(model: str) -> int:
    """All revisions; the bytes that were freed, 0 where nothing was there."""
    revisions = [revision for found in cached_models() if found.id == model for revision in found.revisions]
    info = _cache()
    if not revisions or info is None:
        return 0
    strategy = info.delete_revisions(*revisions)
    strategy.execute()
    return int(strategy.expected_freed_size)


def needed_files(names: Iterable[str]) -> list[str]:
    """Of a repository's files those that loading takes: one copy of the weights, and what stands beside them.

    >>> needed_files(["config.json", "model.safetensors", "pytorch_model.bin", "flax_model.msgpack"])
    ['config.json', 'model.safetensors']
    """
    present = list(names)
    if "config.yaml" in present and "config.json" not in present:  # pyannote: it says itself what it is made of
        return [name for name in present if not OTHER_RUNTIMES.fullmatch(name)]
    kinds = ([name for name in present if re.fullmatch(pattern, name)] for pattern in WEIGHTS)
    weights = next((kind for kind in kinds if kind), [])
    beside = [name for name in present if BESIDE.fullmatch(name) and not COPIES.fullmatch(name)]
    return [name for name in present if name in weights or name in beside]


def models_of_pipeline(folder: Path) -> Iterator[str]:
    """Hub ids that a pyannote pipeline's `config.yaml` names as its parts."""
    config = folder / "config.yaml"
    if config.is_file():
        text = config.read_text(encoding="utf-8", errors="replace")
        yield from dict.fromkeys(
            re.findall(r"^\s+(?:embedding|segmentation|plda):\s*([\w-]+/[\w.-]+)\s*$", text, re.MULTILINE)
        )


def _escaped(names: Iterable[str]) -> list[str]:
    """As patterns that match these names and no others."""
    return [re.sub(r"([*?[])", r"[\1]", name) for name in names]


def _cache() -> HFCacheInfo | None:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return scan_cache_dir()
    except CacheNotFound:
        return None
