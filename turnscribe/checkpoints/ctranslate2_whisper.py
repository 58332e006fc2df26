"""Loads a Whisper in the format of CTranslate2, which faster-whisper runs, as a transformers Whisper.

`model.bin` is read directly, without the package `ctranslate2` (`ctranslate2_file.py`); dimensions are read off the
weights. `config.json` brings what the converter knew of decoding, and what it leaves out comes from the rules in
`openai_generation.py`. Nothing here needs a network.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from turnscribe.checkpoints.ctranslate2_file import COPY_AGAIN, QUANTIZED, ModelFile, Variable, open_model_file
from turnscribe.checkpoints.ctranslate2_vocabulary import FILES, load_tokenizer, vocabulary_file
from turnscribe.checkpoints.hub import display_name, is_hub_id
from turnscribe.checkpoints.openai_generation import generation_config, released_name
from turnscribe.checkpoints.openai_vocabulary import END, START
from turnscribe.checkpoints.whisper_components import (
    FRAMES,
    Dimensions,
    WeightsInFile,
    WhisperComponents,
    WhisperWeights,
    weight_shapes,
    whisper_config,
)
from turnscribe.errors import SettingsError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import GenerationConfig

WEIGHTS, CONFIG = "model.bin", "config.json"
WANTED = (WEIGHTS, CONFIG, *FILES)  # of a folder or a repository; nothing else is read
KEYS = ("suppress_ids", "suppress_ids_begin", "lang_ids", "alignment_heads")  # of the configuration
KIND, REVISION = "WhisperSpec", 3

# A module of a transformers layer: the variables that hold it, which of their parts it is, and of how many.
_IN_LAYER = {
    "self_attn_layer_norm": ("self_attention/layer_norm", 0, 1),
    **{f"self_attn.{part}_proj": ("self_attention/linear_0", index, 3) for index, part in enumerate("qkv")},
    "self_attn.out_proj": ("self_attention/linear_1", 0, 1),
    "encoder_attn_layer_norm": ("attention/layer_norm", 0, 1),
    "encoder_attn.q_proj": ("attention/linear_0", 0, 1),
    **{f"encoder_attn.{part}_proj": ("attention/linear_1", index, 2) for index, part in enumerate("kv")},
    "encoder_attn.out_proj": ("attention/linear_2", 0, 1),
    "final_layer_norm": ("ffn/layer_norm", 0, 1),
    "fc1": ("ffn/linear_0", 0, 1),
    "fc2": ("ffn/linear_1", 0, 1),
}
_OUTSIDE = {"embed_positions.weight": "position_encodings/encodings", "embed_tokens.weight": "embeddings/weight"}
_EMBEDDING, _OUTPUT = "decoder/embeddings/weight", "decoder/projection/weight"


def is_ctranslate2(model: str) -> bool:
    """Whether `model` is a folder in the format of CTranslate2: its configuration does not say which model it is."""
    folder = Path(model)
    return (folder / WEIGHTS).is_file() and not names_a_model(folder / CONFIG)


def find_ctranslate2(model: str, token: str | None) -> str | None:
    """The folder of a model in this format, else `None`: `model` itself, or where a Hub id was fetched to.

    Of the Hub's files only those that are read are fetched; of other models the configuration alone.
    """
    if Path(model).exists() or not is_hub_id(model):
        return model if is_ctranslate2(model) else None
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        config = hf_hub_download(model, CONFIG, token=token)
    except LocalEntryNotFoundError:  # the Hub did not answer
        raise
    except EntryNotFoundError:  # the repository has no such file
        return None
    if not _is_the_converters(Path(config)):
        return None
    return snapshot_download(model, token=token, allow_patterns=list(WANTED))


def names_a_model(config: Path) -> bool:
    """Whether a `config.json` is one of transformers."""
    try:
        return "model_type" in json.loads(config.read_bytes())
    except (OSError, ValueError, TypeError):
        return False


def _is_the_converters(config: Path) -> bool:
    """Whether a `config.json` was written by CTranslate2's converter for a Whisper."""
    return not names_a_model(config) and any(key.encode() in config.read_bytes() for key in KEYS)


def load_ctranslate2(
    model: str, *, variable: str, device: str, weights: torch.dtype, title: str = ""
) -> WhisperComponents:
    """The folder's model with weights of the type `weights` on `device`.

    The file is mapped, and a weight is read when it is asked for; until then the file has to stay as it is. `title`
    is the model's name where the folder is one of the Hub's cache. Raises `SettingsError` that names `variable`.
    """
    folder, title = Path(model), title or display_name(model)
    name = f"{variable} {title}"
    file = _open(folder, name)
    dims = _dimensions(file, name)
    tokenizer = load_tokenizer(folder, dims.n_vocab, name)
    parts = _parts(dims, file, name)
    end, start = cast("list[int]", tokenizer.convert_tokens_to_ids([END, START]))
    config = whisper_config(dims, end=end, start=start, ffn=_ffn(file))
    decoding = generation_config(config, tokenizer, released_name(title))
    _adopt(decoding, _config(folder, name), dims, name)
    tensors = WeightsInFile(_readers(file, parts, device=device, weights=weights))
    return WhisperComponents(WhisperWeights(tensors, config, decoding), tokenizer)


def describe_ctranslate2(model: str, *, variable: str, title: str = "") -> tuple[Dimensions, int]:
    """The folder's dimensions and number of parameters.

    Its vocabulary and the shapes of its weights are checked, and no weight is read. Raises `SettingsError` as
    `load_ctranslate2` would.
    """
    folder, name = Path(model), f"{variable} {title or display_name(model)}"
    file = _open(folder, name)
    dims = _dimensions(file, name)
    tokenizer = load_tokenizer(folder, dims.n_vocab, name)
    _parts(dims, file, name)
    decoding = generation_config(whisper_config(dims, end=0, start=1, ffn=_ffn(file)), tokenizer, "")
    _adopt(decoding, _config(folder, name), dims, name)
    return dims, sum(math.prod(shape) for shape in weight_shapes(dims, _ffn(file)).values())


def _open(folder: Path, name: str) -> ModelFile:
    vocabulary_file(folder, name)  # before a large file is looked at
    return open_model_file(folder / WEIGHTS, name, kind=KIND, revision=REVISION)


def _dimensions(file: ModelFile, name: str) -> Dimensions:
    """Off the shapes of the weights, whatever other files say; the numbers of heads stand by themselves."""
    try:
        mels = file.variables["encoder/conv1/weight"].shape[1]
        frames, width = file.variables["encoder/position_encodings/encodings"].shape
        positions, text_width = file.variables["decoder/position_encodings/encodings"].shape
        tokens = file.variables[_EMBEDDING].shape[0]
        heads = [file.number(f"{part}/num_heads") for part in ("encoder", "decoder")]
    except (KeyError, IndexError, ValueError) as error:
        raise SettingsError(_misfit(name)) from error
    layers = [
        len({found[1] for variable in file.variables if (found := re.match(rf"{part}/layer_(\d+)/", variable))})
        for part in ("encoder", "decoder")
    ]
    fits = width == text_width and frames == FRAMES and all(layers)
    if not fits or any(count < 1 or width % count for count in heads):
        raise SettingsError(_misfit(name))
    return Dimensions(
        n_mels=mels,
        n_audio_ctx=frames,
        n_audio_state=width,
        n_audio_head=heads[0],
        n_audio_layer=layers[0],
        n_vocab=tokens,
        n_text_ctx=positions,
        n_text_state=width,
        n_text_head=heads[1],
        n_text_layer=layers[1],
    )


def _ffn(file: ModelFile) -> tuple[int, int] | None:
    """The inner widths of the layers of encoder and decoder."""
    names = [f"{part}/layer_0/ffn/linear_0/weight" for part in ("encoder", "decoder")]
    if not all(name in file.variables and file.variables[name].shape for name in names):
        return None  # and what is missing will be found out
    encoder, decoder = (file.variables[name].shape[0] for name in names)
    return encoder, decoder


def _parts(dims: Dimensions, file: ModelFile, name: str) -> dict[str, list[str]]:
    """Each variable's parts by transformers' names, in order ("" where there is none).

    Raises `SettingsError` unless variables and shapes all fit.
    """
    parts: dict[str, list[str]] = {}
    expected: dict[str, tuple[int, ...]] = {}
    for ours, shape in weight_shapes(dims, _ffn(file)).items():
        theirs, index, number = _variable_of(ours)
        parts.setdefault(theirs, [""] * number)[index] = ours
        expected[theirs] = (number * shape[0], *shape[1:])
    used = {*parts, _OUTPUT, *(f"{theirs}_scale" for theirs in (*parts, _OUTPUT))}
    more = [theirs for theirs, variable in file.variables.items() if variable.shape and theirs not in used]
    fits = all(_fits(file.variables, theirs, shape) for theirs, shape in expected.items())
    if more or not fits or not _is_tied(file):
        raise SettingsError(_misfit(name))
    return parts


def _variable_of(ours: str) -> tuple[str, int, int]:
    """`model.encoder.layers.0.self_attn.v_proj.bias` -> `encoder/layer_0/self_attention/linear_0/bias`, 2, 3

    A key has no bias of its own: the file has zeros there, which are left out.
    """
    match ours.removeprefix("model.").split("."):
        case [part, "layers", index, *within, kind]:
            theirs, at, number = _IN_LAYER[".".join(within)]
            return f"{part}/layer_{index}/{theirs}/{_kind(theirs, kind)}", at, number
        case [part, *within]:
            rest = ".".join(within)
            module, kind = within[0], within[-1]
            return f"{part}/{_OUTSIDE.get(rest) or f'{module}/{_kind(module, kind)}'}", 0, 1
    raise AssertionError(ours)


def _kind(module: str, kind: str) -> str:
    return {"weight": "gamma", "bias": "beta"}[kind] if module.endswith("layer_norm") else kind


def _fits(variables: Mapping[str, Variable], theirs: str, shape: tuple[int, ...]) -> bool:
    """Whether a variable has this shape, and where it is quantized a scale for all of it or for each row."""
    variable = variables.get(theirs)
    if variable is None or variable.shape != shape or variable.type == "int32":
        return False
    if variable.type not in QUANTIZED:
        return True
    scale = variables.get(f"{theirs}_scale")
    return scale is not None and scale.shape in ((), shape[:1]) and scale.type not in (*QUANTIZED, "int32")


def _is_tied(file: ModelFile) -> bool:
    """Whether the output layer's weights are those of the embedding, as in every Whisper."""
    import torch

    output, embedding = file.variables.get(_OUTPUT), file.variables[_EMBEDDING]
    if output is None or output.shape != embedding.shape:
        return False
    return output == embedding or torch.equal(file.tensor(_OUTPUT), file.tensor(_EMBEDDING))


def _readers(
    file: ModelFile, parts: Mapping[str, list[str]], *, device: str, weights: torch.dtype
) -> dict[str, Callable[[], Tensor]]:
    """What reads each weight, by transformers' name."""

    def read(theirs: str, part: int, number: int) -> Tensor:
        return file.tensor(theirs, part, number).to(device, weights)

    return {
        key: partial(read, theirs, part, len(ours))
        for theirs, ours in parts.items()
        for part, key in enumerate(ours)
        if key
    }


def _config(folder: Path, name: str) -> dict[str, Any]:
    """What the converter wrote beside the weights; {} where the file is missing."""
    if not (folder / CONFIG).is_file():
        return {}
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except ValueError as error:
        raise SettingsError(f"{name} has a damaged {CONFIG}: copy it again.") from error
    if not isinstance(config, dict):
        raise SettingsError(f"{name} has a damaged {CONFIG}: copy it again.")
    return config


def _adopt(decoding: GenerationConfig, config: Mapping[str, Any], dims: Dimensions, name: str) -> None:
    """Puts what `config` says in the place of the rules; null, a missing key and no heads say nothing."""
    for key, ours in (("suppress_ids", "suppress_tokens"), ("suppress_ids_begin", "begin_suppress_tokens")):
        if config.get(key) is not None:
            setattr(decoding, ours, _ids(config[key], dims.n_vocab, key, name))
    languages = getattr(decoding, "lang_to_id", None)
    if languages and config.get("lang_ids"):
        known = set(_ids(config["lang_ids"], dims.n_vocab, "lang_ids", name))  # special tokens may be among them
        named = {token: id for token, id in languages.items() if id in known}
        decoding.lang_to_id = named or languages  # type: ignore[attr-defined]
    if config.get("alignment_heads"):
        heads = config["alignment_heads"]
        most = (dims.n_text_layer, dims.n_text_head)
        for pair in heads if isinstance(heads, list) else [heads]:
            if not (isinstance(pair, list) and len(pair) == 2 and all(map(_is_below, pair, most))):
                raise SettingsError(
                    f"{name} has alignment_heads in its {CONFIG} that it lacks: copy the file that belongs to it."
                )
        decoding.alignment_heads = heads  # type: ignore[attr-defined]


def _ids(values: Any, tokens: int, key: str, name: str) -> list[int]:
    if not (isinstance(values, list) and all(_is_below(value, tokens) for value in values)):
        raise SettingsError(
            f"{name} has {key} in its {CONFIG} that are no tokens of the model: copy the file that belongs to it."
        )
    return values


def _is_below(value: object, limit: int) -> bool:
    return type(value) is int and 0 <= value < limit


def _misfit(name: str) -> str:
    return f"{name} has a {WEIGHTS} whose weights are not those of a Whisper: {COPY_AGAIN}."
