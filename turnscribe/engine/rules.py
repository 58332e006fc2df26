"""Which token may come next, and which does: Whisper's rules for timestamps and suppressed tokens, as masks.

Whisper paper, section 2.3, and openai/whisper `decoding.py`: text stands between two timestamps, timestamps do not
run backwards, the first token is a timestamp of the first second, and where all timestamps together are more likely
than any other token, a timestamp it is. `choose` decides for many rows and positions at once, reading the vocabulary
twice; `process` is its slow twin, which masks every score, and what sampling draws from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SMALLEST = -80.0  # below the best score, in nats: a whole vocabulary of such tokens is no part of a float32 sum


@dataclass(frozen=True)
class History:
    """What the rules remember of the tokens before each position `[B, Q]`."""

    last_is_time: Tensor  # [B, Q] bool; the token before
    previous_is_time: Tensor  # [B, Q] bool; the one before that, or there is none
    latest_time: Tensor  # [B, Q]; the latest timestamp token so far, or 0


@dataclass(frozen=True)
class Choice:
    """The tokens that come next, and how likely they were among those the rules allow."""

    tokens: Tensor  # [B, Q]
    logprobs: Tensor  # [B, Q]


class Rules:
    """The rules of one model, with or without timestamps."""

    def __init__(self, config: Any, *, timestamps: bool, device: torch.device, vocabulary: int) -> None:
        """`config` is the model's generation configuration."""
        self.timestamps = timestamps
        self.end = _end(config)
        self.no_timestamps = int(config.no_timestamps_token_id)
        self.no_speech = self.no_timestamps - 1
        self.first_time = self.no_timestamps + 1
        self.bias = torch.zeros(vocabulary, device=device)  # [V]; added to every score
        self.bias[list(config.suppress_tokens or [])] = -math.inf
        self.begin_bias = self.bias.clone()  # [V]; added to the first scores of a row
        self.begin_bias[list(config.begin_suppress_tokens or [])] = -math.inf
        if timestamps:
            self.bias[self.no_timestamps] = -math.inf
            self.begin_bias[: self.first_time] = -math.inf
            latest = getattr(config, "max_initial_timestamp_index", None)
            if latest is not None:
                self.begin_bias[self.first_time + latest + 1 :] = -math.inf
        self._times = torch.arange(self.first_time, vocabulary, device=device)  # [N] tokens

    def history(self, tokens: Tensor, latest_time: Tensor, generated: Tensor) -> History:
        """For the positions after each of `tokens[:, 1:]`, of which `tokens` `[B, Q + 1]` also holds the one before.

        `latest_time` `[B]` and `generated` `[B]` (how many tokens follow the initial ones) are those at the first
        position.
        """
        is_time = tokens >= self.first_time  # [B, Q + 1]
        count = generated[:, None] + torch.arange(tokens.shape[1] - 1, device=tokens.device)  # [B, Q]
        times = torch.where(is_time[:, 1:], tokens[:, 1:], 0)
        times[:, 0] = latest_time
        return History(
            last_is_time=is_time[:, 1:] & (count >= 1),
            previous_is_time=is_time[:, :-1] | (count < 2),
            latest_time=times.cummax(dim=1).values,
        )

    def choose_first(self, scores: Tensor) -> Choice:
        """The first token of each row, from scores `[B, V]` without any bias: `[B, 1]`."""
        scores = scores + self.begin_bias
        logprobs, tokens = scores.log_softmax(-1).max(-1, keepdim=True)
        return Choice(tokens, logprobs)

    def choose(self, scores: Tensor, history: History, *, scored: bool = True) -> Choice:
        """The likeliest token at each position, from scores `[B, Q, V]` to which `bias` was added.

        Not `scored`, its probability is left out (0), and with it one reading of the vocabulary.
        """
        if not self.timestamps:
            best, tokens = scores.max(-1)
            return Choice(tokens, best - scores.logsumexp(-1) if scored else torch.zeros_like(best))
        text, text_token = scores[..., : self.end].max(-1)  # [B, Q]
        other, other_token = scores[..., self.end : self.first_time].max(-1)  # the end, and what has no text
        no_text = history.last_is_time & ~history.previous_is_time
        text = text.masked_fill(no_text, -math.inf)
        worded, worded_token = (
            torch.maximum(text, other),
            torch.where(other > text, other_token + self.end, text_token),
        )
        times = scores[..., self.first_time :].masked_fill(self._forbidden(history), -math.inf)  # [B, Q, N]
        time, time_token = times.max(-1)
        all_times = times.logsumexp(-1)
        only_time = all_times > worded
        is_time = only_time | (time > worded)
        chosen = torch.where(is_time, time_token + self.first_time, worded_token)
        if not scored:
            return Choice(chosen, torch.zeros_like(time))
        words = torch.where(
            no_text,
            _total(scores[..., self.end : self.first_time]),
            _total(scores[..., : self.first_time]),
        )
        total = torch.where(only_time, all_times, torch.logaddexp(words, all_times))
        return Choice(chosen, torch.where(is_time, time, worded) - total)

    def process(self, scores: Tensor, history: History) -> Tensor:
        """Scores `[B, Q, V]` to which `bias` was added, with all that is forbidden at -inf."""
        scores = scores.clone()
        self._forbid(scores, history)
        return scores

    def likeliest(self, scores: Tensor, history: History, count: int, bonus: Tensor | None = None) -> Choice:
        """The `count` likeliest tokens after each row, best first: `[B, count]`.

        From scores `[B, 1, V]` to which `bias` was added; they become those of `process`. With `bonus` `[B, V]` they
        are the likeliest by their scores and it; their log-probabilities are without it.
        """
        self._forbid(scores, history)
        best, tokens = (scores[:, 0] if bonus is None else scores[:, 0] + bonus).topk(count)
        if bonus is not None:
            best = scores[:, 0].gather(1, tokens)
        return Choice(tokens, best - _total(scores))

    def _forbid(self, scores: Tensor, history: History) -> None:
        if not self.timestamps:
            return
        no_text = history.last_is_time & ~history.previous_is_time
        scores[..., : self.end].masked_fill_(no_text[..., None], -math.inf)
        scores[..., self.first_time :].masked_fill_(self._forbidden(history), -math.inf)
        times = scores[..., self.first_time :].logsumexp(-1)
        only_time = times > scores[..., : self.first_time].amax(-1)
        scores[..., : self.first_time].masked_fill_(only_time[..., None], -math.inf)

    def _forbidden(self, history: History) -> Tensor:
        """Which timestamps may not come: `[B, Q, N]`"""
        closing = history.last_is_time & ~history.previous_is_time
        earliest = torch.where(closing, history.latest_time, history.latest_time + 1)[..., None]
        text_is_due = history.last_is_time & history.previous_is_time
        return (self._times < earliest) | text_is_due[..., None]


def _total(scores: Tensor) -> Tensor:
    """`logsumexp` over the last dimension, without what is too small to count: a processor takes 15 times as long
    over an exponential that a float32 can only just hold."""
    highest = scores.amax(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
    return (scores - highest).clamp_(min=SMALLEST).exp_().sum(-1).log() + highest[..., 0]


def _end(config: Any) -> int:
    end = config.eos_token_id
    return int(end[0] if isinstance(end, list) else end)
