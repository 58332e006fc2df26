"""The quick choice against the masks, and the masks against transformers' processors."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from transformers.generation.logits_process import (
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)

from tests.engine.models import AT, rules_of, tiny_whisper
from turnscribe.engine.rules import History, Rules

SEEDS = range(40)
INITIAL = (AT.start,)


@cache
def model(multilingual: bool = True) -> Any:
    return tiny_whisper(multilingual=multilingual, mels=80)


@cache
def rules(timestamps: bool) -> Rules:
    return rules_of(model(), timestamps=timestamps)


def saying(random: torch.Generator, length: int) -> list[int]:
    """Tokens as the rules let them come: text between two timestamps that do not run backwards."""
    tokens = [AT.first_time + int(torch.randint(50, (), generator=random))]
    while len(tokens) < length:
        latest = max(token for token in tokens if token >= AT.first_time)
        pair = len(tokens) >= 2 and tokens[-1] >= AT.first_time and tokens[-2] < AT.first_time
        step = int(torch.randint(0, 30, (), generator=random))
        if pair:
            tokens.append(min(latest + step, AT.vocabulary - 1))
        elif tokens[-1] < AT.first_time and torch.rand((), generator=random) < 0.4:
            tokens.append(min(latest + 1 + step, AT.vocabulary - 1))
        else:
            tokens.append(int(torch.randint(AT.end, (), generator=random)))
    return tokens[:length]


def scores_of(random: torch.Generator, *shape: int) -> torch.Tensor:
    """Scores of text, timestamps or the end that win by turns."""
    scores = torch.randn(*shape, AT.vocabulary, generator=random) * 3
    scores[..., AT.first_time :] += torch.randn(*shape, 1, generator=random) * 6 - 4
    scores[..., AT.end] += torch.randn(shape, generator=random) * 6
    return scores


def state(rules: Rules, tokens: list[int]) -> History:
    """What `history` says at the end of a row, by itself: `[1, 1]`."""
    row = [*INITIAL, *tokens]
    pair = torch.tensor([row[-2:] if len(row) > 1 else [0, *row]])
    latest = max([token for token in tokens if token >= AT.first_time], default=0)
    return rules.history(pair, torch.tensor([latest]), torch.tensor([len(tokens)]))


def processed(rules: Rules, tokens: list[int], scores: torch.Tensor) -> torch.Tensor:
    """By transformers' processors, from raw scores `[V]`."""
    config = model().generation_config
    ids = torch.tensor([[*INITIAL, *tokens]])
    begin = len(INITIAL)
    processors = [
        SuppressTokensAtBeginLogitsProcessor(config.begin_suppress_tokens, begin_index=begin),
        SuppressTokensLogitsProcessor(config.suppress_tokens),
    ]
    if rules.timestamps:
        processors.append(WhisperTimeStampLogitsProcessor(config, begin_index=begin))
    scores = scores[None]
    for processor in processors:
        scores = processor(ids, scores)
    return scores[0]


@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 12])
def test_masks_are_those_of_transformers(timestamps: bool, length: int) -> None:
    kinds = set()
    for seed in SEEDS:
        random = torch.Generator().manual_seed(seed * 100 + length)
        tokens, scores = saying(random, length), scores_of(random)
        kinds.add(tuple(token >= AT.first_time for token in tokens[-2:]))
        ours = rules(timestamps).process(
            (scores + rules(timestamps).bias)[None, None], state(rules(timestamps), tokens)
        )
        torch.testing.assert_close(ours[0, 0], processed(rules(timestamps), tokens, scores), atol=0, rtol=0)
    if length >= 4:
        assert len(kinds) >= 3


@pytest.mark.parametrize("timestamps", [True, False])
def test_the_first_choice_is_that_of_transformers(timestamps: bool) -> None:
    chosen = set()
    for seed in SEEDS:
        scores = scores_of(torch.Generator().manual_seed(seed), 3)
        choice = rules(timestamps).choose_first(scores)
        expected = torch.stack([processed(rules(timestamps), [], row) for row in scores])
        assert choice.tokens[:, 0].tolist() == expected.argmax(-1).tolist()
        best = expected.log_softmax(-1).amax(-1, keepdim=True)
        torch.testing.assert_close(choice.logprobs, best, atol=1e-5, rtol=1e-5)
        chosen |= set(choice.tokens[:, 0].tolist())
    assert len(chosen) > 10
    assert not chosen & {*model().generation_config.begin_suppress_tokens, *model().generation_config.suppress_tokens}
    if timestamps:
        assert all(AT.first_time <= token <= AT.first_time + 50 for token in chosen)


@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("length", [1, 2, 3, 6, 13])
def test_the_quick_choice_is_the_likeliest_that_the_masks_leave(timestamps: bool, length: int) -> None:
    one, kinds = rules(timestamps), set()
    for seed in SEEDS:
        random = torch.Generator().manual_seed(seed * 100 + length)
        tokens, scores = saying(random, length), scores_of(random, 1, 1) + one.bias
        left = one.process(scores, state(one, tokens))
        choice = one.choose(scores, state(one, tokens))
        assert torch.equal(choice.tokens, left.argmax(-1))
        torch.testing.assert_close(choice.logprobs, left.log_softmax(-1).amax(-1), atol=1e-5, rtol=1e-5)
        bare = one.choose(scores, state(one, tokens), scored=False)
        assert torch.equal(bare.tokens, choice.tokens)
        assert not bare.logprobs.any()
        token = int(choice.tokens)
        kinds.add("time" if token >= AT.first_time else "end" if token == AT.end else "text")
    assert len(kinds) == 3 or length == 1  # after the first timestamp, text is due


@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("length", [1, 2, 12])
def test_the_likeliest_are_those_that_the_masks_leave(timestamps: bool, length: int) -> None:
    one = rules(timestamps)
    for seed in SEEDS:
        random = torch.Generator().manual_seed(seed * 100 + length)
        history, scores = state(one, saying(random, length)), scores_of(random, 1, 1) + one.bias
        left = one.process(scores, history)[:, 0]
        found = one.likeliest(scores, history, 7)
        logprobs, tokens = left.log_softmax(-1).topk(7)
        assert torch.equal(found.tokens, tokens)
        torch.testing.assert_close(found.logprobs, logprobs, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("drafted", [1, 3, 8])
def test_a_whole_draft_is_judged_as_token_by_token(timestamps: bool, drafted: int) -> None:
    """Some rows are at their first tokens, others far; drafts may break the rules."""
    one = rules(timestamps)
    for seed in SEEDS:
        random = torch.Generator().manual_seed(seed * 100 + drafted)
        rows = [saying(random, length) for length in (1, 2, 5, 9)]
        drafts = [saying(random, length + drafted)[length:] for length in (1, 2, 5, 9)]
        if seed % 2:
            drafts = torch.randint(AT.vocabulary, (4, drafted), generator=random).tolist()
        scores = scores_of(random, 4, drafted + 1) + one.bias
        tokens = torch.tensor(
            [[*[*INITIAL, *row][-2:], *draft] for row, draft in zip(rows, drafts, strict=True)]
        )  # [4, 2 + drafted]
        latest = torch.tensor([max(token for token in row if token >= AT.first_time) for row in rows])
        history = one.history(tokens, latest, torch.tensor([len(row) for row in rows]))
        choice, left = one.choose(scores, history), one.process(scores, history)
        for index, (row, draft) in enumerate(zip(rows, drafts, strict=True)):
            for place in range(drafted + 1):
                alone = state(one, [*row, *draft[:place]])
                expected = one.process(scores[index, place][None, None], alone)[0, 0]
                torch.testing.assert_close(left[index, place], expected, atol=0, rtol=0)
                assert int(choice.tokens[index, place]) == int(expected.argmax())
                logprob = expected.log_softmax(-1).max()
                torch.testing.assert_close(choice.logprobs[index, place], logprob, atol=1e-5, rtol=1e-5)


def test_a_timestamp_comes_where_all_together_outweigh_every_word() -> None:
    one = rules(True)
    scores = torch.zeros(1, 1, AT.vocabulary) + one.bias
    scores[..., 5] = 4.0  # the likeliest token, yet less likely than 1501 timestamps
    tokens = [AT.first_time, 3]
    assert int(one.choose(scores, state(one, tokens)).tokens) == AT.first_time + 1
    scores[..., 5] = 9.0
    assert int(one.choose(scores, state(one, tokens)).tokens) == 5


def test_without_timestamps_they_are_not_forbidden() -> None:
    """As in transformers, which leaves that to the model."""
    scores = torch.zeros(1, 1, AT.vocabulary)
    scores[..., AT.first_time + 700] = 1.0
    assert int(rules(False).choose(scores, state(rules(False), [4])).tokens) == AT.first_time + 700


def test_no_limit_on_the_first_timestamp_where_the_model_names_none() -> None:
    config = tiny_whisper(multilingual=False, mels=80).generation_config
    del config.max_initial_timestamp_index
    free = Rules(config, timestamps=True, device=torch.device("cpu"), vocabulary=AT.vocabulary)
    scores = torch.zeros(1, AT.vocabulary)
    scores[0, AT.vocabulary - 1] = 9.0
    assert int(free.choose_first(scores).tokens) == AT.vocabulary - 1
    assert int(rules(True).choose_first(scores).tokens) <= AT.first_time + 50


def test_ids_are_read_from_the_generation_configuration() -> None:
    for multilingual in (False, True):
        one = rules_of(model(multilingual))
        assert (one.end, one.no_timestamps, one.no_speech, one.first_time) == (
            AT.end,
            AT.no_timestamps,
            AT.no_speech,
            AT.first_time,
        )
    config = tiny_whisper(multilingual=False, mels=80).generation_config
    config.eos_token_id = [AT.end, 7]
    assert Rules(config, timestamps=True, device=torch.device("cpu"), vocabulary=AT.vocabulary).end == AT.end
