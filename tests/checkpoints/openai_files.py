"""Random tiny checkpoints in the format of openai-whisper, and vocabulary files of the right size.

Their texts are lively: they stand between timestamps and end by themselves. Needs no openai-whisper;
`platforms/aws/test_openai_checkpoint.py` holds names and shapes against it.
"""

from __future__ import annotations

import base64
import itertools
from pathlib import Path
from typing import Any

import torch

MULTILINGUAL, LARGE_V3, ENGLISH = 51865, 51866, 51864  # sizes of vocabularies
WIDTH = 32
LONGEST = 120  # tokens, about

SHARPNESS = 1.3  # of the scores of text
PLACE = 3.0  # how much the position counts for what is said next
END_SHARE, TIME_SHARE = 0.3, -0.3  # how likely the end and the timestamps are


def dimensions(vocabulary: int, **changed: int) -> dict[str, int]:
    return {
        "n_mels": 128 if vocabulary == LARGE_V3 else 80,
        "n_audio_ctx": 1500,
        "n_audio_state": WIDTH,
        "n_audio_head": 2,
        "n_audio_layer": 2,
        "n_vocab": vocabulary,
        "n_text_ctx": 448,
        "n_text_state": WIDTH,
        "n_text_head": 4,
        "n_text_layer": 3,
        **changed,
    }


def shapes(dims: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Of every weight of openai-whisper's `Whisper`, by name."""
    width = dims["n_audio_state"]

    def linear(name: str, out: int, into: int, *, bias: bool = True) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (out, into)} | ({f"{name}.bias": (out,)} if bias else {})

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

    def attention(name: str) -> dict[str, tuple[int, ...]]:
        parts = [linear(f"{name}.{part}", width, width, bias=part != "key") for part in _ATTENTION]
        return norm(f"{name}_ln") | {key: shape for part in parts for key, shape in part.items()}

    def block(name: str) -> dict[str, tuple[int, ...]]:
        wide = linear(f"{name}.mlp.0", 4 * width, width) | linear(f"{name}.mlp.2", width, 4 * width)
        return attention(f"{name}.attn") | wide | norm(f"{name}.mlp_ln")

    made = {"encoder.positional_embedding": (dims["n_audio_ctx"], width)}
    made |= {"encoder.conv1.weight": (width, dims["n_mels"], 3), "encoder.conv1.bias": (width,)}
    made |= {"encoder.conv2.weight": (width, width, 3), "encoder.conv2.bias": (width,)} | norm("encoder.ln_post")
    made |= {"decoder.positional_embedding": (dims["n_text_ctx"], width)} | norm("decoder.ln")
    made |= {"decoder.token_embedding.weight": (dims["n_vocab"], width)}
    for index in range(dims["n_audio_layer"]):
        made |= block(f"encoder.blocks.{index}")
    for index in range(dims["n_text_layer"]):
        made |= block(f"decoder.blocks.{index}") | attention(f"decoder.blocks.{index}.cross_attn")
    return made


_ATTENTION = ("query", "key", "value", "out")


def random_state(dims: dict[str, int], seed: int = 0) -> dict[str, torch.Tensor]:
    """Every weight different from every other, and lively."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes(dims).items():
        tensor = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            tensor *= 0.5 / (shape[1] * (shape[2] if len(shape) > 2 else 1)) ** 0.5
        elif name.endswith("weight"):  # of a norm
            tensor = 1 + 0.1 * tensor
        else:
            tensor *= 0.1
        state[name] = tensor
    return lively(state, dims, generator)


def lively(state: dict[str, torch.Tensor], dims: dict[str, int], generator: torch.Generator) -> dict[str, Any]:
    """One direction of the output tells the kind of token, one when to end, the others which token it is."""
    first_time = dims["n_vocab"] - 1501
    end = first_time - 6 - (100 if dims["n_vocab"] == LARGE_V3 else 99) - 2
    state["encoder.ln_post.weight"] *= 3
    places = PLACE * torch.randn(state["decoder.positional_embedding"].shape, generator=generator)
    places[:, 1] = torch.arange(len(places)) / LONGEST * 30
    state["decoder.positional_embedding"] = places
    embedding = torch.randn(state["decoder.token_embedding.weight"].shape, generator=generator)
    embedding *= SHARPNESS / embedding.norm(dim=1, keepdim=True)  # no token louder than the others
    kinds = embedding[:, 0]
    kinds[:end] = 0
    kinds[end] = END_SHARE
    kinds[end + 1 : first_time] = -1.0
    kinds[first_time:] = TIME_SHARE
    embedding[:, 1] = 0
    embedding[end, 1] = 1
    state["decoder.token_embedding.weight"] = embedding
    state["decoder.ln.bias"][0] = 3.0
    state["decoder.ln.weight"][0] = 0.5
    state["decoder.ln.weight"][1:] *= 2
    return state


def save(path: Path, dims: dict[str, int], state: dict[str, torch.Tensor], **options: Any) -> Path:
    """As openai does."""
    torch.save({"dims": dims, "model_state_dict": state}, path, **options)
    return path


def write_vocabulary(folder: Path, vocabulary: int) -> Path:
    """A vocabulary file of the size that belongs to `vocabulary`: every byte, then pairs of them."""
    letters = b"etaoinshrdlucmfwypvbgkjqxz"
    more = b" " + letters.upper() + bytes(range(128, 256))
    tokens = [
        *(bytes([byte]) for byte in range(256)),
        *map(bytes, itertools.product(letters + more, repeat=2)),
        *map(bytes, itertools.product(letters, repeat=3)),
    ]
    size = 50256 if vocabulary == ENGLISH else 50257
    assert len(tokens) >= size
    lines = [base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens[:size])]
    if vocabulary != ENGLISH:
        lines[-1] = b"= 50256\n"  # the real one ends with a token of no bytes
    path = folder / ("gpt2.tiktoken" if vocabulary == ENGLISH else "multilingual.tiktoken")
    path.write_bytes(b"".join(lines))
    return path
