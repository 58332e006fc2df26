"""What the engine proves when it is loaded: what is right is used, what is wrong is not, and the reason is told."""

from __future__ import annotations

import logging
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.models import FRAMES, Letters, near_copy, sound_features, tiny_whisper
from tools.fake_gpu import FakeGpu
from turnscribe.devices import Device, device_of
from turnscribe.engine import proof
from turnscribe.engine.engine import Engine
from turnscribe.engine.graphs import SWITCH, Graphs, Unrecorded
from turnscribe.engine.model import Decoder, Encoder
from turnscribe.engine.models import Models
from turnscribe.engine.proof import decoded, prove_graphs, prove_precision, proven, sound
from turnscribe.errors import SettingsError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_gradients")]


@cache
def whisper() -> Any:
    return tiny_whisper(multilingual=True, mels=80)


def models(
    dtype: torch.dtype = torch.float32, *, device: Any = "cpu", draft: bool = False, louder: float = 1.0
) -> Models:
    """`louder` is what a layer's output is multiplied by: half precision ends at 65,504."""

    def weights(model: Any) -> Any:
        state = dict(model.state_dict())
        name = "model.encoder.layers.0.fc2.weight"
        state[name] = state[name] * louder
        return SimpleNamespace(
            config=model.config,
            generation_config=model.generation_config,
            state_dict=lambda: {name: value.to(device, dtype) for name, value in state.items()},
        )

    assistant = weights(near_copy(whisper(), noise=0.03)) if draft else None
    return Models.of(weights(whisper()), Letters(), assistant)


def made(device: Device, dtype: torch.dtype = torch.float32, **more: Any) -> tuple[Engine, list[bool]]:
    """A proven engine, and how often it was made: whether in float32."""
    asked: list[bool] = []

    def make(float32: bool) -> Engine:
        asked.append(float32)
        weights = models(torch.float32 if float32 else dtype, device=device.torch_device, **more)
        return Engine(weights, device=device)

    return proven(make), asked


# All is well -----------------------------------------------------------------------------------------


def test_what_is_right_is_used(gpu: Device) -> None:
    engine, asked = made(gpu, torch.float16, draft=True)
    running = engine.running
    assert (running.device, running.dtype, running.graphs, running.reason) == (gpu.name, "float16", True, None)
    assert asked == [False]
    if isinstance(gpu, FakeGpu):
        assert gpu.log[-1] == "empty cache"
        assert "check" not in gpu.log
    assert engine.batch(2, assisted=True).graphs.enabled


def test_on_a_processor_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "prove_graphs", lambda engine: pytest.fail("it was"))
    engine, asked = made(device_of("cpu"))
    assert (engine.running.device, engine.running.dtype, engine.running.graphs) == ("cpu", "float32", False)
    assert asked == [False]


def test_the_switch_leaves_graphs_out(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    running = made(gpu)[0].running
    assert not running.graphs
    assert running.reason == f"{SWITCH} is 0."
    if isinstance(gpu, FakeGpu):
        assert "recorder" not in gpu.log


@pytest.mark.parametrize("kind", proof.PASSES)
def test_passes_are_replayed_in_every_shape_that_the_proof_decodes_with(gpu: Device, kind: str) -> None:
    engine = Engine(models(draft=True, device=gpu.torch_device), device=gpu)
    graphs = Graphs(gpu)
    found = decoded(engine, graphs, kind)
    assert [len(tokens) for tokens, _ in found] == list(proof.TOKENS)  # no end, whatever the weights
    assert len(set(found)) == proof.WINDOWS
    shape = ("round", proof.DRAFTED) if kind == "drafted" else ("step",)
    assert graphs.recorded == {(shape[0], rows, *shape[1:]) for rows in (1, 2)}
    assert found == decoded(engine, Unrecorded(gpu), kind)


def test_the_sound_is_the_same_every_time_and_has_something_to_hear() -> None:
    assert np.array_equal(sound(), sound())
    assert not np.array_equal(sound(seed=0), sound(seed=1))
    assert 0.01 < np.sqrt(np.mean(sound() ** 2)) < 0.5
    assert np.abs(sound()).max() < 1


# Recorded passes that are wrong ----------------------------------------------------------------------

FAILURES = {
    "record": "passes cannot be recorded and replayed on this device (CUDA error: operation not permitted",
    "replay": "passes cannot be recorded and replayed on this device (CUDA error: operation failed",
    "replay wrongly": "recorded passes say something else than the same passes unrecorded",
    "replay nothing": "recorded passes say something else than the same passes unrecorded",  # it would never end
    "memory": "memory is too little to record passes",
}


@pytest.mark.parametrize("fails", FAILURES)
def test_recorded_passes_that_fail_are_not_used(fails: str, caplog: pytest.LogCaptureFixture) -> None:
    gpu = FakeGpu(fails=fails)
    with caplog.at_level(logging.WARNING, "turnscribe"):
        engine, asked = made(gpu)
    assert asked == [False]
    running = engine.running
    assert not running.graphs
    assert running.reason is not None
    assert FAILURES[fails] in running.reason
    assert [record.message for record in caplog.records] == [
        f"the engine goes on without CUDA graphs: {running.reason.removeprefix('No CUDA graphs, since ')[:-1]}"
    ]
    gpu.log.clear()
    assert not engine.batch(2, assisted=False).graphs.enabled
    assert "record" not in gpu.log


@pytest.mark.parametrize("fails", ["record", "replay wrongly"])
@pytest.mark.parametrize(("before", "passes"), [(1, "drafting passes"), (2, "passes of beams")])
def test_every_kind_of_pass_is_proved(before: int, passes: str, fails: str) -> None:
    """Where only it fails: those before it have been recorded and replayed by then."""

    class Later(FakeGpu):
        def recorder(self) -> Any:
            if self.log.count("recorder") >= 2 * before:  # of each kind, one decoding is not recorded
                self.fails = fails
            return super().recorder()

    reason = prove_graphs(Engine(models(draft=True), device=Later()))
    assert reason is not None
    assert passes in reason


def test_a_gpu_that_half_precision_breaks_for_good_is_one_sentence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(models: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    gpu = FakeGpu()
    monkeypatch.setattr(proof, "differences", fail)
    monkeypatch.setattr(gpu, "_broken", True)
    with pytest.raises(SettingsError, match=r"tried float16, .* set ASR_DTYPE=float32"):
        prove_precision(Engine(models(torch.float16), device=gpu))


def test_a_gpu_that_is_broken_for_good_is_one_sentence_that_names_the_switch() -> None:
    with pytest.raises(SettingsError, match=f"set {SWITCH}=0") as caught:
        made(FakeGpu(fails="sticky"))
    assert str(caught.value).count(".") == 1


# Half precision --------------------------------------------------------------------------------------


def test_the_weights_in_float32_are_there_one_layer_at_a_time(gpu: Device) -> None:
    half = models(torch.float16, device=gpu.torch_device)
    full = models(device=gpu.torch_device)
    features = sound_features(80, 1).to(gpu.torch_device)
    weights = half.encoder.weights.in_float32()
    rounded = Encoder(weights)(features)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, full.encoder(features), atol=0.02, rtol=0.02)
    assert weights.layers[0] is not weights.layers[1]
    first = weights.layers[0]
    assert weights.layers[0] is first
    _ = weights.layers[1]
    assert weights.layers[0] is not first  # it was let go
    decoder = Decoder(half.decoder.weights.in_float32())
    tokens = torch.tensor([[301, 5, 7]], device=gpu.torch_device)
    scores = []
    for one in (decoder, full.decoder):
        cache = one.cache(1, frames=FRAMES, slack=0, fixed=False)
        one.load_audio(rounded, cache, slice(0, 1))
        hidden = one(tokens, torch.arange(3, device=gpu.torch_device)[None], cache, slice(0, 1), reach=3)
        scores.append(one.weights.vocabulary(hidden))
    torch.testing.assert_close(scores[0], scores[1], atol=0.05, rtol=0.05)


def test_half_precision_that_overflows_is_not_used(gpu: Device, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "turnscribe"):
        engine, asked = made(gpu, torch.float16, louder=3e5)
    assert asked == [False, True]
    running = engine.running
    assert (running.dtype, running.graphs) == ("float32", True)
    assert running.reason is not None
    assert running.reason.startswith("float32, since float16 differs")
    assert len(caplog.records) == 1
    if isinstance(gpu, FakeGpu):
        assert "empty cache" in gpu.log[: gpu.log.index("recorder")]  # before the weights are read anew


def test_numbers_that_are_none_are_out_of_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "differences", lambda models: (float("nan"), 0.0))
    reason = prove_precision(Engine(models(torch.float16), device=FakeGpu()))
    assert reason is not None
    assert "nan" in reason


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: no kernel image is available\nmore"),
        RuntimeError("not found: /home/me/kernel.cu"),
        torch.OutOfMemoryError("full"),
    ],
)
def test_half_precision_that_raises_is_not_used_unless_memory_is_too_little_to_know(
    error: RuntimeError, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(models: Any) -> Any:
        raise error

    monkeypatch.setattr(proof, "differences", fail)
    reason = prove_precision(Engine(models(torch.float16), device=FakeGpu()))
    if isinstance(error, torch.OutOfMemoryError):
        assert reason is None
        assert "memory is too little" in caplog.text
    else:
        said = "CUDA error: no kernel image is available" if "CUDA" in str(error) else "RuntimeError"
        assert reason == f"float16 fails on this device ({said})"


def test_half_precision_is_well_within_its_tolerance(gpu: Device) -> None:
    with torch.inference_mode():
        differences = proof.differences(models(torch.float16, device=gpu.torch_device))
    for difference, tolerance in zip(differences, proof.TOLERANCES[torch.float16], strict=True):
        assert 0 < difference < tolerance / 3
