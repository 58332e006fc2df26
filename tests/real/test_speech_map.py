"""The speech map on real recordings, and its network beside silero's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.real.packages import PACKAGES
from tests.real.recording import Recording
from tests.real.recordings import Unavailable, fetch, folder_of
from turnscribe.inputs.decode import decode_audio
from turnscribe.speech.detector import SpeechDetector, load_speech_detector
from turnscribe.speech.silero import CONTEXT, FRAME, silero_from
from turnscribe.waveform import SAMPLE_RATE

MARGIN = 0.2  # seconds around a stretch
LAYERS = {
    **{f"conv{number + 1}": f"_model.encoder.{number}.reparam_conv" for number in range(4)},
    "lstm_cell": "_model.decoder.rnn",
    "final_conv": "_model.decoder.decoder.2",
}


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return load_speech_detector()


def unpacked(name: str) -> Path:
    try:
        return folder_of(PACKAGES[name], fetch((PACKAGES[name],)))
    except Unavailable as error:
        pytest.fail(str(error))


def test_the_network_is_sileros_own() -> None:
    """Its file holds other weights, with which ours hears what it hears one frame after another."""
    folder = unpacked("silero-vad")
    reference = torch.jit.load(str(next(folder.rglob("silero_vad.jit"))))
    parameters = dict(reference.named_parameters())
    state = {
        f"{ours}.{name.removeprefix(f'{theirs}.')}": value.detach()
        for ours, theirs in LAYERS.items()
        for name, value in parameters.items()
        if name.startswith(f"{theirs}.")
    }
    samples = decode_audio(next(folder.rglob("aepyx.wav")).read_bytes()).mono[: 600 * FRAME]
    frames = torch.from_numpy(np.pad(samples, (CONTEXT, 0))).unfold(0, CONTEXT + FRAME, FRAME)
    network = silero_from(state)
    with torch.inference_mode():
        expected = [reference(frame[None, CONTEXT:], SAMPLE_RATE).item() for frame in frames]
        heard = network.walk(network.vectors(frames)[:, None])[:, 0]
    assert max(expected) > 0.9
    np.testing.assert_allclose(heard.numpy(), expected, atol=1e-4)


def test_nobody_speaks_in_18_minutes_of_hold_music(detector: SpeechDetector) -> None:
    music = [decode_audio(path.read_bytes()).mono for path in unpacked("asterisk-moh-opsound-wav").rglob("*.wav")]
    assert sum(len(piece) for piece in music) > 18 * 60 * SAMPLE_RATE
    assert sum(detector.find(piece).seconds for piece in music) < 1.5  # measured: 0.8


@pytest.mark.parametrize(
    ("name", "missed"), [("sample", 0.01), ("know", 0.05), ("frint980428", 0.01), ("aepyx", 0.03), ("aepyx_8k", 0.03)]
)
def test_turns_lie_in_speech(
    detector: SpeechDetector, real_recordings: dict[str, Recording], name: str, missed: float
) -> None:
    """But for pauses inside a turn, which count as missed."""
    spoken = real_recordings[f"conversation/{name}"].load()
    found = detector.find(decode_audio(spoken.audio).mono)
    times = np.arange(0, found.duration, 0.01)
    speech, turns = np.zeros(len(times), bool), np.zeros(len(times), bool)
    for stretch in found.stretches:
        speech |= (times >= stretch.start - MARGIN) & (times < stretch.end + MARGIN)
    for turn in spoken.turns or ():
        turns |= (times >= turn.start) & (times < turn.end)
    assert (turns & ~speech).sum() / turns.sum() < missed
