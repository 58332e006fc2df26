"""The voices of overlapping windows, each second of audio heard once.

An embedding network is a trunk, which makes frames of audio, and a head: mean and deviation of a speaker's frames,
then one linear layer. The exact way passes each window through the trunk, and windows of 10 s, one a second, hear
each second ten times. Here the trunk hears pieces that do not overlap, and the head takes each window's speakers from
the pieces' frames. What no window takes for speech is in no piece, and frames are let go once no later window needs
them: memory does not grow with the recording's length beyond the windows' own.

There are two ways to cut pieces (`Trunk.hears_one`):

- `own_pieces`: one for each speaker of every tenth window, of that speaker's frames alone. So does CAM++ want it,
  whose masks and mean of the features would otherwise know the other voices too.
- `whole_pieces`: up to 10 s in which anybody speaks, with half a second more at either end. That is nearest to
  pyannote's way with its own networks, which hear windows whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from turnscribe.diarization.frames import Frames
from turnscribe.listener import Listener
from turnscribe.threads import follow_load
from turnscribe.waveform import SAMPLE_RATE, Waveform

LONGEST = 10.0  # seconds of a whole piece
CONTEXT = 0.5  # seconds that it hears more at either end
BRIDGED = 1.0  # seconds without speech that part no whole pieces, as each would hear that much more
FEWEST = 10  # frames of a piece and of a voice; of fewer the frames are repeated, and a voice takes the nearest
CHUNK = 4  # batches of pieces, of which those of one length share a pass


class Trunk(Protocol):
    """An embedding network in its two parts. Frame k begins at sample `k * step` and listens around its `middle`."""

    step: int  # samples from a frame to the next
    length: int  # samples of all features of a frame
    middle: float  # samples from a frame's start to where it listens
    rate: int  # features of a frame
    hears_one: bool  # piece by piece one speaker alone, or whoever speaks
    dimension: int
    device: torch.device

    def features(self, waveform: Tensor) -> Tensor:
        """A waveform `[samples]` to features `[T, mel bins]`: `rate` for each `step` that has `length` samples."""

    def frames(self, features: Tensor) -> Tensor:
        """Features `[B, T * rate, mel bins]` to frames `[B, T, C]`."""

    def embed(self, statistics: Tensor) -> Tensor:
        """Mean and standard deviation `[N, 2 C]` in float32 to embeddings `[N, D]`."""


@dataclass(frozen=True)
class Piece:
    """What passes the trunk together: frames `heard` `[T]`, by number. `count` are kept, from that at `first` on."""

    heard: NDArray[np.int64]
    first: int
    count: int

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The frames that are kept, in order."""
        return self.heard[self.first : self.first + self.count]


@dataclass(frozen=True)
class Masks:
    """The frames `[W, S, F]` of each window's speakers that their voices are taken from: zeros and ones.

    The windows begin at `starts` `[W]`, in seconds and in order; `frames` are the masks' frames in a window.
    """

    data: NDArray[np.floating[Any]]
    starts: NDArray[np.floating[Any]]
    frames: Frames

    def at(self, window: int, numbers: NDArray[np.int64], trunk: Trunk) -> NDArray[np.floating[Any]]:
        """The window's masks `[S, K]` at the trunk's frames of these `numbers` `[K]`; zeros outside the window."""
        middles = (numbers * trunk.step + trunk.middle) / SAMPLE_RATE - self.starts[window]
        nearest = np.rint((middles - self.frames.duration / 2) / self.frames.step).astype(int)
        count = self.data.shape[2]
        mask: NDArray[np.floating[Any]] = self.data[window][:, np.clip(nearest, 0, count - 1)]
        mask[:, (nearest < 0) | (nearest >= count)] = 0  # a copy: it was chosen by numbers
        return mask

    def reach(self, window: int, trunk: Trunk) -> tuple[int, int]:
        """The first of the trunk's frames that the window may need, and the first that it does not need any more."""
        start = self.starts[window]
        length = (self.data.shape[2] - 1) * self.frames.step + self.frames.duration
        second = SAMPLE_RATE / trunk.step
        return max(int(start * second) - 1, 0), int((start + length) * second) + 1


def voices(
    trunk: Trunk, waveform: Waveform, masks: Masks, listener: Listener, *, batch: int = 1
) -> NDArray[np.float32]:
    """The embeddings `[W, S, D]` of each window's speakers from the frames of their masks.

    A speaker without a frame has zeros, and one whom the trunk did not hear NaN. `batch` pieces pass the trunk at a
    time. Raises `Cancelled`.
    """
    shape = masks.data.shape
    embeddings = np.zeros((*shape[:2], trunk.dimension), np.float32)
    pieces = (own_pieces if trunk.hears_one else whole_pieces)(trunk, masks, alike=batch > 1)
    waiting = deque(np.flatnonzero(masks.data.any(axis=(1, 2))).tolist())
    kept: deque[tuple[NDArray[np.int64], Tensor]] = deque()
    for done, frames in enumerate(_computed(trunk, waveform, pieces, batch, listener), 1):
        kept.append((pieces[done - 1].numbers, frames))
        complete = pieces[done].numbers[0] if done < len(pieces) else np.inf  # frames before it are all there
        while waiting and masks.reach(waiting[0], trunk)[1] <= complete:
            window = waiting.popleft()
            embeddings[window] = _voices_of(trunk, masks, window, kept)
        needed = masks.reach(waiting[0], trunk)[0] if waiting else np.inf
        while kept and kept[0][0][-1] < needed:
            kept.popleft()
        listener.on_progress(done / len(pieces))
    return embeddings


def own_pieces(trunk: Trunk, masks: Masks, *, alike: bool = False) -> list[Piece]:
    """One for each speaker of windows that follow one another, of the frames of the speaker's mask.

    If they are to be `alike`, they have few lengths, as those of one length share a pass.
    """
    pieces = []
    tile, count = 0, len(masks.starts)
    quantum = FEWEST if alike else 1
    covered = 0
    while tile < count:
        begin, end = masks.reach(tile, trunk)
        begin, covered = max(begin, covered), end
        # The last window that leaves no gap. By a frame or two it may.
        latest = masks.starts[tile] + (end - masks.reach(tile, trunk)[0] + 1) * trunk.step / SAMPLE_RATE
        following = max(int(np.searchsorted(masks.starts, latest, side="right")) - 1, tile + 1)
        numbers = np.arange(begin, end)
        own = masks.at(tile, numbers, trunk) > 0  # [S, K]
        spoken = [numbers[one] for one in own if one.any()]
        for heard in sorted(spoken, key=lambda one: int(one[0])):
            length = max(-(-len(heard) // quantum) * quantum, FEWEST)
            pieces.append(Piece(np.resize(heard, length), 0, len(heard)))
        tile = following
    return pieces


def whole_pieces(trunk: Trunk, masks: Masks, *, alike: bool = False) -> list[Piece]:
    """Stretches in which a mask has anybody, apart, in equal parts of at most `LONGEST`, each with `CONTEXT`.

    `alike` as in `own_pieces`.
    """
    second = SAMPLE_RATE / trunk.step
    total = masks.reach(len(masks.starts) - 1, trunk)[1]
    spoken = np.zeros(total, bool)
    for window in np.flatnonzero(masks.data.any(axis=(1, 2))).tolist():
        begin, end = masks.reach(window, trunk)
        numbers = np.arange(begin, end)
        spoken[numbers] |= masks.at(window, numbers, trunk).any(axis=0)
    runs: list[list[int]] = []
    for first, last in np.flatnonzero(np.diff(spoken, prepend=False, append=False)).reshape(-1, 2).tolist():
        if runs and first - runs[-1][1] < BRIDGED * second:
            runs[-1][1] = last
        else:
            runs.append([first, last])
    context, quantum = round(CONTEXT * second), round(second) if alike else 1
    pieces = []
    for first, last in runs:
        cuts = np.rint(np.linspace(first, last, int(np.ceil((last - first) / (LONGEST * second))) + 1)).astype(int)
        for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            begin, end = max(a - context, 0), min(b + context, total)
            length = max(-(-(end - begin) // quantum) * quantum, FEWEST)  # a few more on the right
            pieces.append(Piece(np.arange(begin, begin + length), a - begin, b - a))
    return pieces


def _computed(
    trunk: Trunk, waveform: Waveform, pieces: list[Piece], batch: int, listener: Listener
) -> Iterator[Tensor]:
    """The frames `[count, C]` that each piece keeps, in order."""
    chunk = CHUNK * batch if batch > 1 else 1
    for start in range(0, len(pieces), chunk):
        some = range(start, min(start + chunk, len(pieces)))
        found: dict[int, Tensor] = {}
        by_length = sorted(some, key=lambda number: len(pieces[number].heard))
        for _, group in groupby(by_length, key=lambda number: len(pieces[number].heard)):
            alike = list(group)
            for one in range(0, len(alike), batch):
                listener.stop_if_asked()
                follow_load()
                together = alike[one : one + batch]
                frames = trunk.frames(torch.stack([_features(trunk, waveform, pieces[n].heard) for n in together]))
                for number, own in zip(together, frames, strict=True):
                    piece = pieces[number]
                    found[number] = own[piece.first : piece.first + piece.count]
        yield from (found[number] for number in some)


def _features(trunk: Trunk, waveform: Waveform, heard: NDArray[np.int64]) -> Tensor:
    """The features `[T * rate, mel bins]` of frames by number `[T]`; after the recording's end there are zeros."""
    begin, end = int(heard.min()), int(heard.max()) + 1
    length = (end - begin - 1) * trunk.step + trunk.length
    samples = torch.from_numpy(np.ascontiguousarray(waveform[begin * trunk.step :][:length], np.float32))
    features = trunk.features(F.pad(samples, (0, length - len(samples))).to(trunk.device))
    if np.array_equal(heard, np.arange(begin, end)):
        return features
    return features.view(end - begin, trunk.rate, -1)[torch.from_numpy(heard - begin)].flatten(0, 1)


def _voices_of(
    trunk: Trunk, masks: Masks, window: int, kept: Iterable[tuple[NDArray[np.int64], Tensor]]
) -> NDArray[np.float32]:
    """The embeddings `[S, D]` of a window's speakers."""
    begin, end = masks.reach(window, trunk)
    inside = [(numbers, x) for numbers, x in kept if numbers[0] < end and numbers[-1] >= begin]
    speaking = masks.data[window].any(axis=1)  # [S]
    found = np.zeros((len(speaking), trunk.dimension), np.float32)
    found[speaking] = np.nan
    if not inside:
        return found
    numbers = np.concatenate([numbers for numbers, _ in inside])
    weights = masks.at(window, numbers, trunk).astype(np.float32)  # [S, K]
    for speaker in np.flatnonzero(speaking & ~weights.any(axis=1)):
        middle = np.flatnonzero(masks.data[window, speaker]).mean() * masks.frames.step + masks.starts[window]
        weights[speaker, np.argsort(np.abs(numbers * trunk.step / SAMPLE_RATE - middle))[:FEWEST]] = 1
    x = torch.cat([x for _, x in inside]).float()  # [K, C]
    embeddings = trunk.embed(statistics_of(x, torch.from_numpy(weights[speaking]).to(x.device)))
    found[speaking] = embeddings.float().cpu().numpy()
    return found


def statistics_of(x: Tensor, weights: Tensor) -> Tensor:
    """Mean and standard deviation, without bias, `[S, 2 C]` of frames `[K, C]` with weights of zeros and ones
    `[S, K]`, of which each speaker has one at least."""
    centre = x.mean(dim=0)
    x = x - centre  # or the squares would be large beside the deviation
    count = weights.sum(dim=1, keepdim=True)  # [S, 1]
    mean = weights @ x / count
    variance = (weights @ x.square() - count * mean.square()).clamp(min=0) / (count - 1).clamp(min=1)
    return torch.cat([mean + centre, variance.sqrt()], dim=1)
