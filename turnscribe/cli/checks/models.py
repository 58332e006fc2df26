"""Each model as it stands in a folder, on the Hub or in the cache: is it whole, of the right kind, and how large?

Reads configurations, lists of files and the headers of weights; loads no model and downloads none. Does not know what
the machine has.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnscribe.checkpoints.ctranslate2_whisper import WEIGHTS, describe_ctranslate2, is_ctranslate2
from turnscribe.checkpoints.hub import display_name, explain
from turnscribe.checkpoints.openai_whisper import describe_checkpoint, is_checkpoint
from turnscribe.checkpoints.whisper_components import Dimensions
from turnscribe.cli.checks.access import TIMEOUT, hub_file
from turnscribe.cli.checks.named import NO_ACCOUNT
from turnscribe.cli.checks.results import GB, Result, Status
from turnscribe.diarization.diarizer import OPEN_EMBEDDING, OPEN_SEGMENTATION, is_open
from turnscribe.errors import SettingsError

MEL_BINS = {51866: 128}  # by the vocabulary's size; of all others 80


@dataclass(frozen=True)
class Facts:
    """A model as it stands in its folder or on the Hub; 0 and {} for what is not known."""

    result: Result
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    download: int = 0  # bytes


def look_at(variable: str, model: str, api: Any, offline: str | None) -> Facts:
    """A checkpoint, a folder, a model in the cache where the Hub cannot be reached, else one on the Hub."""
    path = Path(model)
    try:
        if is_checkpoint(model) and variable != "DIARIZATION_MODEL":
            return look_at_checkpoint(variable, model)
        if path.exists():
            return look_at_folder(variable, path.parent if path.suffix == ".yaml" else path)
        return look_at_cache(variable, model, offline) if offline else look_at_hub(variable, model, api)
    except Exception as error:  # a header that is no JSON, a file that cannot be read
        detail = f"{display_name(model)} cannot be read ({type(error).__name__})"
        return Facts(Result(variable, "FAILED", detail, "copy the whole model, or name a Hub id"))


def look_at_hub(variable: str, model: str, api: Any) -> Facts:
    """Its files, its configuration, and whether this token may read it."""
    diarizer = variable == "DIARIZATION_MODEL"
    try:
        info = api.model_info(model, files_metadata=True, timeout=TIMEOUT)  # a gate does not hide this
        text = hub_file(api, model, "config.yaml" if diarizer else "config.json")
        config = {} if diarizer else json.loads(text)
    except Exception as error:
        detail, _, advice = str(explain(error, variable, model)).removeprefix(f"{variable} ").partition(": ")
        return Facts(Result(variable, "FAILED", detail, f"{NO_ACCOUNT}; or {advice}" if diarizer else advice))
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    if not diarizer and WEIGHTS in sizes and "model_type" not in config:
        return look_at_hub_ctranslate2(variable, model, api, sizes)
    weights = _weights(sizes)
    if not weights and not diarizer:
        return Facts(Result(variable, "FAILED", f"{model} has no weights for PyTorch", "name a Whisper model"))
    download = sum(weights.values())
    tensors = getattr(info, "safetensors", None)
    parameters = int(tensors.total) if tensors else download // 2  # float16, most likely
    return Facts(_kind(variable, f"{model}, {download / GB:.1f} GB", config), config, parameters, download)


def look_at_hub_ctranslate2(variable: str, model: str, api: Any, sizes: Mapping[str, int]) -> Facts:
    """A Whisper of CTranslate2: its list of tokens, a megabyte, says how large its vocabulary is."""
    name = next((name for name in ("vocabulary.json", "vocabulary.txt") if name in sizes), None)
    if name is None:
        return Facts(Result(variable, "FAILED", f"{model} lacks vocabulary.json", "name a Whisper model"))
    listed = hub_file(api, model, name)
    tokens = len(json.loads(listed)) if name.endswith(".json") else listed.rstrip(b"\n").count(b"\n") + 1
    config = {"vocab_size": tokens, "num_mel_bins": MEL_BINS.get(tokens, 80)}
    download = sizes[WEIGHTS]
    detail = f"{model} in CTranslate2's format, {download / GB:.1f} GB"
    return Facts(Result(variable, "ok", detail), config, download // 2, download)  # float16, most likely


def look_at_cache(variable: str, model: str, offline: str) -> Facts:
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(model, "config.yaml" if variable == "DIARIZATION_MODEL" else "config.json")
    if not isinstance(file, str):
        advice = "unset HF_HUB_OFFLINE or mend the network, or name a folder"
        return Facts(Result(variable, "FAILED", f"{model} is not on this machine, and {offline}", advice))
    if variable == "DIARIZATION_MODEL":
        return Facts(Result(variable, "warning", f"{model} is in the cache, and {offline}", "check again online"))
    found = look_at_folder(variable, Path(file).parent)
    status: Status = "warning" if found.result.status == "ok" else found.result.status
    detail = (
        f"{model} is in the cache, and {offline}" if status == "warning" else f"{model} in the cache is incomplete"
    )
    return dataclasses.replace(found, result=Result(variable, status, detail, "check again online"))


def look_at_folder(variable: str, folder: Path) -> Facts:
    """Is everything there that loading takes? A git-lfs pointer in place of weights counts as missing."""
    advice = "copy the whole model, or name a Hub id"
    if variable != "DIARIZATION_MODEL" and is_ctranslate2(str(folder)):
        detail = f"folder {folder.name}, complete, in CTranslate2's format"
        return _described(variable, detail, describe_ctranslate2, str(folder))
    missing = list(_missing(variable, folder))
    if missing:
        return Facts(Result(variable, "FAILED", f"{folder.name} lacks {', '.join(missing)}", advice))
    if variable == "DIARIZATION_MODEL":
        return Facts(Result(variable, "ok", f"folder {folder.name}, complete"))
    config = json.loads((folder / "config.json").read_text())
    parameters = sum(_parameters(file) for file in folder.glob("*.safetensors"))
    parameters = parameters or sum(file.stat().st_size for file in folder.glob("pytorch_model*.bin")) // 2
    return Facts(_kind(variable, f"folder {folder.name}, complete", config), config, parameters)


def look_at_checkpoint(variable: str, model: str) -> Facts:
    """A file of openai-whisper: as loading would judge it, without its weights."""
    return _described(variable, f"checkpoint {display_name(model)} of openai-whisper", describe_checkpoint, model)


def _described(variable: str, detail: str, describe: Callable[..., tuple[Dimensions, int]], model: str) -> Facts:
    try:
        dims, parameters = describe(model, variable=variable)
    except SettingsError as error:
        wrong, _, advice = str(error).removeprefix(f"{variable} ").rstrip(".").partition(": ")
        return Facts(Result(variable, "FAILED", wrong, advice))
    config = {"vocab_size": dims.n_vocab, "num_mel_bins": dims.n_mels, "d_model": dims.n_text_state}
    config["decoder_layers"] = dims.n_text_layer
    return Facts(Result(variable, "ok", detail), config, parameters)


def _missing(variable: str, folder: Path) -> Iterable[str]:
    if variable == "DIARIZATION_MODEL" and is_open(folder):
        yield from (str(file) for file in (OPEN_SEGMENTATION, OPEN_EMBEDDING) if not _is_whole(folder / file))
        return
    if variable == "DIARIZATION_MODEL":
        wanted = ["config.yaml"]
        if (folder / "config.yaml").is_file():
            wanted += re.findall(r"\$model/(\S+)", (folder / "config.yaml").read_text())
        for name in wanted:
            file = folder / name
            if not (any(map(_is_whole, file.iterdir())) if file.is_dir() else _is_whole(file)):
                yield name
        return
    wanted = ["config.json"]
    if variable == "ASR_MODEL" and not _is_whole(folder / "tokenizer.json"):
        wanted += ["vocab.json", "merges.txt"]
    yield from (name for name in wanted if not _is_whole(folder / name))
    weights = [*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin")]
    if (index := folder / "model.safetensors.index.json").is_file():
        weights = [folder / name for name in set(json.loads(index.read_text())["weight_map"].values())]
    if not weights or not all(map(_is_whole, weights)):
        yield "its weights (model.safetensors)"


def _is_whole(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return not opened.read(40).startswith(b"version https://git-lfs")


def _parameters(file: Path) -> int:
    """Of a safetensors file: 8 bytes of length, then a JSON header with every tensor's shape."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    total = 0
    for name, tensor in header.items():
        size = 1
        for length in tensor.get("shape", ()):
            size *= length
        total += size if name != "__metadata__" else 0
    return total


def _kind(variable: str, detail: str, config: Mapping[str, Any]) -> Result:
    kind = config.get("model_type", "whisper")
    if kind != "whisper":
        return Result(variable, "FAILED", f"{detail}, is a {kind} model", "name a Whisper or distil-whisper model")
    return Result(variable, "ok", detail)


def _weights(sizes: Mapping[str, int]) -> dict[str, int]:
    """What transformers would fetch of a repository that holds several copies: the first kind that is there."""
    for pattern in (r"model\.safetensors", r"model-\d+-of-\d+\.safetensors", r"pytorch_model.*\.bin"):
        if found := {name: size for name, size in sizes.items() if re.fullmatch(pattern, name)}:
            return found
    return {}


def check_assistant(main: Mapping[str, Any], assistant: Mapping[str, Any]) -> Result:
    """The assistant drafts the main model's tokens from the same spectrogram."""
    name = "assistant fits"
    if not main or not assistant:
        return Result(name, "warning", "not checked: a configuration is not known", "mend the models first")
    for key, noun in (("vocab_size", "tokens"), ("num_mel_bins", "mel bins")):
        if main.get(key) != assistant.get(key):
            detail = f"ASSISTANT_MODEL has {assistant.get(key)} {noun}, ASR_MODEL {main.get(key)}"
            return Result(name, "FAILED", detail, "name an assistant of the same vocabulary and generation")
    return Result(name, "ok", f"{main.get('vocab_size')} tokens and {main.get('num_mel_bins')} mel bins, both")
