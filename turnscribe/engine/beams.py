"""Beam search: a batch in which each row is a window with several beams, unfinished texts that go on side by side.

As CTranslate2 does it. At each step the 2 k likeliest continuations of a window's k beams are found. Of the first k,
those that end are hypotheses; the first k that do not end are the next beams. A window is over when it has as many
hypotheses as it wanted, or at its limit of tokens, where its beams count as hypotheses too. The best hypothesis by
its log-probability per token is its text. All this is done without asking the device for a value.

Beams of one window are equally long, and share what their attention reads of the audio. At a temperature above 0 a
window has one beam, and its tokens are drawn as in a plain batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from turnscribe.engine.attempts import Prompt
from turnscribe.engine.batch import Batch
from turnscribe.engine.draft import RowEnds
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.keywords import KeywordBias
from turnscribe.engine.model import Decoder
from turnscribe.engine.rules import Choice, Rules


@dataclass(frozen=True)
class Candidates:
    """The likeliest continuations of each window, best first: twice as many as it has beams."""

    beams: Tensor  # [B, 2 k]; that they continue
    tokens: Tensor  # [B, 2 k]
    logprobs: Tensor  # [B, 2 k], of these tokens
    sums: Tensor  # [B, 2 k], of the log-probabilities of all tokens, and of what keywords bring


class BeamBatch(Batch):
    """Room for `rows` windows of `beams` beams each; `tokens` and the like are those of the best beam, and once a row
    is done those of its best hypothesis.

    A hypothesis of n tokens, without the end token, has the score `sum of log-probabilities / n ** length_penalty`
    (openai-whisper divides by `((5 + n) / 6) ** length_penalty` where one is given), and `patience * beams` of them
    are wanted. Without a length penalty (0) a window is over once its likeliest candidate ends, since nothing that
    comes later can be likelier. What `keywords` lend a beam that then says something else is taken back, so their
    bonus may stand against any token.
    """

    def __init__(
        self,
        decoder: Decoder,
        rules: Rules,
        *,
        rows: int,
        frames: int,
        beams: int,
        graphs: Graphs,
        keywords: KeywordBias | None = None,
    ) -> None:
        super().__init__(decoder, rules, rows=rows, frames=frames, beams=beams, graphs=graphs, keywords=keywords)
        self.beam_tokens = self.tokens[:, None].repeat(1, beams, 1)  # [rows, beams, positions]
        self.beam_logprobs = self.logprobs[:, None].repeat(1, beams, 1)
        self.tokens, self.logprobs = self.beam_tokens[:, 0], self.beam_logprobs[:, 0]
        self.latest_time = self.latest_time[:, None].repeat(1, beams)
        self.under_way = self.under_way[:, None].repeat(1, beams)
        self.sums = self.beam_logprobs.new_zeros(rows, beams)  # of the tokens' log-probabilities
        self.best_tokens, self.best_logprobs = self.tokens.clone(), self.logprobs.clone()
        self.best_length, self.best_score = self.length.clone(), self.logprobs.new_zeros(rows)
        self.found, self.wanted = torch.zeros_like(self.length), torch.ones_like(self.length)  # hypotheses
        self.length_penalty = self.logprobs.new_ones(rows)
        self._origins = torch.arange(rows * beams, device=self.tokens.device)  # of each beam, in the last step
        self._rank = torch.arange(2 * beams, device=self.tokens.device)

    @property
    def state(self) -> tuple[Tensor, ...]:
        return (
            *(tensor for tensor in super().state if tensor is not self.tokens and tensor is not self.logprobs),
            self.beam_tokens,
            self.beam_logprobs,
            self.sums,
            self.best_tokens,
            self.best_logprobs,
            self.best_length,
            self.best_score,
            self.found,
            self.wanted,
            self.length_penalty,
        )

    def start(self, rows: slice, prompt: Prompt, *, temperature: float = 0.0, seed: int = 0) -> None:
        assert not prompt.forced, "beam search begins with the first token of a text"
        scores = self._begin(rows, prompt, (temperature, seed) if temperature > 0 else None)  # [B, V]
        self.beam_tokens[rows] = self.tokens[rows, None].clone()
        self.best_length[rows] = self.length[rows]
        self.best_score[rows] = -math.inf
        self.found[rows] = 0
        self.wanted[rows] = 1 if temperature > 0 else max(int(self.beams * prompt.patience + 0.5), 1)
        self.length_penalty[rows] = prompt.length_penalty
        scores = scores + self.rules.begin_bias
        logprobs, tokens = scores.log_softmax(-1).topk(2 * self.beams)
        self._extend(
            rows, self._drawn(Candidates(torch.zeros_like(tokens), tokens, logprobs, logprobs), scores, rows)
        )
        self._reorder(rows, len(prompt.initial))

    def step(self, active: int, reach: int) -> None:
        super().step(active, reach)
        self._reorder(slice(0, active), reach)  # not recorded: it copies no more than `reach`

    def speculate(self, active: int, count: int, reach: int) -> None:
        raise NotImplementedError("beam search does not speculate")

    def _reorder(self, rows: slice, reach: int) -> None:
        asking = self.graphs.device.kind == "cpu"  # nothing is lost by it there
        self.cache.reorder(rows, self._origins, reach, asking=asking)

    def _step(self, rows: slice, reach: int) -> None:
        ends = self._ends(rows)
        hidden = self.decoder(ends.tokens[:, 1:], ends.positions[:, 1:], self.cache, rows, reach=reach)
        rules, width = self.rules, 2 * self.beams
        scores = self.decoder.weights.vocabulary.with_bias(hidden, rules.bias.to(hidden.dtype)).float()
        history = rules.history(ends.tokens, ends.latest_time, ends.generated)
        bonus = None if self.keywords is None else self.keywords.bonus(self.under_way[rows].flatten())  # [B * k, V]
        each = rules.likeliest(scores, history, width, bonus)  # [B * k, 2 k]
        likely = each.logprobs if bonus is None else each.logprobs + bonus.gather(1, each.tokens)
        of_window = (self.sums[rows].flatten()[:, None] + likely).view(-1, self.beams * width)
        sums, places = of_window.topk(width)  # [B, 2 k]
        found = Candidates(
            beams=places // width,
            tokens=each.tokens.view_as(of_window).gather(1, places),
            logprobs=each.logprobs.view_as(of_window).gather(1, places),
            sums=sums,
        )
        if self._any_sampled(rows.stop):
            found = self._drawn(found, scores[:: self.beams, 0], rows, bonus)
        self._extend(rows, found)

    def _ends(self, rows: slice) -> RowEnds:
        """Of all beams: `[B * k, ...]`"""
        positions = (self.length[rows, None] + self._pair)[:, None].expand(-1, self.beams, -1)  # [B, k, 2]
        generated = (self.length[rows] - self.begin[rows]).repeat_interleave(self.beams)
        tokens = self.beam_tokens[rows].gather(2, positions)
        return RowEnds(tokens.flatten(0, 1), positions.flatten(0, 1), self.latest_time[rows].flatten(), generated)

    def _drawn(self, found: Candidates, scores: Tensor, rows: slice, bonus: Tensor | None = None) -> Candidates:
        """`found`, but in rows that have a temperature one token alone: drawn from the processed scores `[B, V]` of
        the first beam, whose keywords bring `bonus`. Its sum is of no use: the first hypothesis is the text."""
        if bonus is not None:
            bonus = self._among_text(bonus[:: self.beams, None], scores.argmax(-1)[:, None])
        choice = Choice(found.tokens[:, :1], found.logprobs[:, :1])
        drawn = self._draw(scores[:, None], choice, rows, bonus)  # [B, 1]
        sampled = [index for index, sampler in enumerate(self._samplers[rows]) if sampler is not None]
        beams, tokens, logprobs, sums = (
            part.clone() for part in (found.beams, found.tokens, found.logprobs, found.sums)
        )
        beams[sampled] = 0
        tokens[sampled, 0], logprobs[sampled, 0] = drawn.tokens[sampled, 0], drawn.logprobs[sampled, 0]
        sums[sampled] = -math.inf
        sums[sampled, 0] = logprobs[sampled, 0]
        return Candidates(beams, tokens, logprobs, sums)

    def _extend(self, rows: slice, found: Candidates) -> None:
        """Choose the hypotheses and the next beams among the candidates."""
        length, going_on = self.length[rows].clone(), ~self.done[rows]
        ends = found.tokens == self.rules.end  # [B, 2 k]
        at_limit = length + 1 >= self.limit[rows]
        self._keep_best(rows, found, ends, at_limit)
        order = (self._rank + ends * len(self._rank)).topk(self.beams, largest=False).indices  # [B, k]
        beams, tokens = found.beams.gather(1, order), found.tokens.gather(1, order)
        for room, new in ((self.beam_tokens, tokens), (self.beam_logprobs, found.logprobs.gather(1, order))):
            texts = _continued(room[rows], beams, new, length)
            room[rows] = torch.where(going_on[:, None, None], texts, room[rows])
        times = torch.where(tokens >= self.rules.first_time, tokens, 0)
        self.latest_time[rows] = torch.maximum(self.latest_time[rows].gather(1, beams), times)
        if self.keywords is not None:
            self.under_way[rows] = self.keywords.after(self.under_way[rows].gather(1, beams), tokens)
        self.sums[rows] = found.sums.gather(1, order)
        first = torch.arange(rows.start, rows.stop, device=beams.device)[:, None] * self.beams
        self._origins[rows.start * self.beams : rows.stop * self.beams] = (first + beams).flatten()
        enough = torch.where(self.length_penalty[rows] == 0, ends[:, 0], self.found[rows] >= self.wanted[rows])
        ended = going_on & (at_limit | enough)
        self.length[rows] = torch.where(ended, self.best_length[rows], length + going_on)
        for room, best in ((self.tokens, self.best_tokens), (self.logprobs, self.best_logprobs)):
            room[rows] = torch.where(ended[:, None], best[rows], room[rows])
        self.done[rows] |= ended

    def _keep_best(self, rows: slice, found: Candidates, ends: Tensor, at_limit: Tensor) -> None:
        """Count the hypotheses among the candidates, and keep the best if it is better than those before."""
        beams, length = self.beams, self.length[rows]
        ends, sums = ends[:, :beams], found.sums[:, :beams]
        complete = (ends | at_limit[:, None]) & (sums > -math.inf) & ~self.done[rows, None]  # [B, k]
        said = (length - self.begin[rows])[:, None] + ~ends
        scores = (sums / said.clamp(min=1) ** self.length_penalty[rows, None]).masked_fill(~complete, -math.inf)
        score, place = scores.max(1, keepdim=True)  # [B, 1]
        better = score > self.best_score[rows, None]
        self.found[rows] += complete.sum(1)
        self.best_score[rows] = torch.where(better, score, self.best_score[rows, None])[:, 0]
        self.best_length[rows] = torch.where(better[:, 0], length + 1, self.best_length[rows])
        beam = found.beams.gather(1, place)
        for best, room, new in (
            (self.best_tokens, self.beam_tokens, found.tokens),
            (self.best_logprobs, self.beam_logprobs, found.logprobs),
        ):
            text = _continued(room[rows], beam, new.gather(1, place), length)[:, 0]
            best[rows] = torch.where(better, text, best[rows])


def _continued(room: Tensor, beams: Tensor, new: Tensor, length: Tensor) -> Tensor:
    """Of `room` `[B, k, N]` the texts of `beams` `[B, M]`, with `new` `[B, M]` at the places `length` `[B]`."""
    texts = room.gather(1, beams[..., None].expand(-1, -1, room.shape[2]))  # [B, M, N]
    return texts.scatter(2, length[:, None, None].expand(-1, beams.shape[1], 1), new[..., None])
