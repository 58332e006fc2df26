"""Where each weight of a transformers Whisper goes in the engine's passes.

The names of the modules are the same from transformers 4.46 to 5.x. Products that share their input are joined:
query, key and value of self-attention, key and value of cross-attention. The model that the weights were taken from
can be let go: what is joined or packed is copied, the rest is shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from turnscribe.engine.linear import Linear


@dataclass(frozen=True)
class Norm:
    """A layer norm over the last dimension."""

    weight: Tensor  # [D]
    bias: Tensor  # [D]
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True)
class EncoderLayer:
    attention_norm: Norm
    query_key_value: Linear  # [3 D, D]
    attention_out: Linear  # [D, D]
    norm: Norm
    fc1: Linear  # [4 D, D]
    fc2: Linear  # [D, 4 D]


@dataclass(frozen=True)
class DecoderLayer:
    attention_norm: Norm
    query_key_value: Linear  # [3 D, D]
    attention_out: Linear  # [D, D]
    cross_norm: Norm
    cross_query: Linear  # [D, D]
    cross_key_value: Linear  # [2 D, D], of the encoder's output
    cross_out: Linear  # [D, D]
    norm: Norm
    fc1: Linear  # [4 D, D]
    fc2: Linear  # [D, 4 D]


@dataclass(frozen=True)
class EncoderWeights:
    convolutions: tuple[tuple[Tensor, Tensor], ...]  # weight [D, in, 3], bias [D]; the second has stride 2
    positions: Tensor  # [1500, D]
    layers: tuple[EncoderLayer, ...]
    norm: Norm
    heads: int


@dataclass(frozen=True)
class DecoderWeights:
    embedding: Tensor  # [V, D]
    positions: Tensor  # [448, D]
    layers: tuple[DecoderLayer, ...]
    norm: Norm
    vocabulary: Linear  # [V, D]
    heads: int


def encoder_weights(encoder: Any) -> EncoderWeights:
    """From a `WhisperEncoder`."""
    layers = [
        EncoderLayer(
            attention_norm=_norm(layer.self_attn_layer_norm),
            query_key_value=_joined(layer.self_attn, "q_proj", "k_proj", "v_proj"),
            attention_out=_linear(layer.self_attn.out_proj),
            norm=_norm(layer.final_layer_norm),
            fc1=_linear(layer.fc1),
            fc2=_linear(layer.fc2),
        )
        for layer in encoder.layers
    ]
    convolutions = tuple((conv.weight.detach(), conv.bias.detach()) for conv in (encoder.conv1, encoder.conv2))
    return EncoderWeights(
        convolutions=convolutions,
        positions=encoder.embed_positions.weight.detach(),
        layers=tuple(layers),
        norm=_norm(encoder.layer_norm),
        heads=encoder.config.encoder_attention_heads,
    )


def decoder_weights(decoder: Any, vocabulary: Any, *, allow_bfloat16: bool = False) -> DecoderWeights:
    """From a `WhisperDecoder` and the `proj_out` above it, for which `allow_bfloat16` is meant: see `Linear`."""
    layers = [
        DecoderLayer(
            attention_norm=_norm(layer.self_attn_layer_norm),
            query_key_value=_joined(layer.self_attn, "q_proj", "k_proj", "v_proj"),
            attention_out=_linear(layer.self_attn.out_proj),
            cross_norm=_norm(layer.encoder_attn_layer_norm),
            cross_query=_linear(layer.encoder_attn.q_proj),
            cross_key_value=_joined(layer.encoder_attn, "k_proj", "v_proj"),
            cross_out=_linear(layer.encoder_attn.out_proj),
            norm=_norm(layer.final_layer_norm),
            fc1=_linear(layer.fc1),
            fc2=_linear(layer.fc2),
        )
        for layer in decoder.layers
    ]
    return DecoderWeights(
        embedding=decoder.embed_tokens.weight.detach(),
        positions=decoder.embed_positions.weight.detach(),
        layers=tuple(layers),
        norm=_norm(decoder.layer_norm),
        vocabulary=Linear(vocabulary.weight.detach(), allow_bfloat16=allow_bfloat16),
        heads=decoder.config.decoder_attention_heads,
    )


def _norm(module: Any) -> Norm:
    return Norm(module.weight.detach(), module.bias.detach(), module.eps)


def _linear(module: Any) -> Linear:
    return Linear(module.weight.detach(), None if module.bias is None else module.bias.detach())


def _joined(attention: Any, *names: str) -> Linear:
    """Products of one input as one; Whisper's keys have no bias."""
    modules = [getattr(attention, name) for name in names]
    weight = torch.cat([module.weight.detach() for module in modules])
    biases = [
        module.weight.new_zeros(module.weight.shape[0]) if module.bias is None else module.bias.detach()
        for module in modules
    ]
    return Linear(weight, torch.cat(biases))
