"""Beam search finds what `generate` does, and what the search written plainly does, however its rows are batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from tests.engine.models import (
    AT,
    FRAMES,
    DecodingCase,
    Encoded,
    Windows,
    batch_of,
    decoded,
    rules_of,
    sound_features,
    tiny_whisper,
)
from turnscribe.engine.attempts import Attempt, Prompt
from turnscribe.engine.batch import Batch
from turnscribe.engine.beams import BeamBatch
from turnscribe.engine.decode import Decoding
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.model import Decoder, Encoder

COUNT = 6  # windows: more than the largest batch has rows
CASES = {
    "times": DecodingCase(),
    "no-times": DecodingCase(timestamps=False),
    "prompt": DecodingCase(prompt=(AT.previous, 11, 5, 30, 77), language="ru", task="translate"),
}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_gradients")]


@cache
def model() -> Any:
    return tiny_whisper(multilingual=True, mels=80)


@cache
def encoded() -> torch.Tensor:
    with torch.inference_mode():
        return Encoder.of(model())(sound_features(80, COUNT))


def beam_batch(
    beams: int, rows: int, *, timestamps: bool = True, whisper: Any = None, graphs: Graphs | None = None
) -> BeamBatch:
    whisper = whisper or model()
    return BeamBatch(
        Decoder.of(whisper),
        rules_of(whisper, timestamps=timestamps),
        rows=rows,
        frames=FRAMES,
        beams=beams,
        graphs=graphs or Graphs(whisper.device),
    )


def source(prompt: Prompt, **options: Any) -> Windows:
    return Windows(encoded(), Encoded(), prompt, **options)


@cache
def generated(case: DecodingCase, beams: int) -> list[tuple[int, ...]]:
    """What `generate` finds. It normalizes before its rules unless told otherwise, and counts the end token as part
    of a text's length: without a length penalty that makes no difference."""
    arguments: dict[str, Any] = {"prompt_ids": torch.tensor(case.prompt)} if case.prompt else {}
    output = model().generate(
        sound_features(80, COUNT),
        num_beams=beams,
        length_penalty=0.0,
        early_stopping=False,
        renormalize_logits=True,
        do_sample=False,
        return_timestamps=case.timestamps,
        language=case.language,
        task=case.task,
        force_unique_generate_call=True,
        **arguments,
    )
    rows = [row[len(case.initial(model())) :] for row in output.tolist()]
    return [tuple(row[: row.index(AT.end)] if AT.end in row else row) for row in rows]


class Text(NamedTuple):
    """A text of the search written plainly."""

    tokens: tuple[int, ...]  # the end token too
    logprobs: tuple[float, ...]
    gained: float = 0.0  # of keywords

    @property
    def sum(self) -> float:
        return sum(self.logprobs) + self.gained

    def score(self, length_penalty: float) -> float:
        length = len(self.tokens) - (self.tokens[-1] == AT.end)
        return self.sum / length**length_penalty


@torch.inference_mode()
def searched(
    window: int,
    beams: int,
    prompt: Prompt,
    gain: Callable[[tuple[int, ...], int], float] = lambda said, token: 0.0,
) -> Text:
    """Beam search over whole texts, one step after another, without a cache; `gain` is what a token brings beside
    its log-probability."""
    rules, texts, finished = rules_of(model()), [Text((), ())], list[Text]()
    wanted = max(int(beams * prompt.patience + 0.5), 1)
    for count in range(prompt.limit - len(prompt.initial)):
        ids = torch.tensor([[*prompt.initial, *text.tokens] for text in texts])
        logits = model()(
            encoder_outputs=(encoded()[window : window + 1].expand(len(texts), -1, -1),), decoder_input_ids=ids
        ).logits[:, -1]
        if count == 0:
            scores = logits + rules.begin_bias
        else:
            times = [max(token for token in text.tokens if token >= AT.first_time) for text in texts]
            history = rules.history(ids[:, -2:], torch.tensor(times), torch.full((len(texts),), count))
            scores = rules.process((logits + rules.bias)[:, None], history)[:, 0]
        candidates = [
            Text((*text.tokens, token), (*text.logprobs, logprob), text.gained + gain(text.tokens, token))
            for text, row in zip(texts, scores.log_softmax(-1), strict=True)
            for token, logprob in enumerate(row.tolist())
            if logprob > -torch.inf
        ]
        candidates = sorted(candidates, key=lambda text: -text.sum)[: 2 * beams]
        ends = [text.tokens[-1] == AT.end for text in candidates]
        at_limit = len(prompt.initial) + count + 1 == prompt.limit
        finished += [text for text, end in list(zip(candidates, ends, strict=True))[:beams] if end or at_limit]
        if at_limit or (ends[0] if prompt.length_penalty == 0 else len(finished) >= wanted):
            break
        texts = [text for text, end in zip(candidates, ends, strict=True) if not end][:beams]
    return max(finished, key=lambda text: text.score(prompt.length_penalty))


def tokens(attempts: dict[int, Attempt]) -> list[tuple[int, ...]]:
    return [attempts[window].tokens for window in range(COUNT)]


@pytest.mark.parametrize("beams", [2, 5, 10])
@pytest.mark.parametrize("case", CASES)
def test_texts_are_those_of_generate(case: str, beams: int) -> None:
    asked = CASES[case]
    prompt = replace(asked.prompt_of(model()), length_penalty=0.0)
    for rows, order in ((1, range(COUNT)), (2, range(COUNT)), (4, (4, 0, 5, 2, 1, 3))):
        batch = beam_batch(beams, rows, timestamps=asked.timestamps)
        windows = source(prompt, order=order)
        found = decoded(batch, windows, encode_at_once=1 + rows // 3).attempts
        assert tokens(found) == generated(asked, beams), f"{rows} rows"
        assert len(windows.taken) > 1  # rows were refilled


def test_beams_find_other_and_likelier_texts_than_greedy() -> None:
    prompt = replace(DecodingCase().prompt_of(model()), length_penalty=0.0)
    greedy = decoded(batch_of(model(), 3), source(prompt)).attempts
    found = decoded(beam_batch(5, 3), source(prompt)).attempts
    assert sum(greedy[window].tokens != found[window].tokens for window in range(COUNT)) > COUNT / 2
    assert sum(sum(found[window].logprobs) > sum(greedy[window].logprobs) for window in range(COUNT)) > COUNT / 2
    assert len({len(one.tokens) for one in found.values()}) > 2
    assert {one.reached_limit for one in found.values()} == {True, False}


@pytest.mark.parametrize(
    ("beams", "length_penalty", "patience"),
    [(2, 1.0, 2.0), (2, 1.5, 0.5), (3, 1.0, 1.0), (5, 0.5, 1.0)],
)
def test_texts_and_probabilities_are_those_of_the_search_written_plainly(
    beams: int, length_penalty: float, patience: float
) -> None:
    prompt = replace(DecodingCase().prompt_of(model()), length_penalty=length_penalty, patience=patience)
    found = decoded(beam_batch(beams, 2), source(prompt, order=(1, 4, 5))).attempts
    for window in (1, 4, 5):
        expected, attempt = searched(window, beams, prompt), found[window]
        ended = expected.tokens[-1] == AT.end
        assert attempt.tokens == (expected.tokens[:-1] if ended else expected.tokens)
        assert attempt.reached_limit == (not ended)
        np.testing.assert_allclose(attempt.logprobs, expected.logprobs, atol=1e-4)


def test_windows_of_other_penalties_and_prompts_share_a_batch() -> None:
    plain, other = DecodingCase().prompt_of(model()), CASES["prompt"].prompt_of(model())
    prompts = [
        plain,
        replace(plain, length_penalty=0.0),
        replace(other, patience=3.0),
        replace(plain, limit=20),
        replace(plain, patience=0.1),
        other,
    ]

    class Different(Windows):
        def prompts(self, windows: Sequence[int], language_scores: Any) -> list[Prompt]:
            return [prompts[window] for window in windows]

    together = decoded(beam_batch(3, 4), Different(encoded(), Encoded(), plain)).attempts
    for window, prompt in enumerate(prompts):
        alone = decoded(beam_batch(3, 1), source(prompt, order=[window])).attempts[window]
        assert together[window].tokens == alone.tokens
        assert together[window].no_speech == pytest.approx(alone.no_speech, rel=1e-3)


def test_a_doubted_window_is_drawn_as_without_beams_and_its_neighbours_are_not_disturbed() -> None:
    doubted, seen = (1, 3, 4), dict[tuple[bool, int], Sequence[Attempt]]()
    heads = [(0, 1), (1, 0)]
    prompt = DecodingCase().prompt_of(model())
    calm = decoded(beam_batch(4, 2), source(prompt)).attempts

    def judged(batch: Batch) -> dict[int, Attempt]:
        def judge(window: int, attempts: Sequence[Attempt]) -> Attempt | float:
            seen[isinstance(batch, BeamBatch), window] = attempts
            return round(0.4 * len(attempts), 1) if window in doubted and len(attempts) < 3 else attempts[0]

        return dict(decoded(batch, source(prompt, judge=judge), heads=heads).attempts)

    found = judged(beam_batch(4, 2))
    judged(batch_of(model(), 2))
    decoder = Decoder.of(model())
    for window in range(COUNT):
        assert found[window].tokens == calm[window].tokens
        if window in doubted:
            drawn, plainly = seen[True, window][1:], seen[False, window][1:]
            assert [one.tokens for one in drawn] == [one.tokens for one in plainly]
            for one, other in zip(drawn, plainly, strict=True):
                np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
        row = torch.tensor([[*prompt.initial, *found[window].tokens]])
        room = decoder.cache(1, frames=FRAMES, slack=9, fixed=False)
        decoder.load_audio(encoded()[window : window + 1], room, slice(0, 1))
        looks = decoder.attention(row, torch.arange(row.shape[1])[None], room, slice(0, 1), heads)[0]
        torch.testing.assert_close(found[window].attention, looks[:, len(prompt.initial) - 1 :], atol=1e-4, rtol=1e-3)


def test_a_window_whose_best_beam_loops_is_ended() -> None:
    whisper = tiny_whisper(multilingual=False, mels=80, limit=None)
    batch = beam_batch(3, 2, timestamps=False, whisper=whisper)
    batch.rules.bias[5] = batch.rules.begin_bias[5] = 40.0  # says one token for ever
    prompt = DecodingCase(timestamps=False).prompt_of(whisper)
    windows = Windows(encoded()[:3], Encoded(), prompt)
    found = dict(Decoding(batch, windows, end_loops=True).run())
    assert [(one.in_loop, one.reached_limit) for one in found.values()] == [(True, False)] * 3
    assert all(set(one.tokens) == {5} and len(one.tokens) < 70 for one in found.values())
