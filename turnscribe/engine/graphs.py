"""Passes recorded once and replayed without Python in between: CUDA graphs.

A step of a small decoder is hundreds of short kernels, and launching them takes longer than running them. What is
recorded must use the same memory every time and must not ask the device for a value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable

import torch

from turnscribe.devices import Device, Replay, device_of

SWITCH = "TURNSCRIBE_CUDA_GRAPHS"  # 0 turns them off


class Graphs:
    """Runs passes by key: as they are the first time, recorded the second, replayed from then on."""

    def __init__(self, device: torch.device | Device, *, allowed: bool = True) -> None:
        self.device = device_of(device)
        self.enabled = allowed and self.device.kind == "cuda" and not switched_off()
        self._seen: set[Hashable] = set()
        self._recorded: dict[Hashable, Replay] = {}
        self._recorder = self.device.recorder() if self.enabled else None

    @property
    def recorded(self) -> set[Hashable]:
        """The keys of what is replayed."""
        return set(self._recorded)

    def run(self, key: Hashable, run_pass: Callable[[], None]) -> None:
        """Do `run_pass`, which leaves its results in tensors that stay. What has one key does the same every time."""
        if not self.enabled:
            run_pass()
        elif key in self._recorded:
            self._recorded[key]()
        elif key not in self._seen:  # the first run lets libraries set themselves up
            self._seen.add(key)
            run_pass()
        else:
            self._recorded[key] = self._record(run_pass)
            self._recorded[key]()

    def _record(self, run_pass: Callable[[], None]) -> Replay:
        assert self._recorder is not None
        try:
            return self._recorder.record(run_pass)
        except RuntimeError as error:
            for cause in (error, error.__context__):
                if isinstance(cause, torch.OutOfMemoryError):
                    raise cause from None
            raise RuntimeError(f"a CUDA graph could not be recorded; {SWITCH}=0 does without") from error


class Unrecorded(Graphs):
    """Every pass as it is, of the shapes that would be recorded: the slow twin."""

    def run(self, key: Hashable, run_pass: Callable[[], None]) -> None:
        run_pass()


def switched_off() -> bool:
    """Whether the operator wants none."""
    return os.environ.get(SWITCH, "1") == "0"
