"""A GPU for machines without one: the processor computes, and all else is done as a GPU would, and written down.

Recording and replay are not pretended. While a pass is recorded its operations are kept with the tensors they read
and write, and what they changed is put back; a replay runs those operations on those tensors, without the pass's
Python. So a pass that reads a Python value, makes a tensor anew that should stay, or asks for a value goes wrong here
as on a GPU, and what it leaves in tensors of its own is spoilt after each replay, as memory that graphs share is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from turnscribe.devices import Replay

ASKS_FOR_A_VALUE = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique")


class FakeGpu:
    """A `Device` on the processor.

    `fails` makes one thing go wrong. "record" and "replay" raise, "sticky" raises in a replay and ever after, "replay
    wrongly" leaves caches as they are, "replay nothing" does nothing, "memory" is out of memory the first `times`
    that something is recorded.
    """

    kind, name = "cuda", "fake GPU"

    def __init__(self, *, memory: float = 16e9, fails: str | None = None, times: int = 10**9) -> None:
        self.torch_device = torch.device("cpu")
        self.memory = self.free_memory = int(memory)
        self.fails, self.times = fails, times
        self.log: list[str] = []  # what was asked of it, in order
        self.streams: dict[str, str] = {}  # names of threads and of the streams they are on
        self._broken = False

    def recorder(self) -> FakeRecorder:
        self.log.append("recorder")
        return FakeRecorder(self)

    @contextmanager
    def own_stream(self) -> Iterator[None]:
        name = threading.current_thread().name
        self.log.append("stream")
        self.streams[name] = f"stream {len(self.streams) + 1}"
        yield

    def empty_cache(self) -> None:
        self.log.append("empty cache")

    def check(self) -> None:
        self.log.append("check")
        if self._broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def replayed(self) -> None:
        """A replay begins."""
        self.log.append("replay")
        self._broken |= self.fails == "sticky"
        if self.fails == "replay" or self._broken:
            raise RuntimeError("CUDA error: operation failed")


class FakeRecorder:
    """A `Recorder` of operations."""

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu

    def record(self, run_pass: Callable[[], None]) -> Replay:
        gpu = self._gpu
        gpu.log.append("record")
        if gpu.fails == "record":
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        if gpu.fails == "memory" and gpu.log.count("record") <= gpu.times:
            raise torch.OutOfMemoryError("CUDA out of memory")
        tape = _Tape()
        try:
            with tape:
                run_pass()
        finally:
            tape.put_back()
        return lambda: self._replay(tape)

    def _replay(self, tape: _Tape) -> None:
        self._gpu.replayed()
        if self._gpu.fails == "replay nothing":
            return
        tape.replay(forgetful=self._gpu.fails == "replay wrongly")


class _Tape(TorchDispatchMode):
    """Operations, with the tensors they were done on."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor], list[Tensor]]] = []
        self._own: set[int] = set()  # storages made while recording
        self._before: list[tuple[Tensor, Tensor]] = []  # what was there before, and copies of it

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        _refuse_questions(func, args)
        written = _written(func, args, kwargs)
        for tensor in written:
            if _storage(tensor) not in self._own:
                self._before.append((tensor, tensor.clone()))
        result = func(*args, **kwargs)
        given = {_storage(one) for one in _tensors((args, kwargs))}
        made = [one for one in _tensors(result) if _storage(one) not in given]
        self._own |= {_storage(one) for one in made}
        if made or written:  # all else is a view of what is there
            self.operations.append((func, args, kwargs, made, written))
        return result

    def put_back(self) -> None:
        """What was there before recording is as it was: nothing has been run."""
        for tensor, copy in reversed(self._before):
            tensor.copy_(copy)
        self._before.clear()

    def replay(self, *, forgetful: bool = False) -> None:
        """Run the operations; the `forgetful` leave out what is written to caches."""
        for func, args, kwargs, made, written in self.operations:
            if forgetful and any(one.dim() >= 3 and one.is_floating_point() for one in written):
                continue
            result = func(*args, **kwargs)
            given = {_storage(one) for one in _tensors((args, kwargs))}
            fresh = [one for one in _tensors(result) if _storage(one) not in given]
            for kept, new in zip(made, fresh, strict=True):
                kept.copy_(new)
        for *_, made, _ in self.operations:
            for tensor in made:
                tensor.fill_(torch.nan if tensor.is_floating_point() else 1)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _storage(tensor: Tensor) -> int:
    """Which memory a tensor lies in; one of oneDNN's own layout is itself."""
    return id(tensor) if tensor.layout != torch.strided else tensor.untyped_storage()._cdata


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The arguments that an operation writes to."""
    written: list[Tensor] = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            written += _tensors(value)
    return written


def _refuse_questions(func: Any, args: tuple[Any, ...]) -> None:
    """On a GPU the processor would have to wait for the answer, which it cannot while it records."""
    name = func._schema.name.removeprefix("aten::")
    by_mask = name.startswith("index") and any(one.dtype == torch.bool for one in _tensors(args[1:2]))
    if name in ASKS_FOR_A_VALUE or by_mask:
        raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({name})")
