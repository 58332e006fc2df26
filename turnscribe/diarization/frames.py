"""Who speaks in each frame of a recording, from what overlapping windows heard: arrays only.

Shared by the two diarizers. The arithmetic is that of pyannote's `Inference.aggregate` and `SpeakerDiarizationMixin`,
down to the rounding, without Python loops over frames; the tests hold it against them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOBODY = -2  # the cluster of a speaker slot without speech
SHORTEST_GAP = 1e-6  # seconds: pyannote takes nothing shorter for a gap


@dataclass(frozen=True)
class Frames:
    """Equal stretches of time, one each `step`, in seconds; frames of a network or windows of a recording."""

    duration: float
    step: float
    start: float = 0.0

    def closest(self, time: float) -> int:
        """The frame whose middle is closest to `time`."""
        return int(np.rint((time - self.start - 0.5 * self.duration) / self.step))

    def middle(self, index: int) -> float:
        start = self.start + index * self.step
        return 0.5 * (start + (start + self.duration))


@dataclass(frozen=True)
class Layout:
    """Where the frames of each window lie in the recording, which has `length` frames."""

    starts: Sequence[int]  # [W]: each window's first frame
    length: int

    @staticmethod
    def of(windows: Frames, count: int, frames: Frames) -> Layout:
        """Of `count` windows; `frames` start where the windows start."""
        half = 0.5 * frames.duration
        starts = [frames.closest(windows.start + w * windows.step + half) for w in range(count)]
        end = windows.start + windows.duration + (count - 1) * windows.step
        return Layout(starts, frames.closest(end + half) + 1)


def speaker_count(speech: NDArray[Any], layout: Layout) -> NDArray[np.uint8]:
    """How many speak at once `[T]`: the windows' average, rounded, of zeros and ones `[W, F, S]`; NaN is unknown."""
    speakers = np.sum(speech, axis=-1)  # [W, F]
    known = ~np.isnan(speakers)
    speakers = np.where(known, speakers, 0)
    total, seen = np.zeros((2, layout.length), np.float32)  # [T] each
    for start, window, there in zip(layout.starts, speakers, known, strict=True):
        total[start : start + len(window)] += window
        seen[start : start + len(window)] += there
    average = total / np.maximum(seen, 1e-12)  # no window, no speaker
    return np.rint(average).astype(np.uint8)


def reconstruct(
    scores: NDArray[Any], clusters: NDArray[np.integer[Any]], count: NDArray[Any], layout: Layout
) -> NDArray[np.float32]:
    """Who speaks `[T, K]`, zeros and ones: in each frame the `count` `[T]` clusters of the highest scores.

    From scores `[W, F, S]` and their clusters `[W, S]`. A cluster's score is the sum over the windows, in their
    order, as stock's is: float32 sums of soft scores depend on it.
    """
    number = max(int(clusters.max()) + 1, int(count.max()))
    sums = np.zeros((number, layout.length), np.float32)  # [K, T]
    for start, window, speakers in zip(layout.starts, scores, clusters.tolist(), strict=True):
        for cluster in set(speakers) - {NOBODY}:
            best = functools.reduce(np.maximum, [window[:, s] for s, k in enumerate(speakers) if k == cluster])
            sums[cluster, start : start + len(best)] += np.where(np.isnan(best), 0, best)
    # Ties go to whom numpy's sort puts first, so this has to be stock's call, on rows of the same layout.
    ranked = np.argsort(-np.ascontiguousarray(sums.T), axis=-1)  # [T, K]
    speaking = np.zeros((layout.length, number), np.float32)
    np.put_along_axis(speaking, ranked, (np.arange(number) < count[:, None]).astype(np.float32), axis=-1)
    return speaking


def changes(speaking: NDArray[Any]) -> NDArray[np.int64]:
    """The frames of `[T, K]` in which somebody begins or ends to speak; the first and the last count too."""
    changed = (speaking[1:] != speaking[:-1]).any(axis=1)  # [T - 1]
    return np.unique([0, *(np.flatnonzero(changed) + 1).tolist(), len(speaking) - 1])


def spoken(speaking: NDArray[Any], frames: Frames, shortest_pause: float = 0.0) -> list[tuple[float, float, int]]:
    """Start, end and cluster of all stretches of speech in `[T, K]`, by time, across pauses below `shortest_pause`.

    As pyannote's `Binarize`: a stretch lasts from the middle of its first frame to that of the first after it.
    """
    stretches: list[tuple[float, float, int]] = []
    last = len(speaking) - 1
    for cluster, active in enumerate((speaking > 0.5).T):
        edges = np.flatnonzero(np.diff(active, prepend=False, append=False)).tolist()
        own = [
            (frames.middle(first), frames.middle(min(end, last)))
            for first, end in zip(edges[::2], edges[1::2], strict=True)
        ]
        stretches += [(start, end, cluster) for start, end in _joined(own, shortest_pause)]
    return sorted(stretches)


def _joined(own: Iterable[tuple[float, float]], shortest_pause: float) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in own:
        if end - start <= SHORTEST_GAP:
            continue
        if joined and shortest_pause > 0 and start - joined[-1][1] < max(shortest_pause, SHORTEST_GAP):
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined


def frames_to_embed(speech: NDArray[Any], fewest: int | None) -> NDArray[np.float32]:
    """The frames `[B, S, F]` to embed each speaker from, given who speaks in which `[B, F, S]`.

    With `fewest`, only the frames in which the speaker is alone, unless there are no more than `fewest` of those.
    """
    used = np.nan_to_num(speech, nan=0.0).astype(np.float32)  # [B, F, S]
    if fewest is not None:
        alone = np.sum(speech, axis=2, keepdims=True) < 2  # [B, F, 1], false where one is unknown
        clean = used * alone
        used = np.where(clean.sum(axis=1, keepdims=True) > fewest, clean, used)
    return np.ascontiguousarray(used.transpose(0, 2, 1))
