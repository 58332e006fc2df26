"""Rows of tokens that go through the decoder together, each at its own place: plain steps and speculative rounds.

A round of speculative decoding (Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding"):
the draft proposes k tokens for every row, one pass of the decoder over all of them says what it would have chosen,
and each row keeps its own agreeing prefix and the decoder's next token. Draft and decoder follow the same rules, so
the tokens are those of plain greedy decoding. Nothing here asks the device for a value: `decode.py` does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from turnscribe.engine.cache import Cache
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.model import Decoder
from turnscribe.engine.rules import Choice, Rules

LONGEST_DRAFT = 8
BUCKETS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # batch sizes with a graph of their own


class Batch:
    """Room for `rows` rows; `draft` proposes tokens where `speculate` is called."""

    def __init__(
        self,
        decoder: Decoder,
        rules: Rules,
        *,
        rows: int,
        frames: int,
        draft: Decoder | None = None,
        graphs: Graphs,
    ) -> None:
        device = rules.bias.device
        self.decoder, self.rules, self.draft, self.graphs, self.rows = decoder, rules, draft, graphs, rows
        fixed = graphs.enabled
        slack = LONGEST_DRAFT + 1
        self.cache: Cache = decoder.cache(rows, frames=frames, slack=slack, fixed=fixed)
        self.draft_cache: Cache | None = None
        if draft is not None:
            self.draft_cache = draft.cache(rows, frames=frames, slack=slack, fixed=fixed)
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
        self._pair = torch.tensor([-2, -1], device=device)
        self._order = torch.arange(slack, device=device)
        self._samplers: list[tuple[float, int] | None] = [None] * rows  # temperature and seed
        self._generator = torch.Generator(device=device)

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
        )

    def hear(self, encoded: Tensor, draft_encoded: Tensor | None, rows: slice) -> None:
        """The encoder's outputs `[B, T, D]` for `rows`; the draft's own where it has an encoder of its own."""
        self.decoder.hear(encoded, self.cache, rows)
        if self.draft is not None:
            assert self.draft_cache is not None
            self.draft.hear(encoded if draft_encoded is None else draft_encoded, self.draft_cache, rows)

    def language_scores(self, start: int, row: int) -> Tensor:
        """Scores `[V]` of the token after `start` alone, for one row that was heard."""
        tokens = torch.full((1, 1), start, device=self.tokens.device)
        hidden = self.decoder(tokens, torch.zeros_like(tokens), self.cache, slice(row, row + 1), reach=1)
        return self.decoder.weights.vocabulary(hidden)[0, 0].float()

    def start(
        self,
        rows: slice,
        initial: Sequence[int],
        *,
        start_of_transcript: int,
        limit: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Put the initial tokens into `rows` and choose their first token.

        Above a `temperature` of 0 tokens are drawn, by numbers that `seed` and the token's place determine.
        """
        length = len(initial)
        tokens = torch.tensor(initial, device=self.tokens.device).expand(rows.stop - rows.start, -1)  # [B, I]
        positions = torch.arange(length, device=tokens.device).expand_as(tokens)
        if self.draft is not None:
            assert self.draft_cache is not None
            self.draft(tokens, positions, self.draft_cache, rows, reach=length)
        hidden = self.decoder(tokens, positions, self.cache, rows, reach=length)
        vocabulary = self.decoder.weights.vocabulary
        scores = vocabulary(hidden[:, [start_of_transcript, -1]]).float()  # [B, 2, V]
        self.no_speech[rows] = scores[:, 0].softmax(-1)[:, self.rules.no_speech]
        for row in range(rows.start, rows.stop):
            self._samplers[row] = (temperature, seed) if temperature > 0 else None
        choice = self.rules.choose_first(scores[:, 1])
        self.length[rows] = length
        if temperature > 0:
            choice = self._drawn((scores[:, 1] + self.rules.begin_bias)[:, None], choice, rows)
        self.tokens[rows, :length] = tokens
        self.begin[rows] = length
        self.limit[rows] = limit
        self.latest_time[rows] = 0
        self.done[rows] = False
        self._append(rows, choice, torch.ones_like(self.length[rows]))

    def step(self, active: int, reach: int) -> None:
        """One more token in each of the first `active` rows; none of them is longer than `reach`."""
        if self._hot(active):
            self._step(slice(0, active), reach)
        else:
            rows = slice(0, self._bucket(active))
            self.graphs.run(("step", rows.stop), lambda: self._step(rows, reach))

    def speculate(self, active: int, count: int, reach: int) -> None:
        """`count` drafted tokens for each of the first `active` rows, and as many of them as hold, and one."""
        assert 1 <= count <= LONGEST_DRAFT, count
        if self._hot(active):
            self._round(slice(0, active), count, reach)
        else:
            rows = slice(0, self._bucket(active))
            self.graphs.run(("round", rows.stop, count), lambda: self._round(rows, count, reach))

    def attention(self, rows: slice, length: int, heads: Sequence[tuple[int, int]]) -> Tensor:
        """Where `heads` looked while the first `length` tokens of `rows` were said: `[B, heads, length, T]`."""
        tokens = self.tokens[rows, :length]
        positions = torch.arange(length, device=tokens.device).expand_as(tokens)
        return self.decoder.attention(tokens, positions, self.cache, rows, heads)

    def swap(self, first: int, second: int) -> None:
        """Exchange two rows."""
        self.cache.swap(first, second)
        if self.draft_cache is not None:
            self.draft_cache.swap(first, second)
        for tensor in self.state:
            tensor[[first, second]] = tensor[[second, first]]
        samplers = self._samplers
        samplers[first], samplers[second] = samplers[second], samplers[first]

    def _bucket(self, active: int) -> int:
        if not self.graphs.enabled:
            return active
        self._samplers[active:] = [None] * (self.rows - active)  # a recorded pass covers free rows, and draws nothing
        return min(next(size for size in (*BUCKETS, self.rows) if size >= active), self.rows)

    def _hot(self, active: int) -> bool:
        return any(sampler is not None for sampler in self._samplers[:active])

    def _step(self, rows: slice, reach: int) -> None:
        places, pair = self._last_two(rows)
        hidden = self.decoder(pair[:, 1:], places[:, 1:], self.cache, rows, reach=reach)
        choice = self._chosen(hidden, pair, rows)
        self._append(rows, choice, torch.ones_like(self.length[rows]))

    def _round(self, rows: slice, count: int, reach: int) -> None:
        places, pair = self._last_two(rows)
        proposed = self._drafted(rows, places, pair, count, reach + count)  # [B, 2 + count]
        at = places[:, 1:] + self._order[: count + 1]
        hidden = self.decoder(proposed[:, 1:], at, self.cache, rows, reach=reach + count)
        choice = self._chosen(hidden, proposed, rows)  # [B, count + 1]
        agreed = (choice.tokens[:, :-1] == proposed[:, 2:]).long().cumprod(dim=1).sum(dim=1)  # [B]
        going_on = ~self.done[rows]
        kept = self._append(rows, choice, agreed + 1)
        self.proposed[rows] += count * going_on
        self.accepted[rows] += torch.minimum(agreed, kept)
        self.refused[rows] += going_on & (agreed < count)

    def _drafted(self, rows: slice, places: Tensor, pair: Tensor, count: int, reach: int) -> Tensor:
        """The last two tokens and `count` proposals: `[B, 2 + count]`.

        The draft is fed both last tokens: where all its proposals held, it has not seen the first of them.
        """
        assert self.draft is not None
        assert self.draft_cache is not None
        rules, vocabulary = self.rules, self.draft.weights.vocabulary
        said = self.length[rows] - self.begin[rows]
        latest_time = self.latest_time[rows]
        proposed = pair
        feed, at = pair, places
        for index in range(count):
            hidden = self.draft(feed, at, self.draft_cache, rows, reach=reach)[:, -1:]
            scores = vocabulary.with_bias(hidden, rules.bias.to(hidden.dtype)).float()
            history = rules.history(proposed[:, -2:], latest_time, said + index)
            feed = self._propose(rules.choose(scores, history, scored=False).tokens, rows, index)
            latest_time = torch.where(feed[:, 0] >= rules.first_time, feed[:, 0], latest_time)
            proposed = torch.cat([proposed, feed], dim=1)
            at = places[:, 1:] + index + 1
        return proposed

    def _propose(self, tokens: Tensor, rows: slice, index: int) -> Tensor:
        """The draft's own tokens `[B, 1]`; a scripted draft replaces them here."""
        return tokens

    def _last_two(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Positions and tokens `[B, 2]` at the end of each row."""
        places = self.length[rows, None] + self._pair
        return places, self.tokens[rows].gather(1, places)

    def _chosen(self, hidden: Tensor, tokens: Tensor, rows: slice) -> Choice:
        """What comes after each of `tokens[:, 1:]` by the decoder's hidden states `[B, Q, D]`."""
        vocabulary, rules = self.decoder.weights.vocabulary, self.rules
        scores = vocabulary.with_bias(hidden, rules.bias.to(hidden.dtype)).float()
        history = rules.history(tokens, self.latest_time[rows], self.length[rows] - self.begin[rows])
        choice = rules.choose(scores, history)
        if any(sampler is not None for sampler in self._samplers[rows]):
            choice = self._drawn(rules.process(scores, history), choice, rows)
        return choice

    def _drawn(self, scores: Tensor, choice: Choice, rows: slice) -> Choice:
        """`choice`, with tokens drawn from the processed scores `[B, Q, V]` in rows that have a temperature.

        By Gumbel's trick: the likeliest token after noise of that shape is a draw. Reported probabilities are those
        without the temperature, as Whisper's are.
        """
        tokens, logprobs = choice.tokens.clone(), choice.logprobs.clone()
        for index, sampler in enumerate(self._samplers[rows]):
            if sampler is None:
                continue
            temperature, seed = sampler
            noise = self._noise(seed, int(self.length[rows.start + index]), scores.shape[1:])
            drawn = (scores[index] / temperature + noise).argmax(-1)  # [Q]
            tokens[index] = drawn
            logprobs[index] = scores[index].log_softmax(-1).gather(-1, drawn[:, None])[:, 0]
        return Choice(tokens, logprobs)

    def _noise(self, seed: int, first: int, shape: Sequence[int]) -> Tensor:
        """Gumbel noise `[Q, V]` for the tokens from place `first` on: the same however many are decided at once."""
        rows = []
        for place in range(first, first + shape[0]):
            self._generator.manual_seed(seed * self.tokens.shape[1] + place)
            rows.append(torch.rand(shape[1], generator=self._generator, device=self.tokens.device))
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
        self.length[rows] = length + counts
        self.done[rows] |= (end & kept).any(dim=1) | (self.length[rows] >= self.limit[rows])
        return counts
