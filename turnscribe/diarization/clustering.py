"""Which voices are one person: agglomerative clustering of embeddings, as pyannote's pipelines of 3.x have it.

Voices are joined step by step, the closest centroids first, while they are closer than a threshold. A cluster of few
voices is nobody's and goes to the nearest large one. Then every voice goes to the cluster whose mean is nearest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Clustering:
    """How far apart the voices of one person may be, and how many of them make a person.

    `threshold` is the greatest distance of centroids of embeddings of length 1. `min_cluster_size` counts windows; of
    recordings with few windows a tenth of the voices is enough. Voices heard alone for less than `least_alone`, a
    share of the window, form no cluster; with `None`, as in pyannote.audio 3.4, all do that are heard at all.
    """

    threshold: float
    min_cluster_size: int
    least_alone: float | None = 0.2

    def clusters(
        self, voices: NDArray[np.floating[Any]], speech: NDArray[Any], counts: Mapping[str, int]
    ) -> NDArray[np.int8]:
        """The cluster `[W, S]` of each voice `[W, S, D]`, given who speaks when: zeros and ones `[W, F, S]`.

        `counts` may hold `num_speakers`, `min_speakers` and `max_speakers`. Voices that are NaN are unknown.
        """
        windows, slots = self._certain(voices, speech)
        certain = voices[windows, slots]  # [N, D]
        exactly = counts.get("num_speakers")
        fewest = max(1, min(len(certain), exactly or counts.get("min_speakers") or 1))
        most = max(1, min(len(certain), exactly or counts.get("max_speakers") or len(certain)))
        if most < 2:
            return np.zeros(voices.shape[:2], np.int8)
        own = self._joined(certain, fewest, most)
        centroids = np.stack([certain[own == cluster].mean(axis=0) for cluster in range(own.max() + 1)])
        nearest = np.argmax(2 - _cosine_distances(voices.reshape(-1, voices.shape[2]), centroids), axis=1)
        return np.asarray(nearest.reshape(voices.shape[:2]), dtype=np.int8)

    def _certain(
        self, voices: NDArray[np.floating[Any]], speech: NDArray[Any]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Window and slot `[N]` each of the voices that form clusters."""
        if self.least_alone is None:
            heard = speech.sum(axis=1) > 0  # [W, S]
        else:
            alone = speech.sum(axis=2, keepdims=True) == 1  # [W, F, 1]
            heard = (speech * alone).sum(axis=1) >= self.least_alone * speech.shape[1]
        windows, slots = np.where(heard & ~np.isnan(voices).any(axis=2))
        return windows, slots

    def _joined(self, voices: NDArray[np.floating[Any]], fewest: int, most: int) -> NDArray[np.int64]:
        """The cluster `[N]` of each of two or more voices `[N, D]`, from 0 on without gaps."""
        from scipy.cluster.hierarchy import linkage

        enough = min(self.min_cluster_size, max(1, round(0.1 * len(voices))))
        with np.errstate(divide="ignore", invalid="ignore"):
            units = voices / np.linalg.norm(voices, axis=-1, keepdims=True)
        tree = linkage(units, method="centroid", metric="euclidean")
        clusters = _cut(tree, self.threshold)
        large = _large(clusters, enough)
        wanted = min(max(len(large), fewest), most)
        if len(large) != wanted:
            clusters = self._cut_into(tree, wanted, enough)
            large = _large(clusters, enough)
        if not len(large):
            return np.zeros(len(voices), np.int64)
        small = np.setdiff1d(clusters, large)
        if len(small):
            means = [np.stack([units[clusters == one].mean(axis=0) for one in group]) for group in (large, small)]
            for one, nearest in zip(small, np.argmin(_cosine_distances(*means), axis=0), strict=True):
                clusters[clusters == one] = large[nearest]
        return np.unique(clusters, return_inverse=True)[1].astype(np.int64)

    def _cut_into(self, tree: NDArray[np.float64], wanted: int, enough: int) -> NDArray[np.int64]:
        """The cut nearest to the threshold that leaves `wanted` large clusters, or else the closest number to it.

        The heights of a tree of centroids may fall on the way up, so cuts are by the order of the steps.
        """
        steps = tree.copy()
        steps[:, 2] = np.arange(len(tree))
        best, closest = len(tree), abs(1 - wanted)  # after the last step there is one cluster
        for step in np.argsort(np.abs(tree[:, 2] - self.threshold)).tolist():
            if steps[step, 3] < enough:
                continue  # no large cluster came of it
            off = abs(len(_large(_cut(steps, step), enough)) - wanted)
            if off < closest:
                best, closest = step, off
            if not off:
                break
        return _cut(steps, best)


def _cut(tree: NDArray[np.float64], height: float) -> NDArray[np.int64]:
    from scipy.cluster.hierarchy import fcluster

    return np.asarray(fcluster(tree, height, criterion="distance") - 1, dtype=np.int64)


def _large(clusters: NDArray[np.int64], enough: int) -> NDArray[np.int64]:
    numbers, sizes = np.unique(clusters, return_counts=True)
    return numbers[sizes >= enough]


def _cosine_distances(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(a, b, metric="cosine"))
