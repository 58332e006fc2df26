"""Every branch that only a GPU takes, and the test that runs it on a real one and on the stand-in.

The fixture `gpu` gives a test both. A module that asks for the kind of device, or names CUDA, has to stand here.
"""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.conftest import DEMO, REPOSITORY
from tools.fake_gpu import FakeGpu
from turnscribe import devices
from turnscribe.asr.registry import load_asr
from turnscribe.asr.whisper_loading import _weights_type
from turnscribe.cli.checks.machine import this_machine
from turnscribe.cli.evaluate import about
from turnscribe.costs import Costs, Workload
from turnscribe.devices import Device, device_of
from turnscribe.diarization.diarizer import load_diarizer
from turnscribe.pipeline import Pipeline, best_device
from turnscribe.request import Request
from turnscribe.settings import ModelSettings
from turnscribe.speech.detector import load_speech_detector
from turnscribe.speeds import Speeds

ENGINE, PROOF, SIDE_BY_SIDE = "tests.engine.test_gpu", "tests.engine.test_proof", "tests.test_side_by_side"
BRANCHES = {  # module: what a GPU does there, and the tests
    "asr/engine_backend": [("an engine that proves itself", f"{__name__}.test_a_request_on_a_gpu")],
    "asr/transformers_backend": [("memory given back", f"{__name__}.test_memory_can_be_given_back")],
    "asr/whisper_loading": [("half precision", f"{__name__}.test_weights_are_of_half_precision")],
    "cli/checks/device": [("the doctor's try", "tests.cli.test_doctor.test_a_gpu_is_tried")],
    "cli/checks/machine": [("the GPU's memory", f"{__name__}.test_the_doctor_reckons_with_the_gpus_memory")],
    "cli/doctor": [("two bytes a number", "tests.cli.test_doctor.test_on_a_gpu_a_number_has_two_bytes")],
    "cli/evaluate": [("the GPU's name", f"{__name__}.test_figures_name_the_gpu")],
    "costs": [("text beside speakers", f"{__name__}.test_text_and_speakers_are_expected_at_the_same_time")],
    "devices": [
        ("recording", f"{ENGINE}.test_a_pass_is_run_then_recorded_then_replayed"),
        (
            "a recording that fails",
            f"{ENGINE}.test_a_pass_that_asks_for_a_value_cannot_be_recorded_and_the_device_goes_on",
        ),
        ("streams", "tests.test_side_by_side.test_on_a_gpu_both_run_at_the_same_time_and_both_results_come_back"),
        ("memory", f"{__name__}.test_memory_can_be_given_back"),
    ],
    "diarization/gpu_windows": [
        ("windows by memory", "tests.diarization.test_gpu_windows.test_as_many_windows_as_fit_and_no_more_than_pay")
    ],
    "diarization/open_diarizer": [
        ("windows by memory", "tests.diarization.test_gpu_windows.test_turns_on_a_gpu_are_those_on_a_processor")
    ],
    "diarization/pyannote": [
        ("windows by memory", "tests.diarization.test_gpu_windows.test_pyannotes_batches_are_larger_on_a_gpu")
    ],
    "diarization/pyannote_fast": [
        ("whole batches", "tests.diarization.test_pyannote_fast.test_on_a_gpu_a_pass_takes_the_whole_batch")
    ],
    "diarization/segmenter": [
        (
            "whole batches",
            "tests.diarization.test_gpu_windows.test_what_is_heard_once_on_a_gpu_is_nearly_that_on_a_processor",
        )
    ],
    "diarization/pyannote_versions": [("TF32", "tests.test_diarization_utils.test_tf32_is_as_it_was_after_a_call")],
    "engine/attention": [("torch's own attention", f"{ENGINE}.test_tokens_are_those_of_generate")],
    "engine/beams": [("beams moved unasked", f"{ENGINE}.test_beams_are_those_of_a_processor")],
    "engine/cache": [
        (
            "beams moved unasked",
            f"{ENGINE}.test_beams_are_reordered_alike_whether_or_not_it_is_asked_which_change",
        )
    ],
    "engine/decode": [
        ("CHECK_EVERY", f"{ENGINE}.test_ends_are_looked_for_every_few_steps"),
        ("REFILL_SHARE", f"{ENGINE}.test_new_windows_are_encoded_when_a_quarter_of_the_rows_is_free"),
    ],
    "engine/draft_length": [("ROWS_FOR_FREE", f"{ENGINE}.test_tokens_are_nearly_free_to_check_so_more_are_drafted")],
    "engine/engine": [
        (
            "ENCODE_AT_ONCE, a kept batch",
            f"{ENGINE}.test_a_batch_is_kept_with_what_it_recorded_and_memory_is_given_back_after_an_error",
        ),
        ("the switch", f"{PROOF}.test_the_switch_leaves_graphs_out"),
    ],
    "engine/graphs": [
        ("replay", f"{ENGINE}.test_a_pass_is_run_then_recorded_then_replayed"),
        (
            "buckets",
            f"{ENGINE}.test_passes_are_recorded_by_bucket_and_rows_that_are_free_stay_as_they_are",
        ),
        ("temperature", f"{ENGINE}.test_rows_with_a_temperature_are_drawn_without_recorded_passes"),
    ],
    "engine/linear": [("products that are not packed", f"{ENGINE}.test_tokens_are_those_of_generate")],
    "engine/proof": [
        ("what is right", f"{PROOF}.test_what_is_right_is_used"),
        ("what overflows", f"{PROOF}.test_half_precision_that_overflows_is_not_used"),
    ],
    "engine/weights": [("no bfloat16 beside other types", f"{ENGINE}.test_tokens_are_those_of_generate")],
    "pipeline": [("the GPU is chosen", f"{__name__}.test_the_gpu_is_chosen_where_there_is_one")],
    "side_by_side": [
        (
            "both stages at once",
            "tests.test_side_by_side.test_on_a_gpu_both_run_at_the_same_time_and_both_results_come_back",
        )
    ],
    "speech/detector": [("one pass", f"{__name__}.test_the_speech_detector_hears_the_same")],
}
ASKS = re.compile(r"""["'(.]cuda\b|device_of\(|device\.(kind|type|memory)\b""")
ASKS_NOT_OF_A_GPU = {"asr/registry", "diarization/diarizer", "serving/devices/choice"}  # they pass the name on


def test_every_branch_has_its_tests() -> None:
    package = REPOSITORY / "turnscribe"
    asking = {
        str(file.relative_to(package).with_suffix(""))
        for file in package.rglob("*.py")
        if ASKS.search(file.read_text())
    }
    assert asking - ASKS_NOT_OF_A_GPU == set(BRANCHES)
    for tests in BRANCHES.values():
        for _, name in tests:
            module, _, function = name.rpartition(".")
            test = getattr(importlib.import_module(module), function)
            assert "gpu" in inspect.signature(test).parameters, f"{name} runs on no GPU"


def test_torch_cuda_is_called_in_one_place() -> None:
    """Whether there is a GPU is asked where the device is chosen."""
    package = REPOSITORY / "turnscribe"
    calls = {
        (str(file.relative_to(package)), call)
        for file in package.rglob("*.py")
        for call in re.findall(r"\btorch\.cuda\.(\w+)", file.read_text())
    }
    assert {file for file, call in calls if call != "is_available"} == {"devices.py"}


# What has no file of tests of its own ----------------------------------------------------------------


def test_text_and_speakers_are_expected_at_the_same_time(gpu: Any) -> None:
    """And one after the other on a processor, which has one set of cores for both."""

    def planned(device: Any) -> list[set[str]]:
        steps: list[set[str]] = []
        settings = ModelSettings(asr_model="any", diarization_model="open")
        costs = Costs(settings, SimpleNamespace(), device, Speeds(), open=True)
        stages = SimpleNamespace(plan=lambda *given: steps.extend(map(set, given)))
        Workload(costs, stages, Request(), diarizing=True).plan(100.0)
        return steps

    assert planned(gpu) == [{"decode"}, {"speech"}, {"asr", "diarization"}]
    assert planned("cpu") == [{"decode"}, {"speech"}, {"asr"}, {"diarization"}]


def test_a_device_is_known_by_its_name_or_by_a_tensors() -> None:
    for given in ("cuda", "cuda:1", torch.device("cuda:1")):
        found = device_of(given)
        assert (found.kind, found.torch_device) == ("cuda", torch.device(given))
        assert device_of(found) is found
    processor = device_of("cpu")
    assert (processor.kind, processor.name) == ("cpu", "cpu")
    for ask in (processor.recorder, lambda: processor.memory, lambda: processor.free_memory):
        with pytest.raises(NotImplementedError):
            ask()
    with processor.own_stream():
        processor.empty_cache()
        processor.check()


def test_the_seam_costs_no_import_of_torch() -> None:
    code = "import sys, turnscribe.devices, turnscribe.side_by_side; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=60)


def test_memory_can_be_given_back(gpu: Device) -> None:
    assert 0 < gpu.free_memory <= gpu.memory
    gpu.empty_cache()
    gpu.check()
    assert gpu.name


def test_weights_are_of_half_precision(gpu: Device) -> None:
    assert _weights_type("auto", gpu) == torch.float16
    assert _weights_type("auto", "cpu") == torch.float32
    assert _weights_type("bfloat16", gpu) == torch.bfloat16


def test_the_doctor_reckons_with_the_gpus_memory(gpu: Device) -> None:
    machine = this_machine(gpu)
    assert (machine.device, machine.name) == ("cuda", gpu.name)
    assert 0 < machine.memory <= gpu.memory


def test_the_gpu_is_chosen_where_there_is_one(gpu: Device) -> None:
    """The stand-in is nothing that torch knows of."""
    there = not isinstance(gpu, FakeGpu) or torch.cuda.is_available()
    assert best_device() == ("cuda" if there else "cpu")


def test_figures_name_the_gpu(gpu: Device) -> None:
    from tests.fakes import FakePipeline

    pipeline: Any = FakePipeline()
    assert about(pipeline, {}, [])["machine"]["device"] == "cpu"
    pipeline.device = gpu
    assert about(pipeline, {}, [])["machine"]["device"] == f"cuda ({gpu.name})"


def test_the_speech_detector_hears_the_same(gpu: Device, conversation_waveform: Any) -> None:
    processors, there = load_speech_detector(), load_speech_detector(gpu)
    assert processors.network.at_once is not None
    assert there.network.at_once is None
    expected = processors.probabilities(conversation_waveform)
    torch.testing.assert_close(there.probabilities(conversation_waveform), expected, atol=1e-3, rtol=0)


@pytest.mark.models
def test_a_request_on_a_gpu(gpu: Device, speech: bytes) -> None:
    """The whole pipeline, in float32: text, speakers and words are a processor's."""
    from config import ModelSettings

    settings = ModelSettings(**DEMO)
    request = Request(diarize=True)
    transcripts = []
    for device in (device_of("cpu"), gpu):
        asr = load_asr(
            settings.asr_model, assistant=settings.assistant_model, device=device, dtype="float32", root=REPOSITORY
        )
        diarizer = load_diarizer(settings.diarization_model or "", device=device, root=REPOSITORY)
        pipeline = Pipeline(settings, asr, diarizer, device=device)
        assert pipeline.running is not None
        assert pipeline.running.graphs == (device is gpu)
        assert pipeline.running.reason is None
        transcripts.append([pipeline.transcribe(speech, one) for one in (request, _assisted(request))])
    for expected, found in zip(*transcripts, strict=True):
        assert found.text == expected.text
        assert [(chunk.speaker, chunk.start) for chunk in found.chunks] == [
            (chunk.speaker, chunk.start) for chunk in expected.chunks
        ]
    if isinstance(gpu, FakeGpu):
        assert gpu.log.count("stream") == 2
        assert gpu.log.count("replay") > 20


def _assisted(request: Request) -> Request:
    return replace(request, decoding=replace(request.decoding, assisted=True))


def test_the_stand_in_is_all_that_a_device_is() -> None:
    """A stand-in that lacks something, or has it otherwise, would let a branch pass that a GPU does not."""
    for name in vars(devices.Device):
        if not name.startswith("_"):
            assert hasattr(FakeGpu(), name), name
            assert hasattr(devices.Cuda(torch.device("cuda")).__class__, name) or name == "torch_device", name
