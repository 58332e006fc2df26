"""The slow twins: attention from the model itself, dynamic time warping cell by cell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from turnscribe.whisper.alignment import (
    LEADS,
    _captured_attention,
    align,
    alignment_heads,
    first_frames,
    lead,
    token_starts,
)

FRAMES = 60  # of the encoder's output; 1.2 s
END = 50
INITIAL = [51, 52, 53]
ROWS = [[3, 14, 15, 9, 26, 5], [35, 8], []]
SECONDS = [1.2, 0.5, 0.004]
HEADS = [(0, 1), (1, 0), (1, 1)]


# --- dynamic time warping -------------------------------------------------------------------------------------


def slow_warp(cost: NDArray[np.float64]) -> tuple[list[int], float]:
    """openai/whisper's `dtw_cpu`: the frame at which each row is entered, and the cost of the cheapest path."""
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    trace = np.zeros((rows + 1, columns + 1), int)
    for j in range(1, columns + 1):
        for i in range(1, rows + 1):
            both, down, right = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
            if both < down and both < right:
                step, best = 0, both
            elif down < both and down < right:
                step, best = 1, down
            else:
                step, best = 2, right
            total[i, j] = cost[i - 1, j - 1] + best
            trace[i, j] = step
    entered = [0] * rows
    i, j = rows, columns
    while (i, j) != (1, 1):
        step = trace[i, j]
        if step != 2:
            entered[i - 1] = j - 1
        i, j = i - (step != 2), j - (step != 1)
    return entered, float(total[rows, columns])


def cost_through(cost: NDArray[np.float64], entered: NDArray[np.float64]) -> float:
    """Of the cheapest path that enters the rows at these frames."""
    rows = len(cost)
    starts = entered.astype(int)
    total = cost[rows - 1, starts[-1] :].sum()
    for row in range(rows - 1):
        first, following = starts[row], starts[row + 1]
        ways = [cost[row, first : following + 1].sum()]  # straight down
        if following > first:
            ways.append(cost[row, first:following].sum())  # down and right
        total += min(ways)
    return float(total)


def matrices(values: st.SearchStrategy[float]) -> st.SearchStrategy[NDArray[np.float64]]:
    def of(shape: tuple[int, int]) -> st.SearchStrategy[NDArray[np.float64]]:
        row = st.lists(values, min_size=shape[1], max_size=shape[1])
        return st.lists(row, min_size=shape[0], max_size=shape[0]).map(lambda rows: np.array(rows, np.float64))

    return st.tuples(st.integers(1, 7), st.integers(1, 9)).flatmap(of)


def test_the_path_follows_the_cheap_cells() -> None:
    cost = 1 - np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], np.float64)
    assert first_frames(cost).tolist() == [0, 2, 3]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 2)])
def test_fewer_frames_than_tokens_still_make_a_path(shape: tuple[int, int]) -> None:
    entered = first_frames(np.zeros(shape))
    assert len(entered) == shape[0]
    assert entered.tolist() == slow_warp(np.zeros(shape))[0]


@pytest.mark.property
@settings(deadline=None)
@given(matrices(st.integers(-3, 3)))
def test_ties_are_broken_as_cell_by_cell(cost: NDArray[np.float64]) -> None:
    entered, cheapest = slow_warp(cost)
    assert first_frames(cost).tolist() == entered
    assert cost_through(cost, first_frames(cost)) == cheapest


@pytest.mark.property
@settings(deadline=None)
@given(matrices(st.floats(-10, 10)))
def test_the_path_is_the_cheapest(cost: NDArray[np.float64]) -> None:
    entered = first_frames(cost)
    assert entered[0] == 0
    assert np.all(np.diff(entered) >= 0)
    assert cost_through(cost, entered) == pytest.approx(slow_warp(cost)[1], abs=1e-9)


@pytest.mark.property
@settings(deadline=None, max_examples=30)
@given(st.integers(1, 25), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_without_ties_the_frames_are_those_of_cell_by_cell(rows: int, columns: int, seed: int) -> None:
    cost = np.random.default_rng(seed).normal(size=(rows, columns))
    assert first_frames(cost).tolist() == slow_warp(cost)[0]


# --- a tiny model ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any]:
    """Random weights, twice the same: with the attention we run and with the one that gives its weights away."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        vocab_size=60,
        num_mel_bins=80,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=FRAMES,
        max_target_positions=40,
        init_std=0.6,  # sharp attention, so that a wrong head or row shows
        pad_token_id=END,
        bos_token_id=END,
        eos_token_id=END,
        decoder_start_token_id=INITIAL[0],
    )
    torch.manual_seed(0)
    fast = WhisperForConditionalGeneration._from_config(deepcopy(config), attn_implementation="sdpa").eval()
    slow = WhisperForConditionalGeneration._from_config(deepcopy(config), attn_implementation="eager").eval()
    slow.load_state_dict(fast.state_dict())
    assert (fast.config._attn_implementation, slow.config._attn_implementation) == ("sdpa", "eager")
    return fast, slow


@pytest.fixture(scope="module")
def encoded() -> torch.Tensor:
    return torch.randn(len(ROWS), FRAMES, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def run(model: Any, encoded: torch.Tensor, **changes: Any) -> Any:
    arguments = {"initial": INITIAL, "rows": ROWS, "seconds": SECONDS, "heads": HEADS, "end_token": END}
    return align(model, encoded, **arguments | changes)


def slow_output(model: Any, encoded: torch.Tensor, row: list[int]) -> Any:
    """One row by itself, nothing padded; `encoded` `[1, T, D]`."""
    tokens = torch.tensor([[*INITIAL, *row]])
    return model(encoder_outputs=(encoded,), decoder_input_ids=tokens, use_cache=False, output_attentions=True)


def slow_starts(attention: tuple[torch.Tensor, ...], seconds: float) -> list[float]:
    """openai/whisper's `find_alignment`, from the model's own cross-attentions, each `[1, heads, P, T]`."""
    frames = max(round(seconds / 0.02), 1)
    first = len(INITIAL) - 1
    filtered = []
    for layer, head in HEADS:
        weights = attention[layer][0, head, first:, :frames].double().numpy()
        normalised = (weights - weights.mean(0)) / np.maximum(weights.std(0), 1e-8)
        if frames > 3:
            padded = np.pad(normalised, ((0, 0), (3, 3)), mode="reflect")
            normalised = np.median(np.stack([padded[:, i : i + frames] for i in range(7)]), axis=0)
        filtered.append(normalised)
    entered, _ = slow_warp(-np.mean(filtered, axis=0))
    return [frame * 0.02 for frame in entered]


def hooks(model: Any) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules())


def test_captured_attention_is_the_models_own(models: tuple[Any, Any], encoded: torch.Tensor) -> None:
    fast, slow = models
    tokens = torch.tensor([[*INITIAL, 3, 14, 15], [*INITIAL, 35, 8, END], [*INITIAL, 1, 2, 3]])
    call: dict[str, Any] = {"encoder_outputs": (encoded,), "decoder_input_ids": tokens, "use_cache": False}
    with _captured_attention(fast, HEADS) as captured:
        plain = fast(**call).logits
    own = slow(**call, output_attentions=True).cross_attentions
    assert captured.keys() == set(HEADS)
    for layer, head in HEADS:
        torch.testing.assert_close(captured[layer, head], own[layer][:, head], atol=1e-5, rtol=0)
    torch.testing.assert_close(plain, fast(**call).logits)  # and it watches without a touch


def test_times_and_probabilities_are_those_of_each_row_alone(models: tuple[Any, Any], encoded: torch.Tensor) -> None:
    fast, slow = models
    found = run(fast, encoded)
    assert len(found) == len(ROWS)
    for index, row in enumerate(ROWS):
        output = slow_output(slow, encoded[index : index + 1], row)
        starts = slow_starts(output.cross_attentions, SECONDS[index])
        np.testing.assert_allclose([*found[index].starts, *found[index].ends[-1:]], starts[: len(row) + bool(row)])
        logprobs = output.logits[0, len(INITIAL) - 1 : -1].log_softmax(-1)
        expected = [float(logprobs[position, token]) for position, token in enumerate(row)]
        np.testing.assert_allclose(found[index].logprobs, expected, atol=1e-4)


def test_times_rise_and_stay_in_the_audio(models: tuple[Any, Any], encoded: torch.Tensor) -> None:
    found = run(models[0], encoded)
    for one, row, seconds in zip(found, ROWS, SECONDS, strict=True):
        assert len(one.starts) == len(one.ends) == len(one.logprobs) == len(row)
        assert all(one.starts <= one.ends)
        assert all(one.starts[1:] == one.ends[:-1])
        assert all(0 <= time < seconds for time in [*one.starts, *one.ends])
        assert all(one.logprobs <= 0)
    assert found[0].starts.any()


@pytest.mark.parametrize(
    ("ahead", "starts"), [(0.0, [0.0, 0.4, 0.8]), (0.06, [0.0, 0.46, 0.86]), (0.3, [0, 0.7, 1.0])]
)
def test_a_token_begins_after_the_heads_look_at_it(ahead: float, starts: list[float]) -> None:
    weights = torch.zeros(1, 3, 50)  # 1 s
    for token in range(3):
        weights[0, token, 20 * token : 20 * token + 20] = 1.0
    assert token_starts(weights, 1.0, ahead) == pytest.approx(starts)


def test_the_lead_is_that_of_the_heads_whatever_their_order() -> None:
    for heads, seconds in LEADS.items():
        assert lead(sorted(heads, reverse=True)) == seconds
        assert lead(sorted(heads)[1:]) == 0.0


def test_the_model_is_left_as_it_was(models: tuple[Any, Any], encoded: torch.Tensor) -> None:
    model = models[0]
    before = hooks(model)
    with _captured_attention(model, HEADS):
        assert hooks(model) == before + 2  # one for each layer, so the count is worth something
    run(model, encoded)
    assert hooks(model) == before
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": [[10_000], [1], [1]]},  # no such token: the model raises
        {"heads": [(0, 0), (9, 0)]},  # no such layer: the second hook cannot be set
    ],
)
def test_the_model_is_left_as_it_was_when_it_raises(
    models: tuple[Any, Any], encoded: torch.Tensor, changes: dict[str, Any]
) -> None:
    model = models[0]
    before = hooks(model)
    with pytest.raises(IndexError):
        run(model, encoded, **changes)
    assert hooks(model) == before
    assert model.config._attn_implementation == "sdpa"


def test_heads_are_the_authors_or_those_of_the_upper_half() -> None:
    def model(named: Any) -> Any:
        return SimpleNamespace(
            generation_config=SimpleNamespace(alignment_heads=named),
            config=SimpleNamespace(decoder_layers=4, decoder_attention_heads=2),
        )

    assert alignment_heads(model([[3, 1], [2, 0]])) == [(3, 1), (2, 0)]
    assert alignment_heads(model(None)) == list(itertools.product((2, 3), (0, 1)))
    bare = model(None)
    del bare.generation_config.alignment_heads
    assert alignment_heads(bare) == list(itertools.product((2, 3), (0, 1)))
