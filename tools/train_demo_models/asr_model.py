"""The demo Whisper in training: plain PyTorch over the modules of a `WhisperForConditionalGeneration`.

What made two layers of width 192 learn in minutes on two cores, where plain training sat on a plateau:

- The encoder's positions occupy the first 64 dimensions alone, and its attention heads start out looking a
  fixed number of frames back or ahead (a rotation of sinusoids), so the encoder begins as a convolution.
- The embedding of timestamp <|t|> is a learned projection of the position of frame t, so what is learned of one
  time holds for every time.
- Dense supervision: every encoder frame names its word; two heads of the first decoder layer are guided to the
  frames of the token just read, two of the last to the frames of the token to come (`alignment_heads`).
- Short windows at random offsets first, 30 s windows last (`asr.py`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.train_demo_models.asr_data import FRAMES
from tools.train_demo_models.tokenizer import TIMESTAMPS, TokenIds

WIDTH = 192
HEADS = 6
HEAD_WIDTH = WIDTH // HEADS
FREQUENCIES = 32
POSITION_DIMS = 2 * FREQUENCIES
GUIDED_HEADS = (0, 1)
N_FFT, HOP = 400, 160

OFFSETS = ((-4, -2, -1, 1, 2, 4), (-14, -8, -4, 4, 8, 14))  # frames, by encoder layer and head


def new_model(ids: TokenIds, *, decoder_layers: int = 2) -> Any:
    """A `WhisperForConditionalGeneration` with the structured initial weights the module text describes."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        vocab_size=ids.size,
        num_mel_bins=80,
        d_model=WIDTH,
        encoder_layers=2,
        decoder_layers=decoder_layers,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=512,
        decoder_ffn_dim=512,
        max_source_positions=FRAMES,
        max_target_positions=448,
        dropout=0.0,
        init_std=1 / math.sqrt(WIDTH),
        bos_token_id=ids.end,
        eos_token_id=ids.end,
        pad_token_id=ids.end,
        decoder_start_token_id=ids.start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config)
    encoder, decoder = model.model.encoder, model.model.decoder
    with torch.no_grad():
        for convolution in (encoder.conv1, encoder.conv2):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)
        encoder.conv2.weight[:POSITION_DIMS] = 0
        encoder.embed_positions.weight.zero_()
        encoder.embed_positions.weight[:, :POSITION_DIMS] = _sinusoids(FRAMES)
        for layer, offsets in zip(encoder.layers, OFFSETS, strict=True):
            for head, offset in enumerate(offsets):
                _look_at_offset(layer.self_attn, head, offset)
            layer.self_attn.out_proj.weight[:POSITION_DIMS] *= 0.1
            layer.fc2.weight[:POSITION_DIMS] *= 0.1
        for layer in decoder.layers:
            for head in GUIDED_HEADS:
                rows = slice(head * HEAD_WIDTH, head * HEAD_WIDTH + HEAD_WIDTH // 2)
                for projection in (layer.encoder_attn.q_proj, layer.encoder_attn.k_proj):
                    projection.weight[rows] = 0
                    for row, frequency in enumerate(range(0, FREQUENCIES, 4)):
                        first = head * HEAD_WIDTH + 2 * row
                        projection.weight[first, frequency] = 1.0
                        projection.weight[first + 1, FREQUENCIES + frequency] = 1.0
        decoder.embed_tokens.weight.normal_(std=1 / math.sqrt(WIDTH))
        decoder.embed_tokens.weight[:, :POSITION_DIMS] = 0
        decoder.embed_positions.weight.normal_(std=0.02)
        decoder.embed_positions.weight[:, -FREQUENCIES:] += 0.1 * _sinusoids(448, FREQUENCIES // 2)
    return model


def _frequencies(count: int = FREQUENCIES) -> Tensor:
    """Radians a frame, from 1.5 (a period of 4 frames) to 0.004 (1570 frames: the whole window)."""
    return 1.5 * (0.004 / 1.5) ** (torch.arange(count) / (count - 1))


def _sinusoids(length: int, count: int = FREQUENCIES) -> Tensor:
    """[length, 2 * count]: cosines, then sines."""
    angles = torch.arange(length)[:, None] * _frequencies(count)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _look_at_offset(attention: Any, head: int, offset: int, sharpness: float = 1.4) -> None:
    """Set a head's query and key so that frame i attends to frame i + offset."""
    frequencies = _frequencies()
    chosen = [*range(13), 16, 20, 24]
    assert 2 * len(chosen) == HEAD_WIDTH
    rows = slice(head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH)
    query = torch.zeros(HEAD_WIDTH, attention.q_proj.weight.shape[1])
    key = torch.zeros_like(query)
    for row, index in enumerate(chosen):
        cosine, sine = math.cos(frequencies[index] * offset), math.sin(frequencies[index] * offset)
        query[2 * row, index], query[2 * row, FREQUENCIES + index] = cosine, -sine
        query[2 * row + 1, index], query[2 * row + 1, FREQUENCIES + index] = sine, cosine
        key[2 * row, index] = key[2 * row + 1, FREQUENCIES + index] = 1.0
    attention.q_proj.weight[rows] = sharpness * query
    attention.k_proj.weight[rows] = sharpness * key


class Trainee(nn.Module):
    """A Whisper in training: the model, the timestamps' shared projection and the frame classifier."""

    def __init__(self, ids: TokenIds, model: Any) -> None:
        super().__init__()
        self.ids = ids
        self.whisper = model
        self.log_mel = LogMel()
        self.frame_head = nn.Linear(WIDTH, 1 + len(ids.words))
        self.time_projection = nn.Parameter(torch.zeros(POSITION_DIMS, WIDTH))
        with torch.no_grad():
            self.time_projection[:, :POSITION_DIMS] = 0.2 * torch.eye(POSITION_DIMS)
        self.times: Tensor
        self.register_buffer("times", _sinusoids(TIMESTAMPS))

    def embeddings(self) -> Tensor:
        """[vocabulary, WIDTH]: free rows for text and special tokens, projected rows for timestamps."""
        free = self.whisper.model.decoder.embed_tokens.weight[: self.ids.first_timestamp]
        return torch.cat([free, self.times @ self.time_projection])

    @torch.no_grad()
    def settle(self) -> None:
        """Write the projected timestamp embeddings into the model, as it is saved and generated from."""
        self.whisper.model.decoder.embed_tokens.weight.copy_(self.embeddings())

    def encode(self, features: Tensor, first_frame: int) -> Tensor:
        """[B, 80, 2T] -> [B, T, WIDTH]; the real encoder takes 1,500 frames only, so its layers run here."""
        encoder = self.whisper.model.encoder
        hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(features)))).transpose(1, 2)
        length = hidden.shape[1]
        hidden = hidden + encoder.embed_positions.weight[first_frame : first_frame + length]
        for layer in encoder.layers:
            normed = layer.self_attn_layer_norm(hidden)
            hidden = hidden + _attend(layer.self_attn, normed, normed)
            hidden = hidden + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(hidden))))
        return encoder.layer_norm(hidden)

    def decode(self, tokens: Tensor, encoded: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits `[B, P, vocabulary]`, and each layer's guided cross-attention `[B, 2, P, T]`."""
        decoder = self.whisper.model.decoder
        embeddings = self.embeddings()
        hidden = F.embedding(tokens, embeddings) + decoder.embed_positions.weight[: tokens.shape[1]]
        guided = []
        for layer in decoder.layers:
            normed = layer.self_attn_layer_norm(hidden)
            hidden = hidden + _attend(layer.self_attn, normed, normed, causal=True)
            attended, weights = _attend_seen(layer.encoder_attn, layer.encoder_attn_layer_norm(hidden), encoded)
            guided.append(weights)
            hidden = hidden + attended
            hidden = hidden + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(hidden))))
        return F.linear(decoder.layer_norm(hidden), embeddings), guided


def _split(states: Tensor) -> Tensor:
    """[B, L, WIDTH] -> [B, HEADS, L, HEAD_WIDTH]"""
    return states.unflatten(-1, (HEADS, HEAD_WIDTH)).transpose(1, 2)


def _attend(attention: Any, queries: Tensor, keys: Tensor, *, causal: bool = False) -> Tensor:
    query, key = _split(attention.q_proj(queries)), _split(attention.k_proj(keys))
    value = _split(attention.v_proj(keys))
    mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def _attend_seen(attention: Any, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    query, key = _split(attention.q_proj(queries)), _split(attention.k_proj(keys))
    scores = query @ key.transpose(-1, -2) * HEAD_WIDTH**-0.5
    weights = scores.softmax(dim=-1)
    mixed = weights @ _split(attention.v_proj(keys))
    guided = scores[:, list(GUIDED_HEADS)].log_softmax(dim=-1)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2)), guided


class LogMel(nn.Module):
    """`WhisperFeatureExtractor`'s features for windows of any length: `[B, samples] -> [B, 80, frames]`."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import WhisperFeatureExtractor

        filters = torch.tensor(np.array(WhisperFeatureExtractor(feature_size=80).mel_filters)).float()
        self.filters: Tensor
        self.hann: Tensor
        self.register_buffer("filters", filters.T if filters.shape[0] != 80 else filters)  # [80, 201]
        self.register_buffer("hann", torch.hann_window(N_FFT))

    def forward(self, waveforms: Tensor) -> Tensor:
        spectrum = torch.stft(waveforms, N_FFT, HOP, window=self.hann, return_complex=True)
        power = spectrum[..., :-1].abs() ** 2
        log = torch.clamp(self.filters @ power, min=1e-10).log10()
        log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0)
        return (log + 4.0) / 4.0
