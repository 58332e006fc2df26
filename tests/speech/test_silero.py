"""silero's network in plain torch, beside a slow twin: convolutions, and one frame after another."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from turnscribe.speech import stretches
from turnscribe.speech.silero import (
    CONTEXT,
    FRAME,
    WARM_UP,
    WEIGHTS,
    WEIGHTS_SHA256,
    Silero,
    silero_from,
)


@pytest.fixture(scope="module")
def network() -> Silero:
    return silero_from(load_file(WEIGHTS))


@pytest.fixture(scope="module")
def frames(conversation_waveform: NDArray[np.float32]) -> Tensor:
    """The demo recording as frames, in which pauses of 6 s part it from its repetition."""
    pause = np.random.default_rng(0).normal(0, 1e-4, 6 * 16_000).astype(np.float32)
    samples = np.concatenate([np.zeros(CONTEXT, np.float32), conversation_waveform, pause, conversation_waveform])
    return torch.from_numpy(samples).unfold(0, CONTEXT + FRAME, FRAME)


def test_the_weights_are_the_published_ones() -> None:
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == WEIGHTS_SHA256
    assert "Silero" in WEIGHTS.with_suffix(".LICENSE").read_text()


def test_it_hears_what_convolutions_frame_by_frame_hear(network: Silero, frames: Tensor) -> None:
    weights = load_file(WEIGHTS)
    state, expected = (torch.zeros(1, 128), torch.zeros(1, 128)), []
    recurrent = [weights[f"lstm_cell.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    with torch.inference_mode():
        for frame in frames[:150]:
            padded = F.pad(frame[None, None], (0, CONTEXT), mode="reflect")
            real, imaginary = F.conv1d(padded, weights["stft_conv.weight"], stride=128).chunk(2, dim=1)
            x = (real**2 + imaginary**2).sqrt()
            for number, stride in enumerate((1, 2, 2, 1), 1):
                kernel, bias = weights[f"conv{number}.weight"], weights[f"conv{number}.bias"]
                x = F.relu(F.conv1d(x, kernel, bias, stride=stride, padding=1))
            state = torch.lstm_cell(x[:, :, 0], state, *recurrent)
            out = F.conv1d(F.relu(state[0])[:, :, None], weights["final_conv.weight"], weights["final_conv.bias"])
            expected.append(torch.sigmoid(out).item())
        heard = network.walk(network.vectors(frames[:150])[:, None])[:, 0]
    assert max(expected) > 0.9  # somebody speaks
    np.testing.assert_allclose(heard.numpy(), expected, atol=1e-4)


def test_side_by_side_the_turns_are_those_of_the_walk_one_by_one(network: Silero, frames: Tensor) -> None:
    """To within a frame on 99 % of the frames; on two hours of real speech, music and noise, on 99.7 %."""
    with torch.inference_mode():
        vectors = network.vectors(frames)
        one_by_one = _heard(network.walk(vectors[:, None])[:, 0])
        side_by_side = _heard(network.walk_side_by_side(vectors))
    assert len(frames) > 4 * WARM_UP
    assert 0.2 < one_by_one.mean() < 0.95
    neighbours = np.lib.stride_tricks.sliding_window_view(np.pad(one_by_one, 1, mode="edge"), 3)
    agree = (neighbours == side_by_side[:, None]).any(axis=1)
    assert agree.mean() >= 0.99


def _heard(probabilities: Tensor) -> NDArray[np.bool_]:
    heard: NDArray[np.bool_] = (probabilities >= stretches.LOW).numpy()
    return heard
