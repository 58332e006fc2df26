"""What a GPU has that a processor has not: recorded passes, streams, memory of its own.

The one place that calls `torch.cuda`. Whoever decides by the kind of device or needs one of these asks a `Device`;
the tests' is `tools/fake_gpu.py`, which computes on the processor and does all the rest as a GPU would.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch

Replay: TypeAlias = Callable[[], None]


@dataclass(frozen=True)
class Running:
    """How a backend runs, for whoever operates it."""

    device: str
    dtype: str  # of the weights
    graphs: bool  # whether passes are recorded and replayed
    reason: str | None = None  # why not all that is fast on such a device is used


class Recorder(Protocol):
    """Records passes that share memory for what they compute in between."""

    def record(self, run_pass: Callable[[], None]) -> Replay:
        """Record `run_pass` without running it. What is returned runs it on the same tensors, without Python.

        Raises `RuntimeError` where it cannot be recorded, as where the pass asks the device for a value.
        """


class Device(Protocol):
    """Where networks run."""

    @property
    def kind(self) -> str:
        """ "cuda" or "cpu": whose constants count."""

    @property
    def torch_device(self) -> torch.device:
        """Where tensors go."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def memory(self) -> int:
        """Bytes in all. Only where the device has a memory of its own."""

    @property
    def free_memory(self) -> int:
        """Bytes that nobody has. Only where the device has a memory of its own."""

    def recorder(self) -> Recorder:
        """Only where passes can be recorded."""

    def own_stream(self) -> AbstractContextManager[Any]:
        """What is computed in this context is queued beside what others compute."""

    def empty_cache(self) -> None:
        """Give back memory that is held for the next who asks."""

    def check(self) -> None:
        """Raises `RuntimeError` where nothing can be computed in this process any more."""


def device_of(device: str | torch.device | Device) -> Device:
    """The device of a name, such as "cuda:1", or of a tensor."""
    import torch

    if not isinstance(device, str | torch.device):
        return device
    found = torch.device(device)
    return Cuda(found) if found.type == "cuda" else Processor(found)


def gpu_count() -> int:
    """How many GPUs this process is shown."""
    import torch

    return torch.cuda.device_count()


def gpu_works() -> bool:
    """Whether CUDA still does what this process asks of it; true where it has asked nothing yet."""
    torch = sys.modules.get("torch")
    try:
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


class Processor:
    """A CPU, or whatever else torch computes on: nothing is queued, nothing recorded."""

    def __init__(self, device: torch.device) -> None:
        self.torch_device, self.kind, self.name = device, device.type, str(device)

    @property
    def memory(self) -> int:
        raise NotImplementedError("a processor has no memory of its own")

    free_memory = memory

    def recorder(self) -> Recorder:
        raise NotImplementedError("a processor's passes are not recorded")

    def own_stream(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def empty_cache(self) -> None:
        pass

    def check(self) -> None:
        pass


class Cuda:
    """A GPU."""

    kind = "cuda"

    def __init__(self, device: torch.device) -> None:
        self.torch_device = device

    @property
    def name(self) -> str:
        import torch

        return torch.cuda.get_device_name(self.torch_device)

    @property
    def memory(self) -> int:
        import torch

        return int(torch.cuda.get_device_properties(self.torch_device).total_memory)

    @property
    def free_memory(self) -> int:
        import torch

        return int(torch.cuda.mem_get_info(self.torch_device)[0])

    def recorder(self) -> Recorder:
        return _CudaGraphs()

    def own_stream(self) -> AbstractContextManager[Any]:
        import torch

        return torch.cuda.stream(torch.cuda.Stream(self.torch_device))

    def empty_cache(self) -> None:
        import torch

        torch.cuda.empty_cache()

    def check(self) -> None:
        import torch

        int(torch.ones(2, device=self.torch_device).sum())  # waits until it is computed


class _CudaGraphs:
    """CUDA graphs of one memory pool."""

    def __init__(self) -> None:
        self._pool: Any = None

    def record(self, run_pass: Callable[[], None]) -> Replay:
        import torch

        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        torch.cuda.current_blas_handle()  # each thread has its own, and it cannot be made while recording
        try:
            # what another thread does meanwhile (diarization) is its own affair
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                run_pass()
        except RuntimeError:
            torch.cuda.set_stream(stream)  # where its end fails, torch leaves the recording's
            raise
        self._pool = self._pool or graph.pool()
        replay: Replay = graph.replay
        return replay
