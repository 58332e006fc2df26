"""Where each weight of a transformers Whisper goes in the engine's passes.

The names of the weights are the same from transformers 4.46 to 5.x. Products that share their input are joined:
query, key and value of self-attention, key and value of cross-attention. The model that the weights were taken from
can be let go: what is joined or packed is copied, the rest is shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from turnscribe.engine.linear import Linear, Precision, linear, multiplies_bfloat16, multiplies_int8

NORM_EPSILON = 1e-5  # PyTorch's own, which Whisper was trained with


@dataclass(frozen=True)
class Norm:
    """A layer norm over the last dimension."""

    weight: Tensor  # [D]
    bias: Tensor  # [D]
    epsilon: float

    def in_float32(self) -> Norm:
        return replace(self, weight=self.weight.float(), bias=self.bias.float())

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


Layer = TypeVar("Layer", EncoderLayer, DecoderLayer)
Layers: TypeAlias = "tuple[Layer, ...] | InFloat32[Layer]"


class InFloat32(Generic[Layer]):
    """Layers in float32. One of them is there at a time, the latest that was asked for."""

    def __init__(self, layers: Layers[Layer]) -> None:
        self._layers: Layers[Layer] = layers
        self._latest: tuple[int, Layer] | None = None

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, index: int) -> Layer:
        if self._latest is None or self._latest[0] != index:
            self._latest = None  # its memory is free before more is asked for
            layer = self._layers[index]
            parts = {field.name: getattr(layer, field.name).in_float32() for field in fields(layer)}
            self._latest = index, replace(layer, **parts)
        return self._latest[1]

    def __iter__(self) -> Iterator[Layer]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class EncoderWeights:
    convolutions: tuple[tuple[Tensor, Tensor], ...]  # weight [D, in, 3], bias [D]; the second has stride 2
    positions: Tensor  # [1500, D]
    layers: Layers[EncoderLayer]
    norm: Norm
    heads: int
    attention_type: torch.dtype  # in which its attention is worked out

    def in_float32(self) -> EncoderWeights:
        """The same weights in float32, each layer's only while it is used."""
        return EncoderWeights(
            convolutions=tuple((weight.float(), bias.float()) for weight, bias in self.convolutions),
            positions=self.positions.float(),
            layers=InFloat32(self.layers),
            norm=self.norm.in_float32(),
            heads=self.heads,
            attention_type=torch.float32,
        )


@dataclass(frozen=True)
class Embedding:
    """A vector for each token."""

    rows: Tensor  # [V, D]
    dtype: torch.dtype  # of what it gives

    @classmethod
    def of(cls, weight: Tensor, *, alone: bool) -> Embedding:
        """Of `[V, D]`; where nobody else holds it (`alone`), as float16 if that loses nothing, as of most models."""
        if alone and weight.dtype == torch.float32 and torch.equal((half := weight.half()).float(), weight):
            return cls(half, weight.dtype)
        return cls(weight, weight.dtype)

    def __call__(self, tokens: Tensor) -> Tensor:
        """`[...]` -> `[..., D]`"""
        return self.rows[tokens].to(self.dtype)

    @property
    def shape(self) -> torch.Size:
        return self.rows.shape

    @property
    def device(self) -> torch.device:
        return self.rows.device


@dataclass(frozen=True)
class DecoderWeights:
    embedding: Embedding  # [V, D]
    positions: Tensor  # [448, D]
    layers: Layers[DecoderLayer]
    norm: Norm
    vocabulary: Linear  # [V, D]
    heads: int
    audio_type: torch.dtype  # in which the audio's keys and values are kept

    def in_float32(self) -> DecoderWeights:
        """The same weights in float32, each layer's only while it is used."""
        return DecoderWeights(
            embedding=replace(self.embedding, dtype=torch.float32),
            positions=self.positions.float(),
            layers=InFloat32(self.layers),
            norm=self.norm.in_float32(),
            vocabulary=self.vocabulary.in_float32(),
            heads=self.heads,
            audio_type=torch.float32,
        )


def encoder_weights(tensors: Mapping[str, Tensor], config: Any, *, int8: bool = False) -> EncoderWeights:
    """From the `state_dict` and the `config` of a `WhisperForConditionalGeneration`.

    With `int8`, its products are of 8-bit integers. The first layer's inputs are mostly positions, with few large
    numbers among small ones: rounded to 8 bits, they alone make nine tenths of the error.
    """
    weights = _Weights(tensors, "model.encoder.", "int8" if int8 else "own")
    half = _half_type(weights["layer_norm.weight"], int8)
    layers = [
        EncoderLayer(
            attention_norm=layer.norm("self_attn_layer_norm"),
            query_key_value=layer.joined("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            attention_out=layer.linear("self_attn.out_proj"),
            norm=layer.norm("final_layer_norm"),
            fc1=layer.linear("fc1"),
            fc2=layer.linear("fc2"),
        )
        for layer in weights.layers(config.encoder_layers, first="half" if int8 else "own")
    ]
    return EncoderWeights(
        convolutions=tuple(
            (weights[f"{name}.weight"].to(half), weights[f"{name}.bias"].to(half)) for name in ("conv1", "conv2")
        ),
        positions=weights["embed_positions.weight"],
        layers=tuple(layers),
        norm=weights.norm("layer_norm"),
        heads=config.encoder_attention_heads,
        attention_type=half,
    )


def decoder_weights(
    tensors: Mapping[str, Tensor], config: Any, *, int8: bool = False, drafts: bool = False
) -> DecoderWeights:
    """From the `state_dict` and the `config` of a `WhisperForConditionalGeneration` or a `WhisperForCausalLM`.

    With `int8`, what is made of a window's many frames are products of 8-bit integers. All others are of few rows and
    in half precision, which costs no more and changes fewer tokens; the output layer's inputs have 16 bits, too.
    Where it `drafts`, its mistakes cost time and no text, so that layer is less precise.
    """
    weights = _Weights(tensors, "model.decoder.", "half" if int8 else "own")
    of_audio = replace(weights, precision="int8" if int8 else "own")
    of_scores: Precision = ("int8" if int8 else "half") if drafts else "fine" if int8 else "own"
    layers = [
        DecoderLayer(
            attention_norm=layer.norm("self_attn_layer_norm"),
            query_key_value=layer.joined("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            attention_out=layer.linear("self_attn.out_proj"),
            cross_norm=layer.norm("encoder_attn_layer_norm"),
            cross_query=layer.linear("encoder_attn.q_proj"),
            cross_key_value=audio.joined("encoder_attn.k_proj", "encoder_attn.v_proj"),
            cross_out=layer.linear("encoder_attn.out_proj"),
            norm=layer.norm("final_layer_norm"),
            fc1=layer.linear("fc1"),
            fc2=layer.linear("fc2"),
        )
        for layer, audio in zip(
            weights.layers(config.decoder_layers), of_audio.layers(config.decoder_layers), strict=True
        )
    ]
    # both are held, as they are one in a file whose weights are read when they are asked for
    embedding, output = tensors["model.decoder.embed_tokens.weight"], tensors["proj_out.weight"]
    vocabulary = linear(output.detach(), precision=of_scores)
    return DecoderWeights(
        embedding=Embedding.of(embedding.detach(), alone=vocabulary.is_packed),
        positions=weights["embed_positions.weight"],
        layers=tuple(layers),
        norm=weights.norm("layer_norm"),
        vocabulary=vocabulary,
        heads=config.decoder_attention_heads,
        audio_type=_half_type(weights["layer_norm.weight"], int8),
    )


def _half_type(weight: Tensor, int8: bool) -> torch.dtype:
    """What convolutions and attention are worked out in: beside 8-bit products bfloat16, if the CPU multiplies it."""
    on_cpu = weight.dtype == torch.float32 and weight.device.type == "cpu"
    return torch.bfloat16 if int8 and on_cpu and multiplies_int8() and multiplies_bfloat16() else weight.dtype


@dataclass(frozen=True)
class _Weights:
    """Those whose names begin with `prefix`."""

    tensors: Mapping[str, Tensor]
    prefix: str
    precision: Precision

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[self.prefix + name].detach()

    def layers(self, number: int, *, first: Precision | None = None) -> list[_Weights]:
        """Each layer's weights; the `first` may have a precision of its own."""
        found = [replace(self, prefix=f"{self.prefix}layers.{index}.") for index in range(number)]
        return [replace(found[0], precision=first or self.precision), *found[1:]]

    def norm(self, name: str) -> Norm:
        return Norm(self[f"{name}.weight"], self[f"{name}.bias"], NORM_EPSILON)

    def linear(self, name: str) -> Linear:
        return linear(self[f"{name}.weight"], self[f"{name}.bias"], precision=self.precision)

    def joined(self, *names: str) -> Linear:
        """Products of one input as one; Whisper's keys have no bias."""
        weights = [self[f"{name}.weight"] for name in names]
        biases = [
            self[f"{name}.bias"] if f"{self.prefix}{name}.bias" in self.tensors else weight.new_zeros(len(weight))
            for name, weight in zip(names, weights, strict=True)
        ]
        return linear(torch.cat(weights), torch.cat(biases), precision=self.precision)
