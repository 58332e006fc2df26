"""CUDA graphs: a pass recorded once and replayed without Python in between.

A step of a small decoder is hundreds of short kernels, and launching them takes longer than running them. What is
recorded must use the same memory every time and must not ask the device for a value.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import Any

import torch

SWITCH = "TURNSCRIBE_CUDA_GRAPHS"  # 0 turns them off


class Graphs:
    """Runs passes by key: as they are the first time, recorded the second, replayed from then on."""

    def __init__(self, device: torch.device) -> None:
        self.enabled = device.type == "cuda" and os.environ.get(SWITCH, "1") != "0"
        self._seen: set[Hashable] = set()
        self._recorded: dict[Hashable, Any] = {}
        self._pool: Any = None

    def run(self, key: Hashable, run_pass: Callable[[], None]) -> None:
        """Do `run_pass`, which leaves its results in tensors that stay. What has one key does the same every time."""
        if not self.enabled:
            run_pass()
        elif key in self._recorded:
            self._recorded[key].replay()
        elif key not in self._seen:  # the first run lets libraries set themselves up
            self._seen.add(key)
            run_pass()
        else:
            self._recorded[key] = self._record(run_pass)
            self._recorded[key].replay()

    def _record(self, run_pass: Callable[[], None]) -> Any:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        torch.cuda.current_blas_handle()  # each thread has its own, and it cannot be made while recording
        try:
            # what another thread does meanwhile (diarization) is its own affair
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                run_pass()
        except RuntimeError as error:
            torch.cuda.set_stream(stream)  # where its end fails, torch leaves the recording's
            for cause in (error, error.__context__):
                if isinstance(cause, torch.OutOfMemoryError):
                    raise cause from None
            raise RuntimeError(f"a CUDA graph could not be recorded; {SWITCH}=0 does without") from error
        self._pool = self._pool or graph.pool()
        return graph
