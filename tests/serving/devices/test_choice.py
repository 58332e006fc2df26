"""Which devices serve, and what their processes see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from turnscribe.errors import SettingsError
from turnscribe.serving.devices import choice
from turnscribe.serving.devices.choice import chosen_devices, environment_of
from turnscribe.settings import ServerSettings, load_settings


def test_devices_are_taken_as_they_are_named() -> None:
    assert chosen_devices("cuda:1, cuda:0") == ("cuda:1", "cuda:0")
    assert chosen_devices("cpu") == ("cpu",)


@pytest.mark.parametrize(("gpus", "wanted"), [(0, ()), (1, ()), (3, ("cuda:0", "cuda:1", "cuda:2"))])
def test_by_default_several_gpus_have_a_process_each_and_one_has_none(
    gpus: int, wanted: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(choice, "DRIVERS", (tmp_path,))
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    assert chosen_devices("auto") == wanted


def test_without_a_driver_torch_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(choice, "DRIVERS", (tmp_path / "none",))
    monkeypatch.setattr("torch.cuda.device_count", lambda: pytest.fail("torch was asked"))
    assert chosen_devices("auto") == ()


def test_a_process_sees_its_gpu_alone() -> None:
    names = ("cuda:0", "cuda:1")
    assert [environment_of(name, names, {})["CUDA_VISIBLE_DEVICES"] for name in names] == ["0", "1"]
    shown = {"CUDA_VISIBLE_DEVICES": "GPU-a, GPU-b"}  # those that this process itself is shown
    assert [environment_of(name, names, shown)["CUDA_VISIBLE_DEVICES"] for name in names] == ["GPU-a", "GPU-b"]
    assert environment_of("cpu", ("cpu",), shown)["CUDA_VISIBLE_DEVICES"] == ""
    with pytest.raises(SettingsError, match="DEVICES names cuda:2, and CUDA_VISIBLE_DEVICES shows 2 GPUs"):
        environment_of("cuda:2", ("cuda:2",), shown)


def test_processes_share_the_threads_unless_somebody_says_how_many() -> None:
    cores = len(os.sched_getaffinity(0))
    assert environment_of("cpu", ("cpu",), {})["OMP_NUM_THREADS"] == str(cores)
    assert environment_of("cpu", ("cpu",) * 2 * cores, {})["OMP_NUM_THREADS"] == "1"
    assert environment_of("cpu", ("cpu",), {"OMP_NUM_THREADS": "7"})["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize("devices", ["", "cuda", "gpu:0", "cuda:0,", "cuda:0;cuda:1", "cpu:0", "auto,cpu"])
def test_devices_that_are_none_are_refused(devices: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        SettingsError, match=r"^DEVICES is wrong: devices are auto, or such as cuda:0,cuda:1 or cpu\.$"
    ):
        load_settings(ServerSettings, devices=devices)


def test_what_is_said_of_one_device_is_for_all_together() -> None:
    settings = ServerSettings(max_concurrent_requests=3, max_concurrent_jobs=1, max_queued_requests=5)
    all_of_them = settings.for_devices(4)
    assert (all_of_them.max_concurrent_requests, all_of_them.max_concurrent_jobs) == (12, 4)
    assert all_of_them.max_queued_requests == 5
    assert ServerSettings().devices == "auto"
