"""When each token was spoken, and how sure the model was of it: one teacher-forced pass and dynamic time warping.

Whisper's word times come from a few cross-attention heads (`alignment_heads`) that look at the audio of the
token they are about to predict (openai/whisper `timing.py`; Whisper paper, section 3.8). Keeping every
attention of a generation, as transformers does for `return_token_timestamps`, takes 2.9 GB a window for
large-v3 and forces the slow attention; here the finished tokens go through the decoder once and only the
wanted heads are computed, beside whatever attention the model uses. The model is left as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turnscribe.whisper.constants import SECONDS_PER_FRAME

if TYPE_CHECKING:
    from torch import Tensor

MEDIAN_FILTER_FRAMES = 7  # Whisper's own; odd
# Seconds by which the heads of a released model look at a token before it is said (below zero: after), as layers and
# heads. Measured on synthetic sentences with known times, and on others confirmed by `tests/real/test_word_times.py`.
LEADS = {
    frozenset({(3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)}): 0.06,  # base
    frozenset({(1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)}): -0.08,  # tiny.en
}


@dataclass(frozen=True)
class TokenAlignment:
    """For one row of tokens: `starts[i]` seconds at which token i begins, `ends[i]` and `logprobs[i]`."""

    starts: NDArray[np.float64]  # [N]
    ends: NDArray[np.float64]  # [N]
    logprobs: NDArray[np.float64]  # [N]


def align(
    model: Any,
    encoded: Tensor,
    initial: Sequence[int],
    rows: Sequence[Sequence[int]],
    seconds: Sequence[float],
    heads: Sequence[tuple[int, int]],
    end_token: int,
) -> list[TokenAlignment]:
    """Times and log-probabilities of `rows[b]`, the tokens generated after `initial` for each window.

    `encoded` is the encoder's output `[B, 1500, D]`, `seconds[b]` how much of window b is audio,
    `heads` pairs of decoder layer and head.
    """
    import torch

    longest = max(len(row) for row in rows) + 1
    padded = [[*initial, *row, end_token] + [end_token] * (longest - 1 - len(row)) for row in rows]
    tokens = torch.tensor(padded, device=encoded.device)  # [B, len(initial) + longest]
    with _captured_attention(model, heads) as captured:
        logits = model(encoder_outputs=(encoded,), decoder_input_ids=tokens[:, :-1], use_cache=False).logits
    first = len(initial) - 1  # this position predicts the first generated token
    predicted = tokens[:, first + 1 :]
    logprobs = logits[:, first:].float().log_softmax(-1).gather(-1, predicted[..., None])[..., 0]  # [B, longest]
    weights = torch.stack([captured[head] for head in heads], dim=1)[:, :, first:]  # [B, heads, longest, 1500]
    aligned = []
    for index, row in enumerate(rows):
        starts = token_starts(weights[index, :, : len(row) + 1], seconds[index], lead(heads))
        aligned.append(TokenAlignment(starts[:-1], starts[1:], logprobs[index, : len(row)].double().cpu().numpy()))
    return aligned


def alignment_heads(model: Any) -> list[tuple[int, int]]:
    """The model's own heads, or where its author named none, every head of the upper half of the decoder."""
    named = getattr(model.generation_config, "alignment_heads", None)
    if named:
        return [(int(layer), int(head)) for layer, head in named]
    layers = model.config.decoder_layers
    return [(i, h) for i in range(layers // 2, layers) for h in range(model.config.decoder_attention_heads)]


@contextmanager
def _captured_attention(model: Any, heads: Sequence[tuple[int, int]]) -> Iterator[dict[tuple[int, int], Tensor]]:
    """Collects the cross-attention `[B, P, T]` of `heads` while the model runs, whatever attention it uses."""
    captured: dict[tuple[int, int], Tensor] = {}
    handles = []

    def collect(layer: int) -> Any:
        wanted = [head for of_layer, head in heads if of_layer == layer]

        def before(attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            queries = args[0] if args else kwargs["hidden_states"]
            query = attention.q_proj(queries) * attention.scaling  # [B, P, D]
            key = attention.k_proj(kwargs["key_value_states"])  # [B, T, D]
            for head in wanted:
                part = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
                scores = query[..., part].float() @ key[..., part].float().transpose(1, 2)
                captured[layer, head] = scores.softmax(-1)

        return before

    try:
        for layer in {layer for layer, _ in heads}:
            module = model.model.decoder.layers[layer].encoder_attn
            handles.append(module.register_forward_pre_hook(collect(layer), with_kwargs=True))
        yield captured
    finally:
        for handle in handles:
            handle.remove()


def lead(heads: Iterable[tuple[int, int]]) -> float:
    """Seconds by which these heads look at a token before it is said; 0 where that was not measured."""
    return LEADS.get(frozenset(heads), 0.0)


def token_starts(weights: Tensor, seconds: float, lead: float = 0.0) -> NDArray[np.float64]:
    """Attention `[heads, N, T]` -> the second, of the `seconds` that are audio, at which each of N tokens begins."""
    import torch

    weights = weights[..., : max(round(seconds / SECONDS_PER_FRAME), 1)]
    mean = weights.mean(dim=1, keepdim=True)
    deviation = weights.std(dim=1, keepdim=True, unbiased=False).clamp(min=1e-8)
    normalised = (weights - mean) / deviation
    margin = MEDIAN_FILTER_FRAMES // 2
    if normalised.shape[-1] > margin:
        padded = torch.nn.functional.pad(normalised, (margin, margin), mode="reflect")
        normalised = padded.unfold(-1, MEDIAN_FILTER_FRAMES, 1).median(dim=-1).values
    matrix = normalised.mean(dim=0).double().cpu().numpy()  # [N, T]
    starts = first_frames(-matrix) * SECONDS_PER_FRAME
    starts[1:] = (starts[1:] + lead).clip(0.0, seconds)  # the first token begins with the window
    return starts


def first_frames(cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """The frame at which the cheapest monotonic path through `cost` `[N, T]` enters each row.

    The path runs from the first corner to the last in steps down, right or both; the table is filled one
    anti-diagonal at a time. The slow twin, cell by cell, is in `tests/test_alignment.py`.
    """
    rows, columns = cost.shape
    skewed = np.full((rows + columns - 1, rows), np.inf)  # skewed[d, i] = cost[i, d - i]
    for row in range(rows):
        skewed[row : row + columns, row] = cost[row]
    steps = np.zeros(skewed.shape, np.int8)  # 0 both, 1 down (from the row above), 2 right
    before, last = np.full(rows + 1, np.inf), np.full(rows + 1, np.inf)  # totals, shifted by one row
    last[1] = skewed[0, 0]
    for diagonal in range(1, rows + columns - 1):
        both, down, right = before[:-1], last[:-1], last[1:]
        step = np.where((both < down) & (both < right), 0, np.where((down < both) & (down < right), 1, 2))
        best = np.choose(step, (both, down, right))
        steps[diagonal] = step
        before, last = last, np.concatenate([[np.inf], best + skewed[diagonal]])
    entered = np.zeros(rows)
    row, column = rows - 1, columns - 1
    while row > 0:
        step = steps[row + column, row]
        if step == 2 and column > 0:
            column -= 1
            continue
        entered[row] = column
        row, column = row - 1, column - (1 if step == 0 else 0)
    return entered
