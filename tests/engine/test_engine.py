"""The engine says what `generate` says, token by token, however its rows are batched, refilled or drafted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import WhisperFeatureExtractor

from tests.conftest import DEMO, REPOSITORY
from tests.engine.models import (
    AT,
    FRAMES,
    DecodingCase,
    Encoded,
    GuessedWindows,
    Letters,
    Reference,
    Windows,
    batch_of,
    decoded,
    generated,
    near_copy,
    rules_of,
    sound,
    sound_features,
    tiny_assistant,
    tiny_whisper,
)
from turnscribe.asr.engine_backend import EngineAsr
from turnscribe.asr.registry import load_asr
from turnscribe.asr.transformers_backend import TransformersAsr
from turnscribe.engine.attempts import Attempt, GoOn, Prompt
from turnscribe.engine.batch import Batch
from turnscribe.engine.draft import LONGEST_DRAFT, Draft, RowEnds
from turnscribe.engine.draft_length import DraftLength
from turnscribe.engine.engine import Engine
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.lookup import LookupDraft
from turnscribe.engine.model import Decoder, Encoder
from turnscribe.engine.models import Models
from turnscribe.request import DecodingOptions
from turnscribe.whisper.alignment import token_starts

COUNT = 9  # windows: more than the largest batch has rows
LAYOUTS = {"english-80": (False, 80), "multilingual-80": (True, 80), "multilingual-128": (True, 128)}
EARLIER = (AT.previous, 11, 5, 30, 77)
ORDERS = (tuple(range(COUNT)), (8, 3, 5, 0, 7, 1, 6, 2, 4))


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_gradients")]


@cache
def whisper(layout: str, **options: Any) -> Any:
    multilingual, mels = LAYOUTS[layout]
    return tiny_whisper(multilingual=multilingual, mels=mels, **options)


@cache
def features(layout: str) -> torch.Tensor:
    return sound_features(LAYOUTS[layout][1], COUNT)


@cache
def encoded(layout: str) -> torch.Tensor:
    """By the engine's own encoder, once: `[COUNT, 1500, D]`."""
    with torch.inference_mode():
        return Encoder.of(whisper(layout))(features(layout))


@cache
def expected(layout: str, case: DecodingCase) -> list[Reference]:
    return generated(whisper(layout), features(layout), case)


def source(layout: str, case: DecodingCase, **options: Any) -> Windows:
    return Windows(encoded(layout), Encoded(), case.prompt_of(whisper(layout)), **options)


def tokens(result: Any) -> list[tuple[int, ...]]:
    assert sorted(result.attempts) == list(range(len(result.attempts)))
    return [result.attempts[window].tokens for window in sorted(result.attempts)]


def asks(layout: str) -> list[DecodingCase]:
    both = [DecodingCase(), DecodingCase(timestamps=False), DecodingCase(prompt=EARLIER)]
    if LAYOUTS[layout][0]:
        both += [
            DecodingCase(task="translate", language="ru"),
            DecodingCase(timestamps=False, task="translate", prompt=EARLIER),
        ]
    return both


def name(value: Any) -> str:
    if not isinstance(value, DecodingCase):
        return str(value)
    words = [value.task, "times" if value.timestamps else "no-times", "prompt" if value.prompt else ""]
    return "-".join(word for word in words if word)


ALL = [(layout, case) for layout in LAYOUTS for case in asks(layout)]


# Plain greedy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layout", "case"), ALL, ids=name)
def test_tokens_are_those_of_generate(layout: str, case: DecodingCase) -> None:
    reference = expected(layout, case)
    assert {one.initial for one in reference} == {case.initial(whisper(layout))}
    for rows, order in ((1, ORDERS[0]), (3, ORDERS[1]), (8, ORDERS[0])):
        batch = batch_of(whisper(layout), rows, timestamps=case.timestamps)
        windows = source(layout, case, order=order)
        result = decoded(batch, windows, encode_at_once=1 + rows // 3)
        assert tokens(result) == [one.tokens for one in reference], f"{rows} rows"
        assert len(windows.taken) > 1  # rows were refilled


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_tiny_models_say_something_worth_comparing(layout: str) -> None:
    reference = [row for case in asks(layout) for row in expected(layout, case)]
    limit = max(len(row.tokens) for row in reference)
    ended = [row for row in reference if row.ended]
    assert len(ended) > len(reference) / 5
    assert sum(len(row.tokens) == limit for row in reference) > len(reference) / 5
    assert len({row.tokens for row in reference}) > 0.9 * len(reference)
    assert len({len(row.tokens) for row in ended}) > 4
    assert np.mean([len(set(row.tokens)) / len(row.tokens) for row in reference]) > 0.3
    timed = [
        row for row in expected(layout, DecodingCase()) if sum(token >= AT.first_time for token in row.tokens) > 2
    ]
    assert len(timed) > COUNT / 2  # pairs of timestamps, not only the first
    assert min(row.margin for row in reference) > 1e-5  # no choice hangs on the last bits


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_hears_with_its_own_encoder(layout: str) -> None:
    model = whisper(layout)
    windows = Windows(features(layout)[:4], Encoder.of(model), DecodingCase().prompt_of(model))
    result = decoded(batch_of(model, 3), windows)
    assert tokens(result) == [one.tokens for one in expected(layout, DecodingCase())[:4]]


@pytest.mark.parametrize(("mels", "seed"), [(80, 0), (128, 2)])
def test_the_detected_language_is_that_of_generate(mels: int, seed: int) -> None:
    model, found = tiny_whisper(multilingual=True, mels=mels, seed=seed, audio=6), []
    model.model.decoder.embed_positions.weight.mul_(0.05)  # so that the language hangs on the audio
    choices = list(model.generation_config.lang_to_id.values())

    def prompt(windows: Any, scores: Callable[[int, int], torch.Tensor]) -> Prompt:
        first_scores = scores(AT.start, 0)
        found.append(max(choices, key=lambda token: float(first_scores[token])))
        return DecodingCase(language=None).prompt_of(model, found[-1])

    for window in range(COUNT):
        windows = Windows(sound_features(mels, COUNT), Encoder.of(model), prompt, order=[window])
        result = decoded(batch_of(model, 2), windows)
        if window < 3:  # generate is slow one by one
            (reference,) = generated(
                model, sound_features(mels, COUNT)[window : window + 1], DecodingCase(language=None)
            )
            assert reference.initial == DecodingCase(language=None).initial(model, found[-1])
            assert result.attempts[window].tokens == reference.tokens
    assert found == model.detect_language(sound_features(mels, COUNT)).tolist()
    assert len(set(found)) > 1


@pytest.mark.parametrize(("index", "row"), [(0, 0), (1, 2), (2, 5)])
def test_the_language_is_heard_in_the_window_asked_for(index: int, row: int) -> None:
    layout = "multilingual-80"
    model, batch = whisper(layout), batch_of(whisper(layout), 8)
    batch.load_audio(encoded(layout)[[index]], None, slice(row, row + 1))
    logits = model(features(layout)[[index]], decoder_input_ids=torch.tensor([[AT.start]])).logits[0, 0]
    torch.testing.assert_close(batch.language_scores(AT.start, row), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prompt", [(), (AT.previous, *range(3, 20))], ids=["short", "prompt"])
def test_a_row_ends_where_the_models_positions_do(prompt: tuple[int, ...]) -> None:
    model = tiny_whisper(multilingual=False, mels=80, positions=40, limit=None)
    case = DecodingCase(prompt=prompt)
    reference = generated(model, features("english-80"), case)
    assert max(len(row.tokens) for row in reference) == 40 - len(prompt) - 1
    for options in ({}, {"draft_length": 8}, {"draft_length": 3}):
        batch = batch_of(model, 4, draft=Decoder.of(model) if options else None)
        windows = Windows(features("english-80"), Encoder.of(model), case.prompt_of(model))
        assert tokens(decoded(batch, windows, **options)) == [row.tokens for row in reference]


@pytest.mark.parametrize("new_tokens", [1, 2, 9])
def test_max_new_tokens_is_kept(new_tokens: int) -> None:
    model = tiny_whisper(multilingual=True, mels=80)
    model.generation_config.max_new_tokens = new_tokens
    case = DecodingCase(prompt=EARLIER)
    reference = generated(model, features("multilingual-80")[:4], case)
    for draft_length in (None, 4):
        batch = batch_of(model, 3, draft=Decoder.of(model))
        windows = Windows(features("multilingual-80")[:4], Encoder.of(model), case.prompt_of(model))
        assert tokens(decoded(batch, windows, draft_length=draft_length)) == [row.tokens for row in reference]


@pytest.mark.skipif(transformers.__version__ < "5", reason="4.51 works out the longer limit and forgets it")
@pytest.mark.parametrize("prompt", [(), (AT.previous, *range(3, 20))])
def test_max_length_counts_from_the_initial_tokens(prompt: tuple[int, ...]) -> None:
    model = tiny_whisper(multilingual=False, mels=80, positions=60, limit=None)
    model.generation_config.max_length = 12
    case = DecodingCase(prompt=prompt)
    reference = generated(model, features("english-80")[:3], case)
    windows = Windows(features("english-80")[:3], Encoder.of(model), case.prompt_of(model))
    assert tokens(decoded(batch_of(model, 2), windows)) == [row.tokens for row in reference]


# Probabilities ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layout", "case"), ALL, ids=name)
@pytest.mark.parametrize("draft_length", [None, 3])
def test_logprobs_are_those_of_the_processed_scores(
    layout: str, case: DecodingCase, draft_length: int | None
) -> None:
    model = whisper(layout)
    batch = batch_of(model, 4, timestamps=case.timestamps, draft=Decoder.of(near_copy(model, noise=0.05)))
    result = decoded(batch, source(layout, case), draft_length=draft_length)
    for window, reference in enumerate(expected(layout, case)):
        attempt = result.attempts[window]
        assert len(attempt.logprobs) == len(reference.tokens) + reference.ended
        assert attempt.reached_limit == (not reference.ended)
        np.testing.assert_allclose(attempt.logprobs, reference.logprobs, atol=1e-4)
        assert attempt.avg_logprob == pytest.approx(sum(reference.logprobs) / (len(reference.tokens) + 1), abs=1e-4)


@pytest.mark.parametrize(("layout", "case"), ALL, ids=name)
def test_no_speech_is_read_after_the_start_of_the_transcript(layout: str, case: DecodingCase) -> None:
    model = whisper(layout)
    result = decoded(batch_of(model, 4, timestamps=case.timestamps), source(layout, case))
    initial = torch.tensor([case.initial(model)]).expand(COUNT, -1)
    logits = model(features(layout), decoder_input_ids=initial).logits
    start = case.initial(model).index(AT.start)
    silence = logits[:, start].softmax(-1)[:, AT.no_speech]
    found = [result.attempts[window].no_speech for window in range(COUNT)]
    np.testing.assert_allclose(found, silence.numpy(), rtol=1e-3, atol=1e-7)
    assert len(set(found)) == COUNT


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("draft_length", [None, 3])
@pytest.mark.parametrize("share", [0.2, 0.7, 1.0])
def test_decoding_goes_on_after_the_tokens_that_are_known(
    layout: str, draft_length: int | None, share: float
) -> None:
    model, case = whisper(layout), DecodingCase()
    prompt = case.prompt_of(model)
    for window, reference in enumerate(expected(layout, case)):
        known = reference.tokens[: max(round(share * len(reference.tokens)), 1)]
        if len(prompt.initial) + len(known) >= prompt.limit:
            continue
        windows = Windows(encoded(layout)[window : window + 1], Encoded(), replace(prompt, forced=known))
        batch = batch_of(model, 2, draft=Decoder.of(near_copy(model, noise=0.05)))
        attempt = decoded(batch, windows, draft_length=draft_length).attempts[0]
        assert attempt.tokens == reference.tokens
        further = slice(len(known), len(reference.logprobs))
        np.testing.assert_allclose(attempt.logprobs[further], reference.logprobs[further], atol=2e-3)
        assert np.isfinite(attempt.logprobs).all()


@pytest.mark.parametrize("draft_length", [None, 3])
def test_a_row_goes_on_behind_what_its_judge_says_beside_others(draft_length: int | None) -> None:
    layout, case = next(iter(LAYOUTS)), DecodingCase()
    model = whisper(layout)
    references = expected(layout, case)
    judged: dict[int, list[tuple[bool, float]]] = {}

    def judge(window: int, attempts: Sequence[Attempt]) -> Attempt | GoOn | float:
        judged[window] = [(attempt.goes_on, attempt.temperature) for attempt in attempts]
        tokens = references[window].tokens
        if window % 2 or attempts[-1].goes_on:
            return attempts[-1]
        return GoOn(tokens[: max(len(tokens) // 2, 1)])

    windows = Windows(encoded(layout), Encoded(), case.prompt_of(model), judge=judge)
    batch = batch_of(model, 3, draft=Decoder.of(near_copy(model, noise=0.05)))
    found = decoded(batch, windows, heads=[(1, 0)], draft_length=draft_length).attempts
    alone = decoded(batch_of(model, 1), source(layout, case), heads=[(1, 0)]).attempts
    for window, reference in enumerate(references):
        assert found[window].tokens == reference.tokens
        assert judged[window] == [(False, 0.0)] + ([] if window % 2 else [(True, 0.0)])
        torch.testing.assert_close(found[window].attention, alone[window].attention, atol=1e-4, rtol=1e-3)


# Speculation -----------------------------------------------------------------------------------------


class ScriptedDraft:
    """Drafts by a script: the right token where `is_right` says so, otherwise one that is surely wrong.

    Which window sits in a row is told by the encoder's output that was loaded into the row.
    """

    def __init__(
        self,
        draft: Draft,
        right: torch.Tensor,
        windows: torch.Tensor,
        is_right: Callable[[torch.Tensor], torch.Tensor],
        rows: int,
    ) -> None:
        """`right` `[N, positions]` are the tokens by window, initial ones too; `windows` `[N, D]` the sums over the
        frames of each; `is_right` is by positions `[B]`."""
        self.draft, self.right, self.windows, self.is_right = draft, right, windows, is_right
        self.window = torch.zeros(rows, dtype=torch.long)

    def load_audio(self, encoded: torch.Tensor, rows: slice) -> None:
        self.draft.load_audio(encoded, rows)
        self.window[rows] = torch.cdist(encoded.sum(1), self.windows).argmin(1)

    def start(self, rows: slice, tokens: torch.Tensor, positions: torch.Tensor, guess: Sequence[int] = ()) -> None:
        self.draft.start(rows, tokens, positions)

    def has_more(self, lengths: Sequence[int]) -> bool:
        return True

    def propose(self, rows: slice, ends: RowEnds, count: int, *, reach: int) -> torch.Tensor:
        proposed = self.draft.propose(rows, ends, count, reach=reach)
        for index in range(count):
            places = ends.positions[:, 1] + 1 + index
            right = self.right[self.window[rows], places]
            wrong = (right + 1) % AT.vocabulary
            proposed[:, 2 + index] = torch.where(self.is_right(places), right, wrong)
        return proposed

    def swap(self, first: int, second: int) -> None:
        self.draft.swap(first, second)
        self.window[[first, second]] = self.window[[second, first]]


def scripted(layout: str, case: DecodingCase, rows: int, is_right: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    model = whisper(layout)
    right = torch.zeros(COUNT, model.config.max_target_positions + 20, dtype=torch.long)
    for window, one in enumerate(expected(layout, case)):
        row = torch.tensor([*one.initial, *one.tokens, AT.end])
        right[window, : len(row)] = row
    return batch_of(
        model,
        rows,
        timestamps=case.timestamps,
        draft=Decoder.of(other(layout)),
        wrap=lambda draft: ScriptedDraft(draft, right, encoded(layout).sum(1), is_right, rows),
    )


@cache
def other(layout: str) -> Any:
    """A decoder that knows nothing, of one layer."""
    return tiny_assistant(whisper(layout), seed=5)


def always(places: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(places, dtype=torch.bool)


def never(places: torch.Tensor) -> torch.Tensor:
    return ~always(places)


def every_third_wrong(places: torch.Tensor) -> torch.Tensor:
    return places % 3 != 0


def now_and_then(seed: int, share: float) -> Callable[[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda places: torch.rand(places.shape, generator=generator) < share


SCRIPTS: dict[str, Callable[[int], Callable[[torch.Tensor], torch.Tensor]]] = {
    "all-right": lambda seed: always,
    "all-wrong": lambda seed: never,
    "thirds": lambda seed: every_third_wrong,
    "half": lambda seed: now_and_then(seed, 0.5),
    "mostly": lambda seed: now_and_then(seed, 0.85),
}


def some_of_each() -> list[tuple[int, int, str]]:
    """Every k from 1 to 8 at 1, 3 and 8 rows: with half of the drafts right, and with another script by turns."""
    scripts = [name for name in SCRIPTS if name != "half"]
    combinations = [(count, rows) for count in range(1, LONGEST_DRAFT + 1) for rows in (1, 3, 8)]
    turns = [(*pair, scripts[(index + index // 8) % 4]) for index, pair in enumerate(combinations)]
    return [*((*pair, "half") for pair in combinations), *turns]


@pytest.mark.parametrize(("count", "rows", "script"), some_of_each())
def test_whatever_is_drafted_the_tokens_are_those_of_greedy(count: int, rows: int, script: str) -> None:
    layout = list(LAYOUTS)[(count + rows) % 3]
    case = DecodingCase(timestamps=script != "thirds", prompt=EARLIER if script == "half" else ())
    order = ORDERS[count % 2][: max(3 * rows, 3)]  # a row alone is slow
    reference = [expected(layout, case)[window] for window in order]
    batch = scripted(layout, case, rows, SCRIPTS[script](count))
    result = decoded(batch, source(layout, case, order=order), draft_length=count)
    assert [result.attempts[window].tokens for window in order] == [one.tokens for one in reference]
    after_first = [len(one.tokens) + one.ended - 1 for one in reference]
    if script == "all-wrong":
        assert (result.proposed, result.accepted) == (count * sum(after_first), 0)
    elif script == "all-right":  # every round is full, but for that in which a row ends
        rounds = [-(-more // (count + 1)) for more in after_first]
        last = [more - (number - 1) * (count + 1) for more, number in zip(after_first, rounds, strict=True)]
        assert result.proposed == count * sum(rounds)
        missed = sum(count - min(left, count) for left, number in zip(last, rounds, strict=True) if number)
        assert result.accepted == result.proposed - missed
    else:
        assert 0 < result.accepted < result.proposed


@pytest.mark.parametrize("count", [5, 8])
def test_rows_end_in_the_middle_of_a_draft_by_themselves_and_at_the_limit(count: int) -> None:
    """So that the test above, with everything right, has both kinds in it."""
    kinds = set()
    for layout in LAYOUTS:
        for one in expected(layout, DecodingCase()):
            into = (len(one.tokens) + one.ended - 1) % (count + 1)
            if 0 < into < count:
                kinds.add(one.ended)
    assert kinds == {True, False}


@pytest.mark.parametrize(("layout", "case"), ALL, ids=name)
@pytest.mark.parametrize("draft", ["itself", "near", "other"])
def test_a_drafting_decoder_leaves_the_tokens_alone(layout: str, case: DecodingCase, draft: str) -> None:
    model = whisper(layout)
    drafts = {"itself": model, "near": near(layout), "other": other(layout)}
    for count, rows in {"near": ((1, 3), (5, 8)), "itself": ((4, 3),), "other": ((4, 3),)}[draft]:
        batch = batch_of(model, rows, timestamps=case.timestamps, draft=Decoder.of(drafts[draft]))
        result = decoded(batch, source(layout, case, order=ORDERS[1]), draft_length=count)
        reference = expected(layout, case)
        assert tokens(result) == [one.tokens for one in reference]
        if draft == "itself":
            more = [len(one.tokens) + one.ended - 1 for one in reference]
            rounds = sum(-(-left // (count + 1)) for left in more)
            full = sum(left // (count + 1) for left in more)
            assert result.proposed == count * rounds  # not one was refused
            assert result.accepted == sum(more) - full  # and none counts that went beyond the end
        elif draft == "near":
            assert 0.05 < result.accepted / result.proposed < 0.98
        else:
            assert result.accepted < 0.3 * result.proposed


def guesses(kind: str, layout: str, case: DecodingCase) -> dict[int, tuple[int, ...]]:
    """What each window says, without its timestamps, or not quite that."""
    texts = [[token for token in one.tokens if token < AT.end] for one in expected(layout, case)]
    made = {}
    for window, text in enumerate(texts):
        third = len(text) // 3
        made[window] = tuple(
            {
                "right": text,
                "one otherwise": [*text[:third], (text[third] + 1) % AT.end, *text[third + 1 :]],
                "two left out": [*text[:third], *text[third + 2 :]],
                "two too many": [*text[:third], *text[:2], *text[third:]],
                "the first half": text[: len(text) // 2],
                "another's": texts[window - 1],
                "none": [],
            }[kind]
        )
    return made


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("right", 0.7),
        ("one otherwise", 0.45),
        ("two left out", 0.35),
        ("two too many", 0.65),
        ("the first half", 0.35),
        ("another's", 0.0),
        ("none", 0.0),
    ],
)
def test_whatever_is_guessed_the_tokens_are_those_of_greedy(kind: str, least: float, rows: int) -> None:
    """And `least` of them, at least, are taken from the guess."""
    for layout in LAYOUTS:
        case = DecodingCase()
        model = whisper(layout)
        rules, graphs = rules_of(model), Graphs(model.device)
        lookup = LookupDraft(rules, rows=rows, room=model.config.max_target_positions)
        batch = Batch(Decoder.of(model), rules, rows=rows, frames=FRAMES, draft=lookup, graphs=graphs)
        windows = GuessedWindows(encoded(layout), Encoded(), case.prompt_of(model))
        windows.guesses = guesses(kind, layout, case)
        result = decoded(batch, windows, draft_length=4)
        reference = expected(layout, case)
        assert tokens(result) == [one.tokens for one in reference]
        assert result.accepted >= least * sum(len(one.tokens) for one in reference)
        if kind == "none":
            assert result.proposed == 0


@cache
def near(layout: str) -> Any:
    return near_copy(whisper(layout), noise=0.03)


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_an_adapting_draft_length_leaves_the_tokens_alone(rows: int) -> None:
    layout = "multilingual-128"
    model, draft = whisper(layout), Decoder.of(near(layout))
    lengths = DraftLength(Decoder.of(model), draft, frames=1500)
    result = decoded(batch_of(model, rows, draft=draft), source(layout, DecodingCase()), draft_length=lengths)
    assert tokens(result) == [one.tokens for one in expected(layout, DecodingCase())]
    assert result.accepted > 0
    assert 1 <= lengths.best(rows) <= LONGEST_DRAFT


# The backend on tiny models --------------------------------------------------------------------------

CALM = {"compression_ratio_threshold": None, "logprob_threshold": None}  # greedy alone, as `generate`


def both(model: Any, mels: int, assistant: Any = None) -> tuple[EngineAsr, TransformersAsr]:
    extractor = WhisperFeatureExtractor(feature_size=mels)
    return (
        EngineAsr(Engine(Models.of(model, Letters(), assistant))),
        TransformersAsr(model, Letters(), extractor, assistant),
    )


def plain(chunks: Any) -> list[tuple[str, float, float]]:
    return [(chunk.text, round(chunk.start, 4), round(chunk.end, 4)) for chunk in chunks]


@pytest.mark.parametrize(
    ("layout", "changes"),
    [
        ("english-80", {}),
        ("english-80", {"prompt": "as before"}),
        ("multilingual-80", {}),
        ("multilingual-128", {"task": "translate", "language": "es", "prompt": "as before" * 40}),
    ],
)
def test_a_recording_becomes_the_chunks_of_the_reference(layout: str, changes: dict[str, Any]) -> None:
    engine, reference = both(whisper(layout), LAYOUTS[layout][1])
    waveform = sound(70, 45)
    wanted = reference.transcribe(waveform, DecodingOptions(batch_size=4, chunk_length_s=12, **CALM, **changes))
    for rows in (1, 3):
        result = engine.transcribe(waveform, DecodingOptions(batch_size=rows, chunk_length_s=12, **CALM, **changes))
        assert plain(result.chunks) == plain(wanted.chunks)
        assert result.language == wanted.language
        of_text = {text for text in wanted.warnings if "This backend" not in text}  # it decodes a window once
        assert set(result.warnings) == of_text
    assert len(wanted.chunks) > 4


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("kind", ["own-encoder", "shared-encoder"])
def test_an_assistant_leaves_the_chunks_alone(kind: str, rows: int) -> None:
    layout = "multilingual-80"
    model = whisper(layout)
    if kind == "shared-encoder":
        assistant = tiny_assistant(model, seed=9)
    else:
        assistant = tiny_whisper(multilingual=True, mels=80, seed=9, width=48)
    engine, _ = both(model, 80, assistant)
    assert (engine.models.draft_encoder is None) == (kind == "shared-encoder")
    options = {"batch_size": rows, "chunk_length_s": 8, "language": "de", **CALM}
    unaided = engine.transcribe(sound(71, 40), DecodingOptions(**options))
    assisted = engine.transcribe(sound(71, 40), DecodingOptions(assisted=True, **options))
    assert plain(assisted.chunks) == plain(unaided.chunks)
    assert len(unaided.chunks) > 4
    assert unaided.speculation is None
    assert assisted.speculation.proposed > 0
    assert assisted.speculation.accepted <= assisted.speculation.proposed


def test_an_assistant_with_its_own_encoder_hears_with_it() -> None:
    """The model itself as its own assistant is always right, which it only is when it hears the same."""
    layout = "english-80"
    model, draft_model = whisper(layout), tiny_whisper(multilingual=False, mels=80)
    reference = expected(layout, DecodingCase())
    batch = batch_of(model, 3, draft=Decoder.of(draft_model))
    windows = Windows(
        features(layout), Encoder.of(model), DecodingCase().prompt_of(model), draft_encoder=Encoder.of(draft_model)
    )
    result = decoded(batch, windows, draft_length=4)
    assert tokens(result) == [one.tokens for one in reference]
    rounds = [-(-(len(one.tokens) + one.ended - 1) // 5) for one in reference]
    assert result.proposed == 4 * sum(rounds)


# On the demo models ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_engine() -> EngineAsr:
    paths = (str(REPOSITORY / DEMO[name]) for name in ("asr_model", "assistant_model"))
    model, assistant = paths
    return load_asr(model, assistant=assistant, backend="engine")


@pytest.fixture(scope="module")
def demo_expected(reference_asr: Any, conversation_waveform: Any) -> Any:
    return reference_asr.transcribe(
        conversation_waveform, DecodingOptions(chunk_length_s=15, batch_size=4, word_times=True, language="en")
    )


@pytest.mark.models
@pytest.mark.parametrize(("rows", "assisted"), [(1, False), (4, False), (3, True)])
def test_the_demo_conversation_is_read_as_by_the_reference(
    demo_engine: EngineAsr, demo_expected: Any, conversation_waveform: Any, rows: int, assisted: bool
) -> None:
    options = DecodingOptions(chunk_length_s=15, batch_size=rows, word_times=True, language="en", assisted=assisted)
    result = demo_engine.transcribe(conversation_waveform, options)
    assert plain(result.chunks) == plain(demo_expected.chunks)
    ours = [word for chunk in result.chunks for word in chunk.words]
    theirs = [word for chunk in demo_expected.chunks for word in chunk.words]
    assert [word.text for word in ours] == [word.text for word in theirs]
    assert len(ours) > 80
    near = [
        abs(one.start - same.start) < 0.021 and abs(one.end - same.end) < 0.021
        for one, same in zip(ours, theirs, strict=True)
    ]
    assert np.mean(near) >= 0.95
    np.testing.assert_allclose([w.probability for w in ours], [w.probability for w in theirs], atol=1e-3)
    if assisted:
        assert 0.2 * result.speculation.proposed < result.speculation.accepted <= result.speculation.proposed


@pytest.mark.models
def test_with_several_beams_the_demo_conversation_is_read_as_by_the_reference(
    demo_engine: EngineAsr, reference_asr: Any, conversation_waveform: Any
) -> None:
    options = DecodingOptions(chunk_length_s=12, batch_size=2, language="en", num_beams=3)
    waveform = conversation_waveform[: 30 * 16_000]
    expected = reference_asr.transcribe(waveform, options)
    assert len(expected.chunks) > 5
    assert plain(demo_engine.transcribe(waveform, options).chunks) == plain(expected.chunks)


@pytest.mark.models
def test_the_demo_language_is_detected_as_by_the_reference(
    demo_engine: EngineAsr, reference_asr: Any, conversation_waveform: Any
) -> None:
    waveform, options = conversation_waveform[: 10 * 16_000], DecodingOptions(chunk_length_s=15)
    assert demo_engine.transcribe(waveform, options).language == reference_asr.transcribe(waveform, options).language


@pytest.mark.models
def test_word_times_are_those_of_transformers_own(
    demo_engine: EngineAsr, reference_asr: Any, conversation_waveform: Any
) -> None:
    """`return_token_timestamps` over the same tokens: when each begins (transformers 4.51) or ends (5.x)."""
    waveform = conversation_waveform[: 14 * 16_000]
    made = reference_asr.feature_extractor(
        waveform, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True
    )
    attention = reference_asr.model.config._attn_implementation
    try:
        reference_asr.model.config._attn_implementation = "eager"
        theirs = reference_asr.model.generate(
            made.input_features,
            attention_mask=made.attention_mask,
            language="en",
            task="transcribe",
            num_beams=1,
            do_sample=False,
            return_timestamps=True,
            return_token_timestamps=True,
            force_unique_generate_call=True,
        )
    finally:
        reference_asr.model.config._attn_implementation = attention
    models = demo_engine.models
    model = reference_asr.model
    batch = demo_engine.engine.batch(1, assisted=False)
    windows = Windows(made.input_features, models.encoder, demo_prompt(model))
    attempt = decoded(batch, windows, heads=models.heads).attempts[0]
    row, times = theirs["sequences"][0].tolist(), theirs["token_timestamps"][0].tolist()
    first = next(at for at in range(len(row)) if tuple(row[at : at + len(attempt.tokens)]) == attempt.tokens)
    assert attempt.attention is not None
    starts = token_starts(attempt.attention, len(waveform) / 16_000)  # and when the last token ends
    given = np.array(times[first : first + len(starts) - 1])
    close = [np.abs(given - ours)[1:-1] < 0.021 for ours in (starts[:-1], starts[1:])]  # starts, or ends
    assert len(given) > 20
    assert max(one.mean() for one in close) >= 0.95


@pytest.mark.models
def test_short_windows_are_encoded_as_they_are_where_that_is_wanted(
    demo_engine: EngineAsr, conversation_waveform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames: list[int] = []
    encode = demo_engine.engine.encode

    def watched(*arguments: Any) -> Any:
        encoded = encode(*arguments)
        frames.append(encoded[0].shape[1])
        return encoded

    monkeypatch.setattr(demo_engine.engine, "encode", watched)

    def words(seconds: float, **options: Any) -> list[str]:
        """And how many frames were encoded for each window."""
        frames.clear()
        waveform = conversation_waveform[: round(seconds * 16_000)]
        result = demo_engine.transcribe(waveform, DecodingOptions(language="en", **options))
        return [word.text for chunk in result.chunks for word in chunk.words]

    full = words(7.5)
    assert frames == [1500]
    short = words(7.5, full_windows=False)
    assert frames == [512]
    assert len(full) > 5
    assert sum(one == other for one, other in zip(full, short, strict=False)) > 0.6 * len(full)
    assert words(12, full_windows=False) == words(12)  # too long for it
    assert frames == [1500]


def demo_prompt(model: Any) -> Prompt:
    config = model.generation_config
    initial = (config.decoder_start_token_id, config.lang_to_id["<|en|>"], config.task_to_id["transcribe"])
    return Prompt(initial, 0, model.config.max_target_positions)
