"""Loads a checkpoint of openai-whisper (`large-v3.pt`) as a transformers Whisper, without the network.

The file is a zip of `torch.save` with `dims` and `model_state_dict`; no code in it is run. What it lacks comes from
elsewhere: the tokenizer from a vocabulary file (`openai_vocabulary.py`), the rest from `openai_generation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnscribe.checkpoints.hub import display_name
from turnscribe.checkpoints.openai_generation import generation_config
from turnscribe.checkpoints.openai_vocabulary import find_vocabulary, make_tokenizer, read_ranks, special_tokens
from turnscribe.checkpoints.torch_files import read_torch_file
from turnscribe.checkpoints.whisper_components import (
    Dimensions,
    WhisperComponents,
    WhisperWeights,
    weight_shapes,
    whisper_config,
    with_output,
)
from turnscribe.errors import SettingsError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_ATTENTION = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
_IN_BLOCK = {
    **{f"attn.{theirs}": f"self_attn.{ours}" for theirs, ours in _ATTENTION.items()},
    **{f"cross_attn.{theirs}": f"encoder_attn.{ours}" for theirs, ours in _ATTENTION.items()},
    "attn_ln": "self_attn_layer_norm",
    "cross_attn_ln": "encoder_attn_layer_norm",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
    "mlp_ln": "final_layer_norm",
}
_OUTSIDE = {
    "encoder.positional_embedding": "encoder.embed_positions.weight",
    "encoder.ln_post.weight": "encoder.layer_norm.weight",
    "encoder.ln_post.bias": "encoder.layer_norm.bias",
    "decoder.token_embedding.weight": "decoder.embed_tokens.weight",
    "decoder.positional_embedding": "decoder.embed_positions.weight",
    "decoder.ln.weight": "decoder.layer_norm.weight",
    "decoder.ln.bias": "decoder.layer_norm.bias",
}


def is_checkpoint(model: str) -> bool:
    """Whether `model` names a file of openai-whisper, which need not exist, rather than a folder."""
    return Path(model).suffix.lower() == ".pt" and not Path(model).is_dir()


def load_checkpoint(model: str, *, variable: str, device: str, weights: torch.dtype) -> WhisperComponents:
    """The checkpoint with weights of the type `weights` on `device`.

    Beside the model itself memory holds one tensor at a time: the file is mapped, not read.
    Raises `SettingsError` that names `variable`.
    """
    path, name = Path(model), f"{variable} {display_name(model)}"
    dims, state = _read(path, name)
    ranks = _ranks(path, dims, name)
    names = _names(dims, state, name)
    # copied even if the type is right: the model must not depend on the file any more
    tensors = with_output((ours, state.pop(theirs).to(device, weights, copy=True)) for ours, theirs in names.items())
    tokenizer = make_tokenizer(ranks, special_tokens(dims.languages))
    config = whisper_config(dims, end=dims.text_tokens, start=dims.text_tokens + 1)
    decoding = generation_config(config, tokenizer, path.stem.lower())
    return WhisperComponents(WhisperWeights(tensors, config, decoding), tokenizer)


def describe_checkpoint(model: str, *, variable: str) -> tuple[Dimensions, int]:
    """The checkpoint's dimensions and number of parameters.

    Its vocabulary and the shapes of its weights are checked, and no weight is read. Raises `SettingsError` as
    `load_checkpoint` would.
    """
    path, name = Path(model), f"{variable} {display_name(model)}"
    dims, state = _read(path, name)
    _ranks(path, dims, name)
    _names(dims, state, name)
    return dims, sum(weight.numel() for weight in state.values())


def _read(path: Path, name: str) -> tuple[Dimensions, dict[str, Tensor]]:
    """The checkpoint's dimensions and its weights, still in the file."""
    loaded = read_torch_file(path, name, publisher="openai-whisper")
    match loaded:
        case {"dims": dict() as dims, "model_state_dict": dict() as state}:
            return _dimensions(dims, state, name), state
    raise SettingsError(
        f"{name} is not a checkpoint of openai-whisper, which holds dims and model_state_dict: name one, or a folder "
        "in the format of transformers."
    )


def _dimensions(values: Mapping[str, Any], state: Mapping[str, Tensor], name: str) -> Dimensions:
    complete = {field.name for field in fields(Dimensions)} == set(values)
    if complete and all(type(value) is int and value > 0 for value in values.values()):
        dims = Dimensions(**values)
        if dims.are_of_a_whisper and dims.n_audio_layer + dims.n_text_layer < len(state):
            return dims
    raise SettingsError(f"{name} has dims that are not a Whisper's: name a checkpoint of openai-whisper.")


def _ranks(path: Path, dims: Dimensions, name: str) -> dict[bytes, int]:
    """The ranks of the checkpoint's vocabulary, a file beside it or in an installed openai-whisper."""
    file = "multilingual.tiktoken" if dims.multilingual else "gpt2.tiktoken"
    vocabulary = find_vocabulary(file, path.parent)
    if vocabulary is None:
        raise SettingsError(
            f"{name} needs {file}, a file in whisper/assets of openai-whisper: put it beside the checkpoint, or "
            "install openai-whisper."
        )
    ranks = read_ranks(vocabulary)
    if len(ranks) != dims.text_tokens:
        raise SettingsError(
            f"{vocabulary.name} has {len(ranks)} tokens and the checkpoint {dims.text_tokens}: copy it from "
            "openai-whisper."
        )
    return ranks


def _names(dims: Dimensions, state: Mapping[str, Tensor], name: str) -> dict[str, str]:
    """Each weight's name in `state`, by transformers' name. Raises `SettingsError` unless names and shapes fit."""
    names = {_transformers_name(str(key)): key for key in state}
    if {ours: _shape(state[theirs]) for ours, theirs in names.items()} != weight_shapes(dims):
        raise SettingsError(f"{name} does not hold the weights that its dims name: copy it again.")
    return names


def _shape(weight: object) -> torch.Size | None:
    """The shape of a weight; `None` for what is not one."""
    import torch

    return weight.shape if isinstance(weight, torch.Tensor) and weight.is_floating_point() else None


def _transformers_name(name: str) -> str:
    """`encoder.blocks.0.mlp.2.bias` -> `model.encoder.layers.0.fc2.bias`"""
    if name in _OUTSIDE:
        return f"model.{_OUTSIDE[name]}"
    match name.split("."):
        case [part, "blocks", index, *within, kind]:
            inner = ".".join(within)
            return f"model.{part}.layers.{index}.{_IN_BLOCK.get(inner, inner)}.{kind}"
    return f"model.{name}"
