"""Rows of tokens that go through the decoder together, each at its own place: plain steps and speculative rounds.

A round of speculative decoding (Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding"):
the draft proposes k tokens for every row, one pass of the decoder over all of them tells what it would have chosen,
and each row keeps the proposals up to the first that differs, and the decoder's own token after them. So the tokens
are those of plain greedy decoding, whatever the draft proposes.

Without a temperature, steps and rounds never ask the device for a value, which would make the CPU wait for it:
`rows.py` asks, now and then.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from turnscribe.engine.attempts import Prompt
from turnscribe.engine.cache import Cache
from turnscribe.engine.draft import LONGEST_DRAFT, Draft, RowEnds
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.keywords import ROOT, KeywordBias
from turnscribe.engine.model import Decoder
from turnscribe.engine.rules import Choice, History, Rules

BUCKETS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # batch sizes with a graph of their own


class Batch:
    """Room for `rows` rows. `draft`, of as many rows, proposes tokens where `speculate` is called.

    `keywords` choose among tokens of text alone. A bonus never stands against a timestamp or the end, so a keyword is
    not said where the model has nothing more to say.
    """

    def __init__(
        self,
        decoder: Decoder,
        rules: Rules,
        *,
        rows: int,
        frames: int,
        draft: Draft | None = None,
        beams: int = 1,
        graphs: Graphs,
        keywords: KeywordBias | None = None,
    ) -> None:
        device = rules.bias.device
        self.decoder, self.rules, self.draft, self.graphs, self.rows = decoder, rules, draft, graphs, rows
        self.beams, self.keywords, slack = beams, keywords, LONGEST_DRAFT + 1
        self.cache: Cache = decoder.cache(rows, frames=frames, slack=slack, fixed=graphs.enabled, beams=beams)
        room = decoder.positions + slack
        self.tokens = torch.zeros(rows, room, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(rows, room, device=device)
        self.length = torch.full((rows,), 2, device=device)  # tokens known, the initial ones too
        self.begin = torch.ones(rows, dtype=torch.long, device=device)  # how many were initial
        self.limit = torch.full((rows,), decoder.positions, device=device)  # the length at which a row ends
        self.latest_time = torch.zeros(rows, dtype=torch.long, device=device)
        self.no_speech = torch.zeros(rows, device=device)
        self.done = torch.ones(rows, dtype=torch.bool, device=device)
        self.proposed = torch.zeros(rows, dtype=torch.long, device=device)
        self.accepted = torch.zeros(rows, dtype=torch.long, device=device)
        self.refused = torch.zeros(rows, dtype=torch.long, device=device)  # rounds in which a proposal was
        self.under_way = torch.full((rows,), ROOT, device=device)  # of the keywords, after the last token
        self._pair = torch.tensor([-2, -1], device=device)
        self._order = torch.arange(slack, device=device)
        self._samplers: list[tuple[float, int] | None] = [None] * rows  # temperature and seed

    @property
    def state(self) -> tuple[Tensor, ...]:
        """What belongs to a row, beside its caches."""
        return (
            self.tokens,
            self.logprobs,
            self.length,
            self.begin,
            self.limit,
            self.latest_time,
            self.no_speech,
            self.done,
            self.proposed,
            self.accepted,
            self.refused,
            self.under_way,
        )

    def load_audio(self, encoded: Tensor, draft_encoded: Tensor | None, rows: slice) -> None:
        """Take the encoder's output `[B, T, D]` for `rows`, and that of the draft's own encoder where it has one."""
        self.decoder.load_audio(encoded, self.cache, rows)
        if self.draft is not None:
            self.draft.load_audio(encoded if draft_encoded is None else draft_encoded, rows)

    def language_scores(self, start: int, row: int) -> Tensor:
        """Scores `[V]` of the token after `start` alone, for one row whose audio is loaded."""
        tokens = torch.full((1, 1), start, device=self.tokens.device)
        hidden = self.decoder(tokens, torch.zeros_like(tokens), self.cache, slice(row, row + 1), reach=1)
        return self.decoder.weights.vocabulary(hidden)[0, 0].float()

    def start(
        self,
        rows: slice,
        prompt: Prompt,
        *,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Put the initial and the forced tokens of `prompt` into `rows` and choose the token after them.

        Above a `temperature` of 0 tokens are drawn, by numbers that `seed` and the token's place determine. The
        prompt's own is that of a window's first attempt.
        """
        scores, rules = self._begin(rows, prompt, (temperature, seed) if temperature > 0 else None), self.rules
        if prompt.forced:
            ends, biased = self._ends(rows), (scores + rules.bias)[:, None]
            history = rules.history(ends.tokens, ends.latest_time, ends.generated)
            choice = self._decide(biased, history, rows, self.under_way[rows, None])
        else:
            choice = rules.choose_first(scores)
            if temperature > 0:
                choice = self._draw((scores + rules.begin_bias)[:, None], choice, rows)
        self._append(rows, choice, torch.ones_like(self.length[rows]))

    def _begin(self, rows: slice, prompt: Prompt, sampler: tuple[float, int] | None) -> Tensor:
        """Put the initial and the forced tokens of `prompt` into `rows`: the scores `[B, V]` of what comes next."""
        begin, length = len(prompt.initial), len(prompt.initial) + len(prompt.forced)
        known = torch.tensor([*prompt.initial, *prompt.forced], device=self.tokens.device)
        tokens = known.expand(rows.stop - rows.start, -1)  # [B, length]
        positions = torch.arange(length, device=tokens.device).expand_as(tokens)
        if self.draft is not None:
            self.draft.start(rows, tokens, positions, prompt.guess)
        hidden = self.decoder(tokens, positions, self.cache, rows, reach=length)
        vocabulary = self.decoder.weights.vocabulary
        scores = vocabulary(hidden[:, [prompt.start_of_transcript, -1]]).float()  # [B, 2, V]
        self.no_speech[rows] = scores[:, 0].softmax(-1)[:, self.rules.no_speech]
        for row in range(rows.start, rows.stop):
            self._samplers[row] = sampler
        self.length[rows] = length
        self.tokens[rows, :length] = tokens
        self.begin[rows] = begin
        self.limit[rows] = prompt.limit
        times = [token for token in prompt.forced if token >= self.rules.first_time]
        self.latest_time[rows] = max(times, default=0)
        self.under_way[rows] = self.keywords.automaton.walk(prompt.forced) if self.keywords else ROOT
        if prompt.forced:  # without the rules: what is known may be what they forbid, and has to have a likelihood
            likely = vocabulary(hidden[:, begin - 1 : -1]).float().log_softmax(-1)  # [B, F, V]
            self.logprobs[rows, begin:length] = likely.gather(-1, tokens[:, begin:, None])[..., 0]
        self.done[rows] = False
        return scores[:, 1]

    def step(self, active: int, reach: int) -> None:
        """One more token in each of the first `active` rows; none of them is longer than `reach`."""
        if self._any_sampled(active):
            self._step(slice(0, active), reach)
        else:
            rows = slice(0, self._bucket(active))
            self.graphs.run(("step", rows.stop), lambda: self._step(rows, reach))

    def speculate(self, active: int, count: int, reach: int) -> None:
        """Draft `count` tokens for each of the first `active` rows; keep those that hold, and one token more."""
        assert 1 <= count <= LONGEST_DRAFT, count
        if self._any_sampled(active):
            self._round(slice(0, active), count, reach)
        else:
            rows = slice(0, self._bucket(active))
            self.graphs.run(("round", rows.stop, count), lambda: self._round(rows, count, reach))

    def attention(self, rows: slice, length: int, heads: Sequence[tuple[int, int]]) -> Tensor:
        """Attention of `heads` to the audio, at the first `length` tokens of `rows`: `[B, heads, length, T]`."""
        tokens = self.tokens[rows, :length]
        positions = torch.arange(length, device=tokens.device).expand_as(tokens)
        return self.decoder.attention(tokens, positions, self.cache, rows, heads)

    def swap(self, first: int, second: int) -> None:
        """Exchange two rows."""
        self.cache.swap(first, second)
        if self.draft is not None:
            self.draft.swap(first, second)
        for tensor in self.state:
            tensor[[first, second]] = tensor[[second, first]]
        samplers = self._samplers
        samplers[first], samplers[second] = samplers[second], samplers[first]

    def _bucket(self, active: int) -> int:
        if not self.graphs.enabled:
            return active
        self._samplers[active:] = [None] * (self.rows - active)  # a recorded pass covers free rows, and draws nothing
        return min(next(size for size in (*BUCKETS, self.rows) if size >= active), self.rows)

    def _any_sampled(self, active: int) -> bool:
        """Whether one of the first `active` rows has a temperature. Such passes are not recorded."""
        return any(sampler is not None for sampler in self._samplers[:active])

    def _step(self, rows: slice, reach: int) -> None:
        ends = self._ends(rows)
        hidden = self.decoder(ends.tokens[:, 1:], ends.positions[:, 1:], self.cache, rows, reach=reach)
        choice = self._choose(hidden, ends.tokens, ends, rows)
        self._append(rows, choice, torch.ones_like(self.length[rows]))

    def _round(self, rows: slice, count: int, reach: int) -> None:
        assert self.draft is not None
        ends = self._ends(rows)
        proposed = self.draft.propose(rows, ends, count, reach=reach + count)  # [B, 2 + count]
        positions = ends.positions[:, 1:] + self._order[: count + 1]
        hidden = self.decoder(proposed[:, 1:], positions, self.cache, rows, reach=reach + count)
        choice = self._choose(hidden, proposed, ends, rows)  # [B, count + 1]
        agreed = (choice.tokens[:, :-1] == proposed[:, 2:]).long().cumprod(dim=1).sum(dim=1)  # [B]
        going_on = ~self.done[rows]
        kept = self._append(rows, choice, agreed + 1)
        self.proposed[rows] += count * going_on
        self.accepted[rows] += torch.minimum(agreed, kept)
        self.refused[rows] += going_on & (agreed < count)

    def _ends(self, rows: slice) -> RowEnds:
        positions = self.length[rows, None] + self._pair
        tokens = self.tokens[rows].gather(1, positions)
        return RowEnds(tokens, positions, self.latest_time[rows], self.length[rows] - self.begin[rows])

    def _choose(self, hidden: Tensor, tokens: Tensor, ends: RowEnds, rows: slice) -> Choice:
        """What comes after each of `tokens[:, 1:]`, which begin with `ends`, by the decoder's hidden states
        `[B, Q, D]`."""
        vocabulary, rules = self.decoder.weights.vocabulary, self.rules
        scores = vocabulary.with_bias(hidden, rules.bias.to(hidden.dtype)).float()
        history = rules.history(tokens, ends.latest_time, ends.generated)
        states = self.under_way[rows, None]  # [B, 1]
        if self.keywords is not None and tokens.shape[1] > 2:
            states = self.keywords.along(self.under_way[rows], tokens[:, 2:])  # [B, Q]
        return self._decide(scores, history, rows, states)

    def _decide(self, scores: Tensor, history: History, rows: slice, states: Tensor) -> Choice:
        """What comes next, from scores `[B, Q, V]` to which the rules' `bias` was added, and where keywords are."""
        rules = self.rules
        choice = rules.choose(scores, history)
        bonus = None
        if self.keywords is not None:
            bonus = self._among_text(self.keywords.bonus(states), choice.tokens)
            likeliest = (scores + bonus)[..., : rules.end].argmax(-1)
            tokens = torch.where(choice.tokens < rules.end, likeliest, choice.tokens)
            change = scores.gather(-1, tokens[..., None]) - scores.gather(-1, choice.tokens[..., None])
            choice = Choice(tokens, choice.logprobs + change[..., 0])
        if self._any_sampled(rows.stop):
            choice = self._draw(rules.process(scores, history), choice, rows, bonus)
        return choice

    def _among_text(self, bonus: Tensor, chosen: Tensor) -> Tensor:
        """The keywords' bonus `[B, Q, V]` where a token of text was `chosen` `[B, Q]` without it; elsewhere none."""
        return bonus.masked_fill(chosen[..., None] >= self.rules.end, 0.0)

    def _draw(self, scores: Tensor, choice: Choice, rows: slice, bonus: Tensor | None = None) -> Choice:
        """`choice`, with tokens drawn from the processed scores `[B, Q, V]` in rows that have a temperature.

        By Gumbel's trick: the likeliest token after noise of that shape is a draw. Reported probabilities are those
        without the temperature, as Whisper's are, and without the keywords' `bonus`.
        """
        tokens, logprobs = choice.tokens.clone(), choice.logprobs.clone()
        for index, sampler in enumerate(self._samplers[rows]):
            if sampler is None:
                continue
            temperature, seed = sampler
            noise = self._noise(seed, int(self.length[rows.start + index]), scores.shape[1:])
            likely = scores[index] if bonus is None else scores[index] + bonus[index]
            drawn = (likely / temperature + noise).argmax(-1)  # [Q]
            tokens[index] = drawn
            logprobs[index] = scores[index].log_softmax(-1).gather(-1, drawn[:, None])[:, 0]
        return Choice(tokens, logprobs)

    def _noise(self, seed: int, first: int, shape: Sequence[int]) -> Tensor:
        """Gumbel noise `[Q, V]` for the tokens from place `first` on: the same however many are decided at once."""
        rows, generator = [], torch.Generator(device=self.tokens.device)
        for place in range(first, first + shape[0]):
            generator.manual_seed(seed * self.tokens.shape[1] + place)
            rows.append(torch.rand(shape[1], generator=generator, device=self.tokens.device))
        return -torch.log(-torch.log(torch.stack(rows).clamp(1e-20, 1 - 1e-7)))

    def _append(self, rows: slice, choice: Choice, counts: Tensor) -> Tensor:
        """Add the first `counts` `[B]` of the chosen tokens, up to the end token and each row's limit.

        Returns how many were added.
        """
        length, order = self.length[rows], self._order[: choice.tokens.shape[1]]
        end = choice.tokens == self.rules.end  # [B, Q]
        before_end = (end.long().cumsum(dim=1) - end.long() == 0).sum(dim=1)  # [B]; the first end token counts
        counts = torch.minimum(torch.minimum(counts, before_end), self.limit[rows] - length)
        counts = counts.masked_fill(self.done[rows], 0)
        kept = order < counts[:, None]  # [B, Q]
        places = length[:, None] + order
        for room, new in ((self.tokens, choice.tokens), (self.logprobs, choice.logprobs)):
            room[rows].scatter_(1, places, torch.where(kept, new, room[rows].gather(1, places)))
        times = torch.where(kept & (choice.tokens >= self.rules.first_time), choice.tokens, 0).amax(dim=1)
        self.latest_time[rows] = torch.maximum(self.latest_time[rows], times)
        if self.keywords is not None:
            states = self.keywords.along(self.under_way[rows], choice.tokens)  # [B, Q + 1]
            self.under_way[rows] = states.gather(1, counts[:, None])[:, 0]
        self.length[rows] = length + counts
        self.done[rows] |= (end & kept).any(dim=1) | (self.length[rows] >= self.limit[rows])
        return counts
