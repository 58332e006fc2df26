"""Keywords: the automaton is held against a search of the text so far, and decoding with it against greedy decoding
and beam search written plainly, however windows are batched and whatever is drafted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.models import (
    AT,
    FRAMES,
    DecodingCase,
    Encoded,
    GuessedWindows,
    Windows,
    decoded,
    near_copy,
    rules_of,
)
from tests.engine.test_beams import COUNT, Text, encoded, model, searched
from turnscribe.engine.batch import Batch
from turnscribe.engine.beams import BeamBatch
from turnscribe.engine.draft import Draft, DraftDecoder
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.keywords import FIRST, FURTHER, KeywordBias, automaton
from turnscribe.engine.lookup import LookupDraft
from turnscribe.engine.model import Decoder
from turnscribe.engine.rules import Rules

CASE = DecodingCase()
Tokens = tuple[int, ...]


def under_way(keywords: Sequence[Tokens], said: Sequence[int]) -> Tokens:
    """The longest end of what was said that begins a keyword."""
    for first in range(len(said) + 1):
        end = tuple(said[first:])
        if any(keyword[: len(end)] == end for keyword in keywords):
            return end
    raise AssertionError("nothing begins every keyword")


def lent(begun: Tokens) -> float:
    return FIRST + FURTHER * (len(begun) - 1) if begun else 0.0


def gain(keywords: Sequence[Tokens], said: Sequence[int], token: int) -> float:
    """What `token` brings after what was said."""
    before, after = under_way(keywords, said), under_way(keywords, [*said, token])
    if after == (*before, token):
        return lent(after) - lent(before)
    complete = max((before[:count] for count in range(len(before) + 1) if before[:count] in keywords), default=())
    return lent(after) - (lent(before) - lent(complete))


KEYWORDS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=5)


@pytest.mark.property
@given(keywords=KEYWORDS, said=st.lists(st.integers(0, 4), max_size=12))
def test_the_automaton_lends_what_a_search_of_the_text_does(keywords: list[Tokens], said: list[int]) -> None:
    bias = KeywordBias(automaton(keywords), vocabulary=7, device=torch.device("cpu"))
    states = bias.along(torch.zeros(1, dtype=torch.long), torch.tensor([said], dtype=torch.long))
    for count in range(len(said) + 1):
        expected = [gain(keywords, said[:count], token) for token in range(7)]
        assert np.allclose(bias.bonus(states[:, count])[0], expected)
        assert int(states[0, count]) == bias.automaton.walk(said[:count])


@pytest.mark.property
@given(first=KEYWORDS, second=KEYWORDS, said=st.lists(st.integers(0, 4), max_size=6))
def test_other_keywords_take_the_place_of_the_first(
    first: list[Tokens], second: list[Tokens], said: list[int]
) -> None:
    bias = KeywordBias(automaton(first), vocabulary=7, device=torch.device("cpu"))
    other = automaton(second)
    if bias.fits(other):
        bias.load(other)
        fresh = KeywordBias(other, vocabulary=7, device=torch.device("cpu"))
        state = torch.tensor([other.walk(said)])
        assert torch.equal(bias.bonus(state), fresh.bonus(state))


# Decoding --------------------------------------------------------------------------------------------

pytestmark = pytest.mark.usefixtures("no_gradients")


@torch.inference_mode()
def scores_after(window: int, tokens: Sequence[int], rules: Rules) -> torch.Tensor:
    """The processed scores `[V]`."""
    prompt = CASE.prompt_of(model())
    ids = torch.tensor([[*prompt.initial, *tokens]])
    audio = (encoded()[window : window + 1],)
    logits = model()(encoder_outputs=audio, decoder_input_ids=ids).logits[:, -1]
    if not tokens:
        return (logits + rules.begin_bias)[0]
    latest = torch.tensor([max((token for token in tokens if token >= AT.first_time), default=0)])
    history = rules.history(ids[:, -2:], latest, torch.tensor([len(tokens)]))
    return rules.process((logits + rules.bias)[:, None], history)[0, 0]


@cache
def greedy(window: int, keywords: tuple[Tokens, ...]) -> Text:
    """Greedy decoding one token after another, without a cache. A keyword stands against other text alone."""
    rules, prompt, text = rules_of(model()), CASE.prompt_of(model()), Text((), ())
    while len(prompt.initial) + len(text.tokens) < prompt.limit and AT.end not in text.tokens:
        scores = scores_after(window, text.tokens, rules)
        token = int(scores.argmax())
        if token < AT.end and keywords:
            lends = torch.tensor([gain(keywords, text.tokens, other) for other in range(AT.end)])
            token = int((scores[: AT.end] + lends).argmax())
        text = Text((*text.tokens, token), (*text.logprobs, float(scores.log_softmax(-1)[token])))
    return text


@cache
def keywords() -> tuple[Tokens, ...]:
    """What the second and third likeliest tokens are here and there: terms that were nearly said."""
    rules, found = rules_of(model()), []
    for window in range(COUNT):
        said = greedy(window, ()).tokens
        for place in (3, 7, 11):
            if place + 2 < len(said):
                second = scores_after(window, said[:place], rules)[: AT.end].topk(3).indices.tolist()
                found += [(second[1], said[place + 1]), (second[2], second[1], said[place])]
    return tuple(found)


def batch(rows: int, kind: str) -> Batch:
    rules, graphs = rules_of(model()), Graphs(model().device)
    bias = KeywordBias(automaton(keywords()), vocabulary=AT.vocabulary, device=model().device)
    draft: Draft | None = None
    if kind == "drafted":
        near = Decoder.of(near_copy(model(), noise=0.03))
        draft = DraftDecoder(near, rules, rows=rows, frames=FRAMES, fixed=False)
    elif kind == "guessed":
        draft = LookupDraft(rules, rows=rows, room=model().config.max_target_positions)
    decoder = Decoder.of(model())
    return Batch(decoder, rules, rows=rows, frames=FRAMES, draft=draft, graphs=graphs, keywords=bias)


def windows() -> GuessedWindows:
    source = GuessedWindows(encoded(), Encoded(), CASE.prompt_of(model()))
    source.guesses = {
        window: tuple(token for token in greedy(window, ()).tokens if token < AT.end) for window in range(COUNT)
    }
    return source


def ended(text: Text) -> Tokens:
    return tuple(token for token in text.tokens if token != AT.end)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 3, 6])
@pytest.mark.parametrize("kind", ["plain", "drafted", "guessed"])
def test_the_text_is_that_of_plain_decoding_with_keywords(kind: str, rows: int) -> None:
    result = decoded(batch(rows, kind), windows(), draft_length=None if kind == "plain" else 4)
    expected = [greedy(window, keywords()) for window in range(COUNT)]
    assert [result.attempts[window].tokens for window in range(COUNT)] == [ended(text) for text in expected]
    for window, text in enumerate(expected):
        assert np.allclose(result.attempts[window].logprobs, text.logprobs, atol=1e-3)
    if kind != "plain":
        assert result.accepted > 0


@pytest.mark.slow
def test_keywords_change_these_texts() -> None:
    """Else the tests beside this one would say nothing."""
    changed = [greedy(window, keywords()).tokens != greedy(window, ()).tokens for window in range(COUNT)]
    assert sum(changed) >= COUNT // 2


@pytest.mark.slow
def test_a_text_that_is_known_already_may_begin_a_keyword() -> None:
    text = ended(greedy(0, keywords()))
    places = [place for place in range(2, len(text)) if under_way(keywords(), text[:place])]
    assert places
    prompt = CASE.prompt_of(model())
    for place in places[:3]:
        rows = batch(1, "plain")
        rows.load_audio(encoded()[:1], None, slice(0, 1))
        rows.start(slice(0, 1), replace(prompt, forced=text[:place]))
        assert int(rows.tokens[0, len(prompt.initial) + place]) == text[place]


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 3])
def test_beams_are_those_of_the_search_written_plainly(rows: int) -> None:
    prompt, beams = CASE.prompt_of(model()), 3
    bias = KeywordBias(automaton(keywords()), vocabulary=AT.vocabulary, device=model().device)
    made = BeamBatch(
        Decoder.of(model()),
        rules_of(model()),
        rows=rows,
        frames=FRAMES,
        beams=beams,
        graphs=Graphs(model().device),
        keywords=bias,
    )
    result = decoded(made, Windows(encoded(), Encoded(), prompt))
    changed = 0
    for window in range(COUNT):
        expected = searched(window, beams, prompt, lambda said, token: gain(keywords(), said, token))
        assert result.attempts[window].tokens == ended(expected)
        assert np.allclose(result.attempts[window].logprobs, expected.logprobs, atol=1e-3)
        changed += expected.tokens != searched(window, beams, prompt).tokens
    assert changed
