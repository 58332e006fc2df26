"""A checkpoint of openai-whisper (`large-v3.pt`) as the parts of a transformers Whisper, made without the network.

The file is a zip of `torch.save` with `dims` and `model_state_dict`; nothing in it is run. What it lacks comes from a
vocabulary file (`openai_vocabulary.py`) and from what is known of Whisper (`openai_generation.py`). Knows no backend.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnscribe.checkpoints.hub import shown
from turnscribe.checkpoints.openai_generation import generation_config
from turnscribe.checkpoints.openai_vocabulary import (
    ENGLISH_ONLY,
    LANGUAGES,
    TIMESTAMPS,
    find_vocabulary,
    make_tokenizer,
    read_ranks,
    special_tokens,
)
from turnscribe.checkpoints.transformers_versions import dtype_argument
from turnscribe.errors import SettingsError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FRAMES, POSITIONS = 1500, 448  # of every Whisper: what the encoder makes of 30 s, and the most tokens

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
_OUTPUT, _EMBEDDING = "proj_out.weight", "model.decoder.embed_tokens.weight"  # one and the same


@dataclass(frozen=True)
class Converted:
    """What a transformers pipeline would have loaded."""

    model: Any
    tokenizer: Any
    feature_extractor: Any


@dataclass(frozen=True)
class Dimensions:
    """A checkpoint's `dims`, by openai/whisper's names."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    @property
    def multilingual(self) -> bool:
        return self.n_vocab != ENGLISH_ONLY

    @property
    def languages(self) -> int:
        return LANGUAGES[self.n_vocab]

    @property
    def text_tokens(self) -> int:
        """How many there are before the first special one, the end."""
        return self.n_vocab - len(special_tokens(self.languages)) - TIMESTAMPS

    @property
    def are_whispers(self) -> bool:
        """All that does not differ between the released models is theirs."""
        return (
            (self.n_audio_ctx, self.n_text_ctx) == (FRAMES, POSITIONS)
            and self.n_vocab in LANGUAGES
            and self.n_audio_state == self.n_text_state
            and self.n_audio_state % self.n_audio_head == self.n_text_state % self.n_text_head == 0
        )


def is_checkpoint(model: str) -> bool:
    """Whether `model` names a file of openai-whisper, there or not, and no folder."""
    return Path(model).suffix.lower() == ".pt" and not Path(model).is_dir()


def load_checkpoint(model: str, *, variable: str, device: str, weights: torch.dtype) -> Converted:
    """The checkpoint with weights of the type `weights` on `device`.

    Beside the model itself memory holds one tensor at a time: the file is mapped, not read.
    Raises `SettingsError` that names `variable`.
    """
    import torch
    from transformers import WhisperFeatureExtractor

    path, name = Path(model), f"{variable} {shown(model)}"
    dims, state = _read(path, name)
    ranks = _ranks(path, dims, name)
    converted = _empty_model(dims, weights)
    _fill(converted, state, name, torch.device(device), weights)
    tokenizer = make_tokenizer(ranks, dims.languages)
    converted.generation_config = generation_config(converted.config, tokenizer, path.stem.lower())
    return Converted(converted.eval(), tokenizer, WhisperFeatureExtractor(feature_size=dims.n_mels))


def describe_checkpoint(model: str, *, variable: str) -> tuple[Dimensions, int]:
    """The checkpoint's dimensions and number of parameters, its vocabulary and the weights' shapes checked.

    No weight is read. Raises `SettingsError` as `load_checkpoint` would.
    """
    import torch

    path, name = Path(model), f"{variable} {shown(model)}"
    dims, state = _read(path, name)
    _ranks(path, dims, name)
    _names(_empty_model(dims, torch.float32), state, name)
    return dims, sum(weight.numel() for weight in state.values())


def _read(path: Path, name: str) -> tuple[Dimensions, dict[str, Tensor]]:
    """The checkpoint's dimensions and its weights, still in the file."""
    import torch

    if not path.is_file():
        raise SettingsError(f"{name} is not there: name a checkpoint file that exists.")
    try:
        path.open("rb").close()
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: check the permissions of the file.") from error
    if not _is_plain_zip(path):
        raise SettingsError(
            f"{name} is not a whole file of torch.save in its zip format: copy it again, or save it again."
        )
    try:
        # mapped, a file in torch's older format is refused, of which torch 2.5 may run code even so
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise SettingsError(
            f"{name} holds code or objects beside weights, and nothing of it was run: name a checkpoint as "
            "openai-whisper publishes them."
        ) from error
    match loaded:
        case {"dims": dict() as named, "model_state_dict": dict() as state}:
            return _dimensions(named, state, name), state
    raise SettingsError(
        f"{name} is not a checkpoint of openai-whisper, which holds dims and model_state_dict: name one, or a folder "
        "in the format of transformers."
    )


def _is_plain_zip(path: Path) -> bool:
    """Neither cut off nor compressed, which a mapped file cannot be, nor TorchScript, which torch 2.5 would run.

    What is in it the reader says that will load it: a file may be made to show another reader other contents.
    """
    import torch

    try:
        records = torch._C.PyTorchFileReader(str(path)).get_all_records()
        with zipfile.ZipFile(path) as archive:
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    except (RuntimeError, zipfile.BadZipFile):
        return False
    return stored and not any(record.endswith("constants.pkl") for record in records)


def _dimensions(named: Mapping[str, Any], state: Mapping[str, Tensor], name: str) -> Dimensions:
    whole = {field.name for field in fields(Dimensions)} == set(named)
    if whole and all(type(value) is int and value > 0 for value in named.values()):
        dims = Dimensions(**named)
        if dims.are_whispers and dims.n_audio_layer + dims.n_text_layer < len(state):
            return dims
    raise SettingsError(f"{name} has dims that are not a Whisper's: name a checkpoint of openai-whisper.")


def _ranks(path: Path, dims: Dimensions, name: str) -> dict[bytes, int]:
    """The ranks of the checkpoint's vocabulary, which lies beside it or comes from openai-whisper."""
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


def _empty_model(dims: Dimensions, weights: torch.dtype) -> Any:
    """On the device `meta`: it has shapes and holds nothing."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    end = dims.text_tokens
    config = WhisperConfig(
        vocab_size=dims.n_vocab,
        num_mel_bins=dims.n_mels,
        d_model=dims.n_audio_state,
        encoder_layers=dims.n_audio_layer,
        encoder_attention_heads=dims.n_audio_head,
        encoder_ffn_dim=4 * dims.n_audio_state,
        decoder_layers=dims.n_text_layer,
        decoder_attention_heads=dims.n_text_head,
        decoder_ffn_dim=4 * dims.n_text_state,
        max_source_positions=dims.n_audio_ctx,
        max_target_positions=dims.n_text_ctx,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end + 1,
        suppress_tokens=None,  # in the generation configuration
        begin_suppress_tokens=None,
    )
    with torch.device("meta"):
        return WhisperForConditionalGeneration._from_config(
            config, attn_implementation="sdpa", **dtype_argument(weights)
        )


def _fill(model: Any, state: dict[str, Tensor], name: str, device: torch.device, weights: torch.dtype) -> None:
    """Give the empty `model` the weights of `state`, which is emptied."""
    named = _names(model, state, name)
    # copied even where nothing is to convert: the model does not depend on the file any more
    filled = {ours: state.pop(theirs).to(device, weights, copy=True) for ours, theirs in named.items()}
    model.load_state_dict(filled | {_OUTPUT: filled[_EMBEDDING]}, assign=True)
    model.tie_weights()


def _names(model: Any, state: Mapping[str, Tensor], name: str) -> dict[str, str]:
    """What `state` calls each weight of `model`. Raises `SettingsError` where one is missing, or another's."""
    expected = {key: _shape(tensor) for key, tensor in model.state_dict().items() if key != _OUTPUT}
    named = {_converted_name(str(key)): key for key in state}
    if {ours: _shape(state[theirs]) for ours, theirs in named.items()} != expected:
        raise SettingsError(f"{name} does not hold the weights that its dims name: copy it again.")
    return named


def _shape(weight: Any) -> Any:
    import torch

    return weight.shape if isinstance(weight, torch.Tensor) and weight.is_floating_point() else None


def _converted_name(name: str) -> str:
    """`encoder.blocks.0.mlp.2.bias` -> `model.encoder.layers.0.fc2.bias`"""
    if name in _OUTSIDE:
        return f"model.{_OUTSIDE[name]}"
    match name.split("."):
        case [part, "blocks", index, *within, kind]:
            inner = ".".join(within)
            return f"model.{part}.layers.{index}.{_IN_BLOCK.get(inner, inner)}.{kind}"
    return f"model.{name}"
