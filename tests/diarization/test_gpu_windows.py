"""How many windows go through a diarizer's networks at a time on a GPU, and that it changes no turn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.diarization.open_models import write_open_folder
from tests.engine.models import sound
from tools.fake_gpu import FakeGpu
from turnscribe.devices import Device
from turnscribe.diarization.diarizer import Effort, diarize, load_diarizer
from turnscribe.diarization.gpu_windows import GPU_SHARE, windows_that_fit
from turnscribe.diarization.open_diarizer import CPU_WINDOWS, GPU_WINDOWS, OpenDiarizer
from turnscribe.diarization.pyannote import BATCH_SIZE, WINDOW_BYTES, _batch_sizes
from turnscribe.listener import SILENT
from turnscribe.request import Request

pytestmark = pytest.mark.slow


def test_as_many_windows_as_fit_and_no_more_than_pay(gpu: Device) -> None:
    for bytes_each in (1e6, 20e6, 64e6, 1e12):
        found = windows_that_fit(gpu, bytes_each, fewest=8, most=200)
        assert 8 <= found <= 200
        assert found == 8 or found * bytes_each <= gpu.memory * GPU_SHARE
        assert found == 200 or (found + 1) * bytes_each > gpu.memory * GPU_SHARE
    small, large = FakeGpu(memory=16e9), FakeGpu(memory=140e9)
    assert [windows_that_fit(one, 20e6, fewest=8, most=512) for one in (small, large)] == [100, 512]


def test_pyannotes_batches_are_larger_on_a_gpu(gpu: Device) -> None:
    sizes = _batch_sizes(gpu)
    assert sizes.keys() == WINDOW_BYTES.keys()
    for name, (bytes_each, most) in WINDOW_BYTES.items():
        assert BATCH_SIZE <= sizes[name] <= most
        assert sizes[name] == windows_that_fit(gpu, bytes_each, fewest=BATCH_SIZE, most=most)
    assert set(_batch_sizes("cpu").values()) == {BATCH_SIZE}
    assert _batch_sizes(FakeGpu(memory=16e9)) == {"segmentation_batch_size": 100, "embedding_batch_size": 32}
    assert _batch_sizes(FakeGpu(memory=140e9)) == {"segmentation_batch_size": 512, "embedding_batch_size": 128}


def on_both(gpu: Device, folder: Path, effort: Effort) -> tuple[OpenDiarizer, OpenDiarizer]:
    """The same networks on a processor and on the GPU."""
    model = str(write_open_folder(folder / "open-diarizer"))
    processors, there = load_diarizer(model, effort=effort), load_diarizer(model, device=gpu, effort=effort)
    assert isinstance(processors, OpenDiarizer)
    assert isinstance(there, OpenDiarizer)
    return processors, there


def test_turns_on_a_gpu_are_those_on_a_processor(gpu: Device, tmp_path: Path) -> None:
    waveform = np.concatenate([sound(number, 5) for number in range(4)])
    processors, there = on_both(gpu, tmp_path, "exact")
    for network, fewest in CPU_WINDOWS.items():
        bytes_each, most = GPU_WINDOWS[network]
        numbers = np.arange(1000)
        sizes = {len(batch) for batch in list(there._batches(numbers, network))[:-1]}
        assert sizes <= {windows_that_fit(gpu, bytes_each, fewest=fewest, most=most)}
        assert {len(batch) for batch in list(processors._batches(numbers, network))[:-1]} == {fewest}
    request = Request(num_speakers=2)
    expected = diarize(processors, waveform, request)
    assert len({turn.speaker for turn in expected}) > 1
    assert diarize(there, waveform, request) == expected


def test_what_is_heard_once_on_a_gpu_is_nearly_that_on_a_processor(gpu: Device, tmp_path: Path) -> None:
    """Pieces of a few lengths instead of any, float32 instead of what the processor multiplies faster."""
    waveform = np.concatenate([sound(number, 5) for number in range(4)])
    processors, there = on_both(gpu, tmp_path, "fast")
    with torch.inference_mode():
        expected = processors._speech(waveform, Request(), SILENT)  # [W, F, S]
        assert expected.any()
        assert float((there._speech(waveform, Request(), SILENT) != expected).mean()) < 0.01
        voices = processors._embeddings(waveform, expected, SILENT)  # [W, S, D]
        found = there._embeddings(waveform, expected, SILENT)
    spoken = expected.any(axis=1)
    voices, found = voices[spoken], found[spoken]
    cosines = (voices * found).sum(axis=1) / np.linalg.norm(voices, axis=1) / np.linalg.norm(found, axis=1)
    print(f"cosines: {cosines.min():.3f} to {cosines.max():.3f}")
    assert cosines.min() > 0.98
    np.testing.assert_allclose(there.embed(waveform), processors.embed(waveform), atol=1e-4, rtol=1e-3)
    assert replace(there, device="cpu").device == "cpu"
