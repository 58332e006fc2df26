"""Which devices there are to serve from, and what each one's process sees of them.

A process is shown its GPU alone, by `CUDA_VISIBLE_DEVICES`, and calls it `cuda` as any other program does. The
alternative, an index that goes with every tensor, stream and graph, would have to be right in all code that says
`cuda`, that of pyannote and torch too, and each process would also take half a gigabyte of the first GPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from turnscribe.devices import gpu_count
from turnscribe.errors import SettingsError
from turnscribe.threads import cores

AUTO = "auto"
DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))  # Nvidia's, AMD's
VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = "OMP_NUM_THREADS"


def chosen_devices(setting: str) -> tuple[str, ...]:
    """The devices of `DEVICES`, such as `("cuda:0", "cuda:1")`; none where the server's own process runs the models.

    With `auto` that is where there are fewer than two GPUs. Raises `SettingsError` where recordings cannot be handed
    to another process, which only Linux can.
    """
    if setting != AUTO:
        if not hasattr(os, "memfd_create"):
            raise SettingsError("DEVICES needs Linux: leave it out, and the server's own process has the models.")
        return tuple(name.strip() for name in setting.split(","))
    if not any(driver.exists() for driver in DRIVERS):
        return ()  # without importing torch: the server answers the sooner
    count = gpu_count()
    return tuple(f"cuda:{index}" for index in range(count)) if count > 1 else ()


def environment_of(device: str, devices: Sequence[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of the process for one of the `devices`.

    It sees the one GPU, or none, finds the modules that this process finds, and has its share of the processor's
    threads unless `OMP_NUM_THREADS` says how many. Raises `SettingsError` where there is no such GPU.
    """
    environment = {**environ, VISIBLE: _visible(device, environ.get(VISIBLE))}
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    if not environment.get(THREADS):
        environment[THREADS] = str(max(cores() // len(devices), 1))
    return environment


def _visible(device: str, visible: str | None) -> str:
    """The GPU's name for the driver: its place among those that this process is shown.

    >>> _visible("cuda:1", None), _visible("cuda:1", "5,7"), _visible("cpu", "5,7")
    ('1', '7', '')
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return ""
    if visible is None:
        return index
    shown = [name.strip() for name in visible.split(",") if name.strip()]
    if int(index) >= len(shown):
        raise SettingsError(f"DEVICES names {device}, and {VISIBLE} shows {len(shown)} GPUs: name others.")
    return shown[int(index)]
