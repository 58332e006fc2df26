"""PyanNet over a whole recording: what overlapping windows have in common is computed once.

A window of 10 s begins every second, so each second passes the network ten times. But the filters at its front, half
of the work, know nothing of the window. What makes a window's values its own is its loudness: the waveform is brought
to one mean and deviation first. That is a scale and a shift, and both can follow the filters, since the filters are
linear: filter(s x + t) = s filter(x) + t sum(filter). The magnitude and the maximum of three that come next need
no more than the highest and the lowest of the three: max |s x + t| = max(s highest + t, -(s lowest + t)) for s >= 0.
Which three depends on where the window begins; every third window's are the same.

So the filters run once over the recording, and each window goes on from there. The outputs are those of `PyanNet`,
its slow twin, to the rounding of float32. On a CPU that multiplies bfloat16, the convolutions behind the filters are
in bfloat16, by which the number of speakers changes in 0.04 % of the frames. The LSTM is not: it would be twice as
fast, and the number would change in 0.3 % of the frames, which moved error rates of short recordings by a point.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from turnscribe.diarization.precision import fast_type
from turnscribe.diarization.pyannet import KERNEL, POOL, PyanNet
from turnscribe.listener import SILENT, Listener
from turnscribe.threads import follow_load
from turnscribe.waveform import SAMPLE_RATE, Waveform

CPU_WINDOWS = 8  # a pass: CPU time of a window in the LSTM 18.6 ms by 8, 23.6 by 32


class Segmenter:
    """`network` on the device where it lies; windows of `length` samples, one each `hop` samples.

    The hop is a multiple of the filters' stride (10 samples). `batch` windows pass the LSTM together.
    """

    def __init__(self, network: PyanNet, length: int, hop: int, *, batch: int) -> None:
        assert hop % network.dims.stride == 0
        self.network, self.length, self.hop, self.batch = network, length, hop, batch
        self.device = network.sinc.device
        self._dtype = fast_type(self.device)
        self._sums = network.sinc.sum(dim=2)[None]  # [1, filters, 1]
        self._convolutions = copy.deepcopy(network.convolutions).to(self._dtype)

    def count(self, samples: int) -> int:
        """Windows that cover so many samples; the last one may reach past the end."""
        return 1 + max(-(-(samples - self.length) // self.hop), 0)

    def speech(
        self,
        waveform: Waveform,
        listener: Listener = SILENT,
        stretches: Sequence[tuple[float, float]] | None = None,
    ) -> NDArray[np.float32]:
        """Who speaks in each window `[W, F, S]`, zeros and ones; after the recording's end there are zeros.

        Windows that touch none of the `stretches` (start and end in seconds), where those are given, are not heard:
        nobody speaks in them. Raises `Cancelled`.
        """
        count = self.count(len(waveform))
        heard = np.arange(count) if stretches is None else self._touching(stretches, count)
        speech = np.zeros((count, self.network.frames_of(self.length), self.network.dims.speakers), np.float32)
        members: Tensor = self.network.get_buffer("members")
        done = 0
        for windows, classes in self._classes(waveform, heard, listener):
            speech[windows] = members[classes.argmax(dim=-1)].cpu().numpy()
            done += len(windows)
            listener.on_progress(done / len(heard))
        return speech

    def classes(self, waveform: Waveform) -> Tensor:
        """The logarithms of the classes' probabilities in each window, `[W, F, classes]`, as `PyanNet` has them."""
        every = np.arange(self.count(len(waveform)))
        return torch.cat([classes for _, classes in self._classes(waveform, every, SILENT)])

    def _touching(self, stretches: Sequence[tuple[float, float]], count: int) -> NDArray[np.int64]:
        """Those of `count` windows in which somebody may speak."""
        touching = np.zeros(count, bool)
        for start, end in stretches:
            first = math.floor((start * SAMPLE_RATE - self.length) / self.hop) + 1
            last = math.ceil(end * SAMPLE_RATE / self.hop)
            touching[max(first, 0) : last] = True
        return np.flatnonzero(touching)

    def _classes(
        self, waveform: Waveform, heard: NDArray[np.int64], listener: Listener
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Windows in order, some at a time, and their classes."""
        recording = _Filtered(self, waveform)
        at_once = 1 if self.device.type == "cpu" else self.batch  # before the LSTM: one window's values fit caches
        for first in range(0, len(heard), self.batch):
            listener.stop_if_asked()
            follow_load()
            some = heard[first : first + self.batch].tolist()
            x = [
                self._convolved(*recording.windows(some[one : one + at_once])) for one in range(0, len(some), at_once)
            ]
            states, _ = self.network.lstm(torch.cat(x))  # [B, F, 2 hidden]
            yield heard[first : first + self.batch], self.network.classify(states)

    def _convolved(self, highest: Tensor, lowest: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """What the LSTM hears `[B, F, channels]`; scale and shift `[B, 1, 1]` are the loudness's of each window."""
        shift = shift * self._sums  # [B, filters, 1]
        # the greatest magnitude is at either end, whatever the sign of the scale
        x = torch.maximum(torch.addcmul(shift, highest, scale).abs_(), torch.addcmul(shift, lowest, scale).abs_())
        norms = self.network.norms
        for convolution, norm in zip(self._convolutions, norms, strict=False):
            x = F.max_pool1d(convolution(_normalised(x, norm).to(self._dtype)), POOL)
        return _normalised(x, norms[-1]).transpose(1, 2)


def _normalised(x: Tensor, norm: nn.InstanceNorm1d) -> Tensor:
    """An instance norm and the rectifier behind it, of `[B, C, T]`, in float32."""
    x = x.float()
    variance, mean = torch.var_mean(x, dim=2, correction=0, keepdim=True)
    scale = norm.weight[:, None] / (variance + norm.eps).sqrt()
    return F.leaky_relu_(torch.addcmul(norm.bias[:, None] - mean * scale, x, scale))


class _Filtered:
    """A recording behind the filters, a hop at a time; what no later window needs is let go."""

    def __init__(self, segmenter: Segmenter, waveform: Waveform) -> None:
        self.segmenter, self.waveform = segmenter, waveform
        stride = segmenter.network.dims.stride
        values = segmenter.hop // stride  # of a hop
        self._hops = POOL // math.gcd(values, POOL)  # whose values are whole threes: those of a block
        self._maxima = ((segmenter.length - KERNEL) // stride + 1) // POOL  # of a window
        self._blocks = -(-self._maxima * POOL // (values * self._hops))  # of a window
        self._values: dict[int, Tensor] = {}
        self._pooled: dict[int, tuple[Tensor, Tensor]] = {}

    def windows(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Highest and lowest `[B, filters, maxima]`, scale and shift of the loudness `[B, 1, 1]`.

        The numbers grow from call to call.
        """
        for kept in (self._values, self._pooled):
            for old in [hop for hop in kept if hop < numbers[0]]:
                del kept[old]  # type: ignore[attr-defined]
        parts = [
            [self._block(number + k * self._hops) for k in range(self._blocks)] for number in numbers
        ]  # [B, blocks] pairs
        highest, lowest = (
            torch.stack([torch.cat([pair[which] for pair in own], dim=1)[:, : self._maxima] for own in parts])
            for which in range(2)
        )
        return highest, lowest, *self._loudness(numbers)

    def _block(self, hop: int) -> tuple[Tensor, Tensor]:
        """The highest and the lowest of each three values, `[filters, maxima]` each, from a hop on."""
        if hop not in self._pooled:
            values = torch.cat([self._filtered(hop + k) for k in range(self._hops)], dim=1)
            self._pooled[hop] = F.max_pool1d(values, POOL), F.max_pool1d(values.neg_(), POOL).neg_()
        return self._pooled[hop]

    def _filtered(self, hop: int) -> Tensor:
        """What the filters make of a hop, `[filters, values]`."""
        if hop not in self._values:
            network, samples = self.segmenter.network, self.segmenter.hop
            beyond = KERNEL - network.dims.stride  # samples of the next hop that the last value hears
            heard = self._samples(hop * samples, samples + beyond)
            self._values[hop] = F.conv1d(heard[None, None], network.sinc, stride=network.dims.stride)[0]
        return self._values[hop]

    def _loudness(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What the loudness norm does to each window's samples."""
        norm, length = self.segmenter.network.loudness, self.segmenter.length
        each = torch.stack([self._samples(number * self.segmenter.hop, length) for number in numbers])
        variance, mean = torch.var_mean(each, dim=1, correction=0, keepdim=True)
        scale = norm.weight / (variance + norm.eps).sqrt()  # [B, 1]
        return scale[:, :, None], (norm.bias - scale * mean)[:, :, None]

    def _samples(self, start: int, length: int) -> Tensor:
        """`[length]` on the network's device, zeros after the end."""
        piece = torch.from_numpy(np.ascontiguousarray(self.waveform[start : start + length], np.float32))
        return F.pad(piece.to(self.segmenter.device), (0, length - len(piece)))
