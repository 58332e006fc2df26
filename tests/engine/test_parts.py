"""The engine's parts against their slow twins, and what has none: draft lengths, temperature, a GPU."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import WhisperFeatureExtractor

from tests.engine.models import (
    AT,
    FRAMES,
    DecodingCase,
    Encoded,
    Windows,
    batch_of,
    decoded,
    generated,
    near_copy,
    sound,
    sound_features,
    tiny_assistant,
    tiny_whisper,
)
from turnscribe.engine.attempts import Attempt
from turnscribe.engine.cache import Cache
from turnscribe.engine.draft_length import DraftLength
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.linear import (
    BFloat16Linear,
    FineInt8Linear,
    Int8Linear,
    Linear,
    Precision,
    linear,
    multiplies_bfloat16,
    multiplies_int8,
)
from turnscribe.engine.mel import LogMel, mel_filters
from turnscribe.engine.model import Decoder, Encoder
from turnscribe.engine.rules import Choice
from turnscribe.engine.weights import Embedding

CPU = torch.device("cpu")


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_gradients")]


@cache
def model(mels: int = 80) -> Any:
    return tiny_whisper(multilingual=True, mels=mels)


@cache
def encoded(count: int = 8) -> torch.Tensor:
    with torch.inference_mode():
        return Encoder.of(model())(sound_features(80, 8)[:count])


# Features --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize(
    "seconds", [(0.1,), (1,), (17.3,), (30,), (0.1, 30, 1, 17.3), (29.99, 2)], ids=lambda seconds: str(seconds)
)
def test_features_are_those_of_transformers(mels: int, seconds: Sequence[float]) -> None:
    extractor = WhisperFeatureExtractor(feature_size=mels)
    waves = [sound(index, length) for index, length in enumerate(seconds)]
    expected = extractor(waves, sampling_rate=16_000, return_tensors="pt", padding="max_length").input_features
    found = LogMel(mels, CPU, torch.float32)(waves)
    assert found.shape == (len(seconds), mels, 3000)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mels", [80, 128])
def test_the_mel_bands_are_those_of_transformers(mels: int) -> None:
    np.testing.assert_allclose(mel_filters(mels), WhisperFeatureExtractor(feature_size=mels).mel_filters, atol=1e-12)


@pytest.mark.parametrize("mels", [80, 128])
def test_silence_has_the_features_of_transformers(mels: int) -> None:
    extractor = WhisperFeatureExtractor(feature_size=mels)
    for waves in ([np.zeros(16_000, np.float32)], [np.zeros(480_000, np.float32), sound(1, 2)]):
        expected = extractor(waves, sampling_rate=16_000, return_tensors="pt", padding="max_length").input_features
        torch.testing.assert_close(LogMel(mels, CPU, torch.float32)(waves), expected, atol=1e-4, rtol=0)


def test_features_come_in_the_models_precision() -> None:
    assert LogMel(80, CPU, torch.bfloat16)([sound(1, 1)]).dtype == torch.bfloat16


# Passes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mels", [80, 128])
def test_the_encoder_is_that_of_transformers(mels: int) -> None:
    features = sound_features(mels, 3)
    expected = model(mels).get_encoder()(features).last_hidden_state
    torch.testing.assert_close(Encoder.of(model(mels))(features), expected, atol=1e-4, rtol=1e-4)


def test_of_fewer_frames_the_encoder_makes_what_that_of_transformers_does_with_fewer_positions() -> None:
    shorter = deepcopy(model().get_encoder())
    shorter.config.max_source_positions = 96
    shorter.embed_positions = torch.nn.Embedding.from_pretrained(shorter.embed_positions.weight[:96])
    features = sound_features(80, 2)[..., : 2 * 96].contiguous()
    expected = shorter(features).last_hidden_state
    assert expected.shape[1] == 96
    torch.testing.assert_close(Encoder.of(model())(features), expected, atol=1e-4, rtol=1e-4)


def logits_of(decoder: Decoder, hidden: torch.Tensor) -> torch.Tensor:
    return decoder.weights.vocabulary(hidden)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("pieces", [(12,), (1,) * 12, (3, 1, 5, 3)], ids=str)
def test_the_decoder_is_that_of_transformers_in_pieces_of_any_size(pieces: tuple[int, ...], fixed: bool) -> None:
    decoder = Decoder.of(model())
    tokens = torch.randint(AT.vocabulary, (3, 12), generator=torch.Generator().manual_seed(0))
    expected = model()(encoder_outputs=(encoded(3),), decoder_input_ids=tokens).logits
    room = decoder.cache(5, frames=FRAMES, slack=9, fixed=fixed)
    rows = slice(1, 4)
    decoder.load_audio(encoded(3), room, rows)
    found, at = [], 0
    for count in pieces:
        positions = torch.arange(at, at + count).expand(3, -1)
        hidden = decoder(tokens[:, at : at + count], positions, room, rows, reach=at + count)
        found.append(logits_of(decoder, hidden))
        at += count
    torch.testing.assert_close(torch.cat(found, dim=1), expected, atol=1e-4, rtol=1e-4)


def test_a_decoder_alone_is_that_of_transformers() -> None:
    assistant = tiny_assistant(model(), seed=3)
    decoder = Decoder.of(assistant)
    assert decoder.layers == 1
    tokens = torch.randint(AT.vocabulary, (2, 7), generator=torch.Generator().manual_seed(0))
    expected = assistant(input_ids=tokens, encoder_outputs=(encoded(2),)).logits
    room = decoder.cache(2, frames=FRAMES, slack=9, fixed=False)
    decoder.load_audio(encoded(2), room, slice(0, 2))
    hidden = decoder(tokens, torch.arange(7).expand(2, -1), room, slice(0, 2), reach=7)
    torch.testing.assert_close(logits_of(decoder, hidden), expected, atol=1e-4, rtol=1e-4)


def test_the_attention_of_named_heads_is_that_of_transformers() -> None:
    decoder, heads = Decoder.of(model()), [(1, 3), (0, 1), (1, 0)]
    tokens = torch.randint(AT.vocabulary, (2, 9), generator=torch.Generator().manual_seed(0))
    layers = model().model.decoder.layers
    queries: dict[int, torch.Tensor] = {}
    handles = [
        layers[index].encoder_attn.q_proj.register_forward_hook(
            lambda module, given, result, index=index: queries.__setitem__(index, result)
        )
        for index in (0, 1)
    ]
    model()(encoder_outputs=(encoded(2),), decoder_input_ids=tokens)
    for handle in handles:
        handle.remove()
    room = decoder.cache(2, frames=FRAMES, slack=9, fixed=False)
    decoder.load_audio(encoded(2), room, slice(0, 2))
    found = decoder.attention(tokens, torch.arange(9).expand(2, -1), room, slice(0, 2), heads)
    assert found.shape == (2, 3, 9, FRAMES)
    for index, (layer, head) in enumerate(heads):
        attention = layers[layer].encoder_attn
        part = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
        query, key = queries[layer][..., part], attention.k_proj(encoded(2))[..., part]
        expected = (query @ key.transpose(1, 2) * attention.head_dim**-0.5).softmax(-1)
        torch.testing.assert_close(found[:, index], expected, atol=1e-5, rtol=1e-3)


def test_rows_at_different_places_do_not_see_each_other_or_what_was_taken_back() -> None:
    decoder, room = Decoder.of(model()), Decoder.of(model()).cache(3, frames=FRAMES, slack=9, fixed=False)
    random = torch.Generator().manual_seed(1)
    lengths = (4, 9, 6)
    texts = [torch.randint(AT.vocabulary, (length + 2,), generator=random) for length in lengths]
    rows = slice(0, 3)
    decoder.load_audio(encoded(3), room, rows)
    for row, (text, length) in enumerate(zip(texts, lengths, strict=True)):
        one = slice(row, row + 1)
        decoder(text[None, :length], torch.arange(length)[None], room, one, reach=length)
    places = torch.tensor(lengths)[:, None] + torch.arange(5)
    refused = torch.randint(AT.vocabulary, (3, 5), generator=random)
    decoder(refused, places, room, rows, reach=14)  # drafts that did not hold
    tokens = torch.stack([text[-2:] for text in texts])
    hidden = decoder(tokens, places[:, :2], room, rows, reach=11)
    for row, text in enumerate(texts):
        expected = model()(encoder_outputs=(encoded(3)[row : row + 1],), decoder_input_ids=text[None]).logits[0, -2:]
        torch.testing.assert_close(logits_of(decoder, hidden)[row], expected, atol=1e-4, rtol=1e-4)


# Cache -----------------------------------------------------------------------------------------------


def small_cache(*, fixed: bool = False) -> Cache:
    return Cache(
        layers=2, rows=3, heads=2, width=4, frames=5, positions=150, fixed=fixed, device=CPU, dtype=torch.float32
    )


def test_a_cache_grows_and_keeps_what_it_has() -> None:
    room = small_cache()
    assert room.readable(10) == 0
    room.reserve(3)
    written = torch.randn(3, 3, 16)
    room.write_own(1, slice(0, 3), torch.arange(3).expand(3, -1), written)
    for positions in (60, 64, 65, 150):
        room.reserve(positions)
        assert room.readable(positions) == positions
        keys, values = room.own(1, slice(0, 3), 3)
        assert keys.shape == (3, 2, 3, 4)
        both = torch.stack([keys, values]).permute(1, 3, 0, 2, 4).flatten(2)
        assert torch.equal(both, written)
    assert not room.own(0, slice(0, 3), 3)[0].any()


def test_a_fixed_cache_is_always_read_whole() -> None:
    room = small_cache(fixed=True)
    assert room.readable(1) == 150
    assert room.own(0, slice(0, 2), room.readable(1))[0].shape == (2, 2, 150, 4)
    room.reserve(150)
    with pytest.raises(AssertionError, match="150 positions, 151"):
        room.reserve(151)


def test_swapped_rows_take_all_they_have_with_them() -> None:
    room = small_cache()
    room.reserve(2)
    own, cross = torch.randn(3, 2, 16), torch.randn(3, 5, 16)
    for layer in (0, 1):
        room.write_own(layer, slice(0, 3), torch.arange(2).expand(3, -1), own + layer)
        room.write_cross(layer, slice(0, 3), cross + layer)
    before = [
        (room.own(layer, slice(0, 3), 2)[0].clone(), room.cross(layer, slice(0, 3))[1].clone()) for layer in (0, 1)
    ]
    room.swap(0, 2)
    for layer in (0, 1):
        assert torch.equal(room.own(layer, slice(0, 3), 2)[0], before[layer][0][[2, 1, 0]])
        assert torch.equal(room.cross(layer, slice(0, 3))[1], before[layer][1][[2, 1, 0]])


def test_a_query_sees_what_came_before_it_and_itself() -> None:
    mask = small_cache().mask(torch.tensor([[0, 1], [2, 3]]), 4)
    assert mask.shape == (2, 1, 2, 4)
    assert mask[:, 0].sum(-1).tolist() == [[1, 2], [3, 4]]


needs_int8 = pytest.mark.skipif(not multiplies_int8(), reason="this processor has no VNNI")

# Linear ----------------------------------------------------------------------------------------------


# How far a product may be from torch's, as a share of it. That of random numbers in 8 bits is 0.8 %, or 0.6 % where
# only the weights are.
NEAR: dict[Precision, float] = {"own": 1e-6, "half": 8e-3, "fine": 8e-3, "int8": 1.2e-2}


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("precision", NEAR)
@pytest.mark.parametrize("gelu", [True, False])
@pytest.mark.parametrize("shape", [(96,), (1, 96), (3, 4, 96), (1500, 96)], ids=str)
def test_a_product_is_that_of_torch(shape: tuple[int, ...], gelu: bool, precision: Precision) -> None:
    random = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(110, 96, generator=random), torch.randn(110, generator=random)
    x = torch.randn(*shape, generator=random)
    for given in (bias, None):
        found = linear(weight, given, precision=precision)(x, gelu=gelu)
        expected = F.linear(x, weight, given)
        assert found.dtype == torch.float32
        assert distance(found, F.gelu(expected) if gelu else expected) < NEAR[precision]


@pytest.mark.parametrize(
    ("precision", "bfloat16", "int8", "kind"),
    [
        ("int8", True, True, Int8Linear),
        ("int8", True, False, Linear),
        ("half", True, True, BFloat16Linear),
        ("half", False, True, FineInt8Linear),
        ("half", False, False, Linear),
        ("fine", True, True, FineInt8Linear),
        ("fine", True, False, Linear),
        ("own", True, True, Linear),
    ],
)
def test_the_instructions_of_the_processor_decide(
    precision: Precision, bfloat16: bool, int8: bool, kind: type[Linear], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnscribe.engine.linear.multiplies_int8", lambda: int8)
    monkeypatch.setattr("turnscribe.engine.linear.multiplies_bfloat16", lambda: bfloat16)
    weight = torch.randn(11, 7)
    assert type(linear(weight, precision=precision)) is kind
    assert type(linear(weight.half(), precision=precision)) is Linear


def test_bfloat16_that_the_processor_has_no_instructions_for_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN says that it multiplies it, and does, three times as slowly as float32."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    multiplies_bfloat16.cache_clear()
    try:
        assert not multiplies_bfloat16()
        assert type(linear(torch.randn(11, 7), precision="half")) is (FineInt8Linear if multiplies_int8() else Linear)
    finally:
        monkeypatch.undo()
        multiplies_bfloat16.cache_clear()


@needs_int8
@pytest.mark.parametrize("kind", [Int8Linear, FineInt8Linear])
def test_a_row_in_8_bits_does_not_depend_on_the_rows_beside_it(kind: type[Linear]) -> None:
    random = torch.Generator().manual_seed(0)
    product = kind(torch.randn(130, 96, generator=random), torch.randn(130, generator=random))
    x = torch.randn(50, 96, generator=random)
    x[3] *= 1000
    together = product(x)
    for size in (1, 2, 7, 33):
        assert torch.equal(torch.cat([product(part) for part in x.split(size)]), together)


@needs_int8
def test_integers_within_the_levels_are_multiplied_exactly() -> None:
    random = torch.Generator().manual_seed(0)
    weight = torch.randint(-127, 128, (40, 64), generator=random).float()
    x = torch.randint(-127, 128, (9, 64), generator=random).float()
    weight[:, 0] = x[:, 0] = 127  # so that a level is 1
    torch.testing.assert_close(Int8Linear(weight)(x), F.linear(x, weight), rtol=1e-6, atol=1e-3)


@needs_int8
def test_inputs_of_16_bits_leave_the_error_of_the_weights_alone() -> None:
    random = torch.Generator().manual_seed(0)
    weight, x = torch.randn(110, 96, generator=random), torch.randn(200, 96, generator=random)
    x[:, 0] *= 30  # one large number makes 8 bits coarse for the others
    scales = weight.abs().amax(1, keepdim=True) / 127
    of_rounded = F.linear(x, (weight / scales).round() * scales)
    assert distance(FineInt8Linear(weight)(x), of_rounded) < 1e-4
    assert distance(Int8Linear(weight)(x), of_rounded) > 1e-2


@pytest.mark.parametrize("precision", NEAR)
def test_a_row_of_zeros_gives_the_bias(precision: Precision) -> None:
    weight, bias = torch.randn(11, 16), torch.randn(11).bfloat16().float()
    found = linear(weight, bias, precision=precision)(torch.zeros(2, 16))
    assert torch.equal(found, bias.expand(2, -1))
    assert linear(torch.zeros(11, 16), bias, precision=precision)(torch.randn(2, 16)).equal(bias.expand(2, -1))


@pytest.mark.parametrize("precision", NEAR)
def test_what_is_not_a_number_stays_so(precision: Precision) -> None:
    x = torch.ones(2, 16)
    x[0, 3] = math.nan
    found = linear(torch.randn(11, 16), precision=precision)(x)
    assert found[0].isnan().all()
    assert found[1].isfinite().all()


def test_a_type_that_is_not_packed_is_multiplied_all_the_same() -> None:
    weight, x = torch.randn(11, 7, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    torch.testing.assert_close(Linear(weight)(x), F.linear(x, weight))


@pytest.mark.parametrize("precision", NEAR)
def test_a_bias_of_minus_infinity_forbids(precision: Precision) -> None:
    random = torch.Generator().manual_seed(0)
    weight, x, bias = torch.randn(11, 96, generator=random), torch.randn(2, 3, 96, generator=random), torch.zeros(11)
    bias[[0, 4, 10]] = -math.inf
    found, expected = linear(weight, precision=precision).with_bias(x, bias), F.linear(x, weight, bias)
    assert found[..., [0, 4, 10]].isneginf().all()
    assert distance(found[..., 1:4], expected[..., 1:4]) < 2 * NEAR[precision]


# Draft length ----------------------------------------------------------------------------------------


def lengths(shares: Sequence[float], rows: int = 1) -> list[int]:
    one = DraftLength(big(), Decoder.of(tiny_assistant(model(), seed=3)), frames=FRAMES)
    found = []
    for share in shares:
        found.append(one.best(rows))
        one.record(round(100 * share), 100 - round(100 * share))
    return [*found, one.best(rows)]


@cache
def big() -> Decoder:
    return Decoder.of(tiny_whisper(multilingual=True, mels=80, width=128))


def test_more_is_drafted_the_more_is_accepted() -> None:
    ends = [lengths([share] * 30)[-1] for share in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    assert ends == sorted(ends)
    assert ends[0] == 1
    assert ends[-1] == 8
    assert len(set(ends)) > 3


def test_the_draft_length_stays_in_bounds_and_hangs_on_shares_alone() -> None:
    shares = np.random.default_rng(0).uniform(size=200).tolist() + [0] * 50 + [1] * 50
    found = lengths(shares)
    assert found == lengths(shares)
    assert {1, 8} <= set(found) <= set(range(1, 9))
    assert found[250] < found[-1]  # it forgets
    for rows in (1, 8, 500):
        assert 1 <= lengths([], rows)[0] <= 8


# Graphs ----------------------------------------------------------------------------------------------


def test_graphs_are_off_on_the_cpu_and_run_what_they_are_given() -> None:
    graphs, done = Graphs(CPU), []
    assert not graphs.enabled
    for index in range(4):
        graphs.run("key", lambda index=index: done.append(index))
    assert done == [0, 1, 2, 3]


# Temperature -----------------------------------------------------------------------------------------


def warm(rows: int, order: Sequence[int], *, seed: int = 0, temperature: float = 0.7, k: int | None = None) -> Any:
    draft = Decoder.of(near_copy(model(), noise=0.03)) if k else None
    source = Windows(
        encoded(),
        Encoded(),
        DecodingCase().prompt_of(model()),
        order=order,
        seed=lambda window: 1000 * seed + window,
        temperature=temperature,
    )
    return decoded(batch_of(model(), rows, draft=draft), source, draft_length=k).attempts


@pytest.mark.parametrize("k", [None, 3])
def test_a_warm_row_draws_the_same_whatever_sits_beside_it(k: int | None) -> None:
    alone = {window: warm(1, [window], k=k)[window] for window in (0, 3, 5)}
    for rows, order in ((3, range(8)), (8, range(8)), (3, (5, 1, 3, 0))):
        together = warm(rows, order, k=k)
        for window in alone:
            assert together[window].tokens == alone[window].tokens
            np.testing.assert_allclose(together[window].logprobs, alone[window].logprobs, atol=1e-4)
            assert together[window].temperature == 0.7


def test_other_seeds_and_temperatures_draw_other_tokens() -> None:
    drawn = [warm(8, range(8)), warm(8, range(8), seed=1), warm(8, range(8), temperature=1.0)]
    for one, other in itertools.combinations(drawn, 2):
        assert sum(one[window].tokens != other[window].tokens for window in range(8)) >= 7
    first = {window: warm(8, range(8), temperature=1e-4)[window].tokens for window in range(8)}
    reference = generated(model(), sound_features(80, 8), DecodingCase())
    assert [first[window] for window in range(8)] == [row.tokens for row in reference]  # as good as greedy


def test_warm_tokens_keep_the_rules_of_timestamps() -> None:
    for attempt in warm(8, range(8), temperature=1.0).values():
        times = [token for token in attempt.tokens if token >= AT.first_time]
        assert times == sorted(times)
        assert attempt.tokens[0] <= AT.first_time + 50
        assert not set(attempt.tokens) & set(model().generation_config.suppress_tokens)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_likely_as_they_are(temperature: float) -> None:
    """`_draw` for itself: passes through a model would take minutes for as many draws."""
    batch = batch_of(model(), 1)
    batch._samplers[0] = (temperature, 3)
    scores = torch.tensor([1.0, 0.0, 2.0, -math.inf])
    draws = 30_000
    nothing = torch.zeros(1, draws, dtype=torch.long)
    choice = batch._draw(scores.expand(1, draws, -1), Choice(nothing, nothing.float()), slice(0, 1))
    counts = torch.bincount(choice.tokens[0], minlength=4)
    expected = (scores / temperature).softmax(-1) * draws
    assert counts[3] == 0
    chi_square = float(((counts - expected)[:3] ** 2 / expected[:3]).sum())
    assert chi_square < 13.8  # of two degrees of freedom: one in a thousand
    torch.testing.assert_close(choice.logprobs[0], scores.log_softmax(-1)[choice.tokens[0]])  # without temperature


# Rows of their own kind ------------------------------------------------------------------------------

CASES = (
    DecodingCase(),
    DecodingCase(task="translate", language="ru"),
    DecodingCase(prompt=(AT.previous, 11, 5, 30, 77)),
    DecodingCase(),
    DecodingCase(),
    DecodingCase(prompt=(AT.previous, 40)),
    DecodingCase(prompt=(AT.previous, 41)),  # as long as its neighbour's
    DecodingCase(language="es"),
)


class MixedPrompts(Windows):
    """Every window with a prompt of its own."""

    def prompts(self, windows: Sequence[int], language_scores: Any) -> list[Any]:
        return [CASES[window].prompt_of(model()) for window in windows]


@pytest.mark.parametrize("k", [None, 4])
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_rows_with_prompts_of_their_own_do_not_disturb_each_other(rows: int, k: int | None) -> None:
    heads = [(0, 1), (1, 0)]
    draft = Decoder.of(near_copy(model(), noise=0.03)) if k else None
    batch = batch_of(model(), rows, draft=draft)
    started, start = [], batch.start
    batch.start = lambda rows, *args, **more: started.append(rows) or start(rows, *args, **more)  # type: ignore[method-assign]
    source = MixedPrompts(encoded(), Encoded(), DecodingCase().prompt_of(model()))
    found = decoded(batch, source, heads=heads, draft_length=k).attempts
    for window, case in enumerate(CASES):
        (reference,) = generated(model(), sound_features(80, 8)[window : window + 1], case)
        assert found[window].tokens == reference.tokens
        one = Windows(encoded()[window : window + 1], Encoded(), case.prompt_of(model()))
        alone = decoded(batch_of(model(), 1), one, heads=heads).attempts[0]
        torch.testing.assert_close(found[window].attention, alone.attention, atol=1e-4, rtol=1e-3)
    if rows == 8:
        assert [part.stop - part.start for part in started] == [1, 1, 1, 2, 1, 1, 1]


class Abandoned(Windows):
    """From some pass on, nobody waits for some of the windows."""

    gone: frozenset[int] = frozenset()
    judged: list[int]

    def unwanted(self, window: int) -> bool:
        return window in self.gone

    def judge(self, window: int, attempts: Sequence[Attempt]) -> Attempt | float:
        assert window not in self.gone
        return super().judge(window, attempts)


@pytest.mark.parametrize("passes", [0, 1, 5])
@pytest.mark.parametrize("gone", [{0}, {1, 2}, {3}, {0, 1, 2, 3}, {2, 6}], ids=str)
def test_rows_nobody_wants_are_ended_and_their_places_refilled(gone: set[int], passes: int) -> None:
    batch, source = batch_of(model(), 4), Abandoned(encoded(), Encoded(), DecodingCase().prompt_of(model()))
    step, active = batch.step, []

    def counted(rows: int, reach: int) -> None:
        if len(active) == passes:
            source.gone = frozenset(gone)
        active.append(rows)
        step(rows, reach)

    batch.step = counted  # type: ignore[method-assign]
    found = decoded(batch, source).attempts
    reference = generated(model(), sound_features(80, 8), DecodingCase())
    assert {window: attempt.tokens for window, attempt in found.items()} == {
        window: reference[window].tokens for window in range(8) if window not in gone
    }
    assert active[passes + 1] == 4  # the next windows are in their places
    assert batch.done.all()


# Fallback --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [None, 4])
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_a_doubted_window_is_tried_warmer_and_its_neighbours_are_not_disturbed(rows: int, k: int | None) -> None:
    doubted = {1: 0, 4: 2, 6: 1, 7: 3}  # window -> which of its attempts is best
    seen: dict[int, list[Attempt]] = {}

    def judge(window: int, attempts: Sequence[Attempt]) -> Attempt | float:
        seen[window] = list(attempts)
        if window not in doubted:
            return attempts[0]
        return attempts[doubted[window]] if len(attempts) == 4 else round(0.2 * len(attempts), 1)

    heads = [(0, 1), (1, 0)]
    draft = Decoder.of(near_copy(model(), noise=0.03)) if k else None
    source = Windows(encoded(), Encoded(), DecodingCase().prompt_of(model()), judge=judge)
    found = decoded(batch_of(model(), rows, draft=draft), source, heads=heads, draft_length=k).attempts
    reference = generated(model(), sound_features(80, 8), DecodingCase())
    decoder = Decoder.of(model())
    assert sorted(found) == list(range(8))
    for window in range(8):
        assert [attempt.temperature for attempt in seen[window]] == ([0, 0.2, 0.4, 0.6] if window in doubted else [0])
        assert seen[window][0].tokens == reference[window].tokens
        best = seen[window][doubted.get(window, 0)]
        assert (found[window].tokens, found[window].logprobs) == (best.tokens, best.logprobs)
        assert (found[window].temperature, found[window].no_speech) == (best.temperature, best.no_speech)
        row = torch.tensor([[*DecodingCase().initial(model()), *best.tokens]])
        room = decoder.cache(1, frames=FRAMES, slack=9, fixed=False)
        decoder.load_audio(encoded()[window : window + 1], room, slice(0, 1))
        looks = decoder.attention(row, torch.arange(row.shape[1])[None], room, slice(0, 1), heads)[0]
        assert found[window].attention is not None
        assert found[window].attention.shape == (2, len(best.tokens) + 1, FRAMES)
        torch.testing.assert_close(found[window].attention, looks[:, 2:], atol=1e-4, rtol=1e-3)
    assert any(len({attempt.tokens for attempt in seen[window]}) > 1 for window in doubted)


def test_tries_of_one_window_are_drawn_anew() -> None:
    seen: list[Attempt] = []

    def judge(window: int, attempts: Sequence[Attempt]) -> Attempt | float:
        seen[:] = attempts
        return attempts[-1] if len(attempts) == 4 else 1.0

    decoded(batch_of(model(), 1), Windows(encoded(1), Encoded(), DecodingCase().prompt_of(model()), judge=judge))
    assert len({attempt.tokens for attempt in seen}) == 4


def test_an_embedding_takes_half_the_memory_only_where_that_loses_nothing() -> None:
    stored = torch.randn(5, 4).half().float()
    for weight, kept in ((stored, torch.float16), (stored + 1e-6, torch.float32)):
        embedding = Embedding.of(weight, alone=True)
        assert embedding.rows.dtype == kept
        assert torch.equal(embedding(torch.tensor([[3, 0]])), weight[[3, 0]][None])
    assert Embedding.of(stored, alone=False).rows is stored
