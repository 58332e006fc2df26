"""The passes of Whisper's encoder and decoder.

Slow twin: `WhisperForConditionalGeneration`'s own forward, from whose weights these are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from turnscribe.engine.attention import attend
from turnscribe.engine.cache import Cache
from turnscribe.engine.weights import DecoderWeights, EncoderWeights, decoder_weights, encoder_weights

HALF_LIMIT = torch.finfo(torch.float16).max - 1000  # large float16 activations are cut here, as transformers does


class Encoder:
    """`[B, mels, 3000]` -> `[B, 1500, D]`; fewer, an even number of them, to half as many."""

    def __init__(self, weights: EncoderWeights) -> None:
        self.weights = weights

    @classmethod
    def of(cls, model: Any, *, int8: bool = False) -> Encoder:
        """The encoder of a `WhisperForConditionalGeneration`, or of its weights with its `config`."""
        return cls(encoder_weights(model.state_dict(), model.config, int8=int8))

    def __call__(self, features: Tensor) -> Tensor:
        weights = self.weights
        (first, first_bias), (second, second_bias) = weights.convolutions
        x = F.gelu(F.conv1d(features.to(first.dtype), first, first_bias, padding=1))
        x = F.gelu(F.conv1d(x, second, second_bias, stride=2, padding=1))
        x = x.transpose(1, 2)  # [B, T, D]
        x = x + weights.positions[: x.shape[1]]
        for layer in weights.layers:
            h = layer.query_key_value(layer.attention_norm(x)).to(weights.attention_type)  # [B, T, 3 D]
            parts = h.view(*h.shape[:2], 3, weights.heads, -1)  # [B, T, 3, H, D / H]
            query, key, value = parts.permute(2, 0, 3, 1, 4)  # [B, H, T, D / H]
            attended = attend(query, key, value)
            x = x + layer.attention_out(attended.transpose(1, 2).flatten(2).to(x.dtype))
            x = x + layer.fc2(layer.fc1(layer.norm(x), gelu=True))
            if x.dtype == torch.float16:
                x = x.clamp(-HALF_LIMIT, HALF_LIMIT)
        return weights.norm(x)


class Decoder:
    """Tokens at given positions of some rows of a `Cache`, one pass at a time."""

    def __init__(self, weights: DecoderWeights) -> None:
        self.weights = weights

    @classmethod
    def of(cls, model: Any, *, int8: bool = False, drafts: bool = False) -> Decoder:
        """The decoder of a `WhisperForConditionalGeneration` or a `WhisperForCausalLM`; see `decoder_weights`."""
        return cls(decoder_weights(model.state_dict(), model.config, int8=int8, drafts=drafts))

    @property
    def positions(self) -> int:
        """The most tokens a row can have."""
        return self.weights.positions.shape[0]

    @property
    def layers(self) -> int:
        return len(self.weights.layers)

    def cache(self, rows: int, *, frames: int, slack: int, fixed: bool, beams: int = 1) -> Cache:
        """An empty cache for `rows` rows of `beams` each; `slack` positions beyond the last take drafts that go too
        far."""
        embedding = self.weights.embedding
        return Cache(
            layers=self.layers,
            rows=rows,
            heads=self.weights.heads,
            width=embedding.shape[1] // self.weights.heads,
            frames=frames,
            positions=self.positions + slack,
            beams=beams,
            fixed=fixed,
            device=embedding.device,
            dtype=embedding.dtype,
            audio_type=self.weights.audio_type,
        )

    def load_audio(self, encoded: Tensor, cache: Cache, rows: slice) -> None:
        """Project the encoder's output `[B, T, D]` to the keys and values of `rows`, once a window."""
        for index, layer in enumerate(self.weights.layers):
            cache.write_cross(index, rows, layer.cross_key_value(encoded))

    def __call__(self, tokens: Tensor, positions: Tensor, cache: Cache, rows: slice, *, reach: int) -> Tensor:
        """Tokens `[B, Q]` at `positions` `[B, Q]`, all below `reach` -> hidden states `[B, Q, D]`.

        There may be as many rows of tokens as `rows` have beams together, or one for each row, for its first beam.
        """
        x, mask, read = self._begun(tokens, positions, cache, reach)
        own_rows = cache.own_rows(rows, len(tokens))
        for index in range(self.layers):
            x = self._own_attention(index, x, positions, cache, own_rows, mask, read)
            layer = self.weights.layers[index]
            attended = self._cross_attended(index, x, cache, rows)
            x = x + layer.cross_out(attended.transpose(1, 2).flatten(2).to(x.dtype))
            x = x + layer.fc2(layer.fc1(layer.norm(x), gelu=True))
        return self.weights.norm(x)

    def attention(
        self, tokens: Tensor, positions: Tensor, cache: Cache, rows: slice, heads: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Where the named `(layer, head)` look in the audio while the tokens `[B, Q]` go by: `[B, heads, Q, T]`.

        The other heads stay with the fast attention, and the pass ends at the last layer that is named.
        """
        looks: dict[tuple[int, int], Tensor] = {}
        x, mask, read = self._begun(tokens, positions, cache, tokens.shape[1])
        last, own_rows = max(layer for layer, _ in heads), cache.own_rows(rows, len(tokens))
        for index in range(last + 1):
            x = self._own_attention(index, x, positions, cache, own_rows, mask, read)
            layer = self.weights.layers[index]
            query, (key, value) = self._cross_query(index, x), cache.cross(index, rows)
            for head in [head for of, head in heads if of == index]:
                scores = query[:, head].float() @ key[:, head].float().transpose(1, 2)  # [B, Q, T]
                looks[index, head] = (scores * query.shape[-1] ** -0.5).softmax(-1)
            if index < last:
                attended = attend(query, key, value)
                x = x + layer.cross_out(attended.transpose(1, 2).flatten(2).to(x.dtype))
                x = x + layer.fc2(layer.fc1(layer.norm(x), gelu=True))
        return torch.stack([looks[head] for head in heads], dim=1)

    def _begun(self, tokens: Tensor, positions: Tensor, cache: Cache, reach: int) -> tuple[Tensor, Tensor, int]:
        """The embedded tokens `[B, Q, D]`, which keys they may see, and how many keys are read."""
        cache.reserve(reach)
        read = cache.readable(reach)
        placed = self.weights.positions[positions.clamp(max=self.positions - 1)]  # past it nothing is kept
        return self.weights.embedding(tokens) + placed, cache.mask(positions, read), read

    def _own_attention(
        self, index: int, x: Tensor, positions: Tensor, cache: Cache, rows: slice, mask: Tensor, read: int
    ) -> Tensor:
        layer = self.weights.layers[index]
        h = layer.query_key_value(layer.attention_norm(x))  # [B, Q, 3 D]
        query, keys_values = h[..., : x.shape[-1]], h[..., x.shape[-1] :]
        cache.write_own(index, rows, positions, keys_values)
        key, value = cache.own(index, rows, read)
        attended = F.scaled_dot_product_attention(self._by_head(query), key, value, attn_mask=mask)
        return x + layer.attention_out(attended.transpose(1, 2).flatten(2))

    def _cross_attended(self, index: int, x: Tensor, cache: Cache, rows: slice) -> Tensor:
        """`[B, H, Q, D / H]`; the beams of a window read its keys and values together."""
        query, (key, value) = self._cross_query(index, x), cache.cross(index, rows)
        windows, beams = len(key), len(query) // len(key)
        if beams > 1:
            query = (
                query.unflatten(0, (windows, beams)).transpose(1, 2).flatten(2, 3)
            )  # [B / beams, H, beams * Q, ...]
        attended = attend(query, key, value)
        if beams > 1:
            attended = attended.unflatten(2, (beams, -1)).transpose(1, 2).flatten(0, 1)
        return attended

    def _cross_query(self, index: int, x: Tensor) -> Tensor:
        layer = self.weights.layers[index]
        return self._by_head(layer.cross_query(layer.cross_norm(x)))

    def _by_head(self, query: Tensor) -> Tensor:
        """`[B, Q, D]` -> `[B, H, Q, D / H]`"""
        return query.view(*query.shape[:2], self.weights.heads, -1).transpose(1, 2)
