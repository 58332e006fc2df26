"""Which voices are one person: agglomerative clustering of embeddings, as pyannote's pipelines of 3.x have it.

Voices are joined step by step, the closest centroids first, while they are closer than a threshold. A cluster of few
voices is nobody's and goes to the nearest large one. Then every voice goes to the cluster whose mean is nearest.

Joining compares all with all: an hour of two people takes 4.5 s that way, and four hours a minute. With `blocks` set,
more voices than that are joined in two rounds: first those of each block of time, as long as they are much closer
than the threshold, then what came of it, each with the weight of its voices (`_tree_of_blocks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST_APART = 5  # windows in which somebody speaks: of fewer, one that is wrong would tell two people apart
MOST_AT_ONCE = 2_400  # voices that are compared all with all: those of 20 minutes in which two people speak
BLOCK = 600  # voices of a block: 5 minutes
MOST_GROUPS = 60  # of a block: nobody hears 60 people in 5 minutes, and four hours of blocks fit into one matrix
CLOSE = 0.5  # of the threshold: voices of a block that are closer are one person's beyond doubt


@dataclass(frozen=True)
class Clustering:
    """How far apart the voices of one person may be, and how many of them make a person.

    `threshold` is the greatest distance of centroids of embeddings of length 1. `min_cluster_size` counts windows; of
    recordings with few windows a tenth of the voices is enough. Voices heard alone for less than `least_alone`, a
    share of the window, form no cluster; with `None`, as in pyannote.audio 3.4, all do that are heard at all.
    Many voices are joined in blocks of time where `blocks` says so. Where a share `apart` of the windows has as many
    voices, there are at least that many people; with `None` that is not looked at.
    """

    threshold: float
    min_cluster_size: int
    least_alone: float | None = 0.2
    blocks: bool = False
    apart: float | None = None

    def clusters(
        self, voices: NDArray[np.floating[Any]], speech: NDArray[Any], counts: Mapping[str, int]
    ) -> NDArray[np.int16]:
        """The cluster `[W, S]` of each voice `[W, S, D]`, given who speaks when: zeros and ones `[W, F, S]`.

        `counts` may hold `num_speakers`, `min_speakers` and `max_speakers`. Voices that are NaN are unknown.
        """
        windows, slots = self._certain(voices, speech)
        certain = voices[windows, slots]  # [N, D]
        exactly = counts.get("num_speakers")
        most = max(1, min(len(certain), exactly or counts.get("max_speakers") or len(certain)))
        apart = min(self._heard_apart(windows), most)
        fewest = max(1, min(len(certain), exactly or max(counts.get("min_speakers") or 1, apart)))
        if most < 2:
            return np.zeros(voices.shape[:2], np.int16)
        own = self._joined(certain, fewest, most)
        centroids = np.stack([certain[own == cluster].mean(axis=0) for cluster in range(own.max() + 1)])
        nearest = np.argmax(2 - _cosine_distances(voices.reshape(-1, voices.shape[2]), centroids), axis=1)
        return np.asarray(nearest.reshape(voices.shape[:2]), dtype=np.int16)

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

    def _heard_apart(self, windows: NDArray[np.int64]) -> int:
        """How many people there are at least, one or two, given the window `[N]` of each voice in a cluster."""
        if self.apart is None:
            return 1
        _, voices = np.unique(windows, return_counts=True)
        if len(voices) < FEWEST_APART:
            return 1
        return min(int(np.quantile(voices, 1 - self.apart, method="lower")), 2)

    def _joined(self, voices: NDArray[np.floating[Any]], fewest: int, most: int) -> NDArray[np.int64]:
        """The cluster `[N]` of each of two or more voices `[N, D]`, from 0 on without gaps."""
        enough = min(self.min_cluster_size, max(1, round(0.1 * len(voices))))
        with np.errstate(divide="ignore", invalid="ignore"):
            units = voices / np.linalg.norm(voices, axis=-1, keepdims=True)
        groups, tree, sizes = self._tree(units)
        clusters = _cut(tree, self.threshold)[groups]
        large = _large(clusters, enough)
        wanted = min(max(len(large), fewest), most)
        if len(large) != wanted:
            clusters = self._cut_into(tree, sizes, groups, wanted, enough)[groups]
            large = _large(clusters, enough)
        if not len(large):
            return np.zeros(len(voices), np.int64)
        small = np.setdiff1d(clusters, large)
        if len(small):
            means = [np.stack([units[clusters == one].mean(axis=0) for one in group]) for group in (large, small)]
            for one, nearest in zip(small, np.argmin(_cosine_distances(*means), axis=0), strict=True):
                clusters[clusters == one] = large[nearest]
        return np.unique(clusters, return_inverse=True)[1].astype(np.int64)

    def _tree(
        self, units: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """The group `[N]` of each voice `[N, D]` of length 1, the groups' tree as scipy has it, and how many voices
        each of its steps joins."""
        if not self.blocks or len(units) <= MOST_AT_ONCE:
            tree = _linkage(units)
            return np.arange(len(units)), tree, tree[:, 3]
        groups = np.empty(len(units), np.int64)
        closest, count = CLOSE * self.threshold, 0
        for first in range(0, len(units), BLOCK):
            block = units[first : first + BLOCK]
            own = _groups(_linkage(block), closest) if len(block) > 1 else np.zeros(1, np.int64)
            groups[first : first + BLOCK] = count + own
            count += int(own.max()) + 1
        weights = np.bincount(groups).astype(np.float64)
        sums = np.zeros((count, units.shape[1]))
        np.add.at(sums, groups, units)
        return groups, *weighted_linkage(sums / weights[:, None], weights)

    def _cut_into(
        self,
        tree: NDArray[np.float64],
        sizes: NDArray[np.float64],
        groups: NDArray[np.int64],
        wanted: int,
        enough: int,
    ) -> NDArray[np.int64]:
        """The cut nearest to the threshold that leaves `wanted` large clusters, or else the closest number to it.

        The heights of a tree of centroids may fall on the way up, so cuts are by the order of the steps.
        """
        steps = tree.copy()
        steps[:, 2] = np.arange(len(tree))
        best, closest = len(tree), abs(1 - wanted)  # after the last step there is one cluster
        for step in np.argsort(np.abs(tree[:, 2] - self.threshold)).tolist():
            if sizes[step] < enough:
                continue  # no large cluster came of it
            off = abs(len(_large(_cut(steps, step)[groups], enough)) - wanted)
            if off < closest:
                best, closest = step, off
            if not off:
                break
        return _cut(steps, best)


def _linkage(units: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    from scipy.cluster.hierarchy import linkage

    return np.asarray(linkage(units, method="centroid", metric="euclidean"))


def _groups(tree: NDArray[np.float64], closest: float) -> NDArray[np.int64]:
    """The group of each voice of a block: those closer than `closest`, and not too many groups."""
    from scipy.cluster.hierarchy import fcluster

    groups = _cut(tree, closest)
    if groups.max() < MOST_GROUPS:
        return groups
    return np.asarray(fcluster(tree, MOST_GROUPS, criterion="maxclust") - 1, dtype=np.int64)


def weighted_linkage(
    points: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """scipy's `linkage(..., "centroid")` of points `[M, D]` each of which stands for `weights` `[M]` others.

    Besides, the weight of what each step joins.

    The distance from a cluster to one that two were joined into is Lance and Williams's (1967); each cluster knows
    its nearest one, so a step costs what a row of distances does.
    """
    from scipy.spatial.distance import cdist

    count = len(points)
    squares = cdist(points, points, "sqeuclidean")  # [M, M]
    np.fill_diagonal(squares, np.inf)
    nearest, least = squares.argmin(axis=1), squares.min(axis=1)
    weight, leaves, number = weights.copy(), np.ones(count), np.arange(count)  # of the cluster in each place
    tree, joint = np.empty((count - 1, 4)), np.empty(count - 1)
    for step in range(count - 1):
        a = int(least.argmin())
        b, square = int(nearest[a]), float(least[a])
        total = weight[a] + weight[b]
        leaves[a] += leaves[b]
        tree[step] = *sorted((number[a], number[b])), max(square, 0.0) ** 0.5, leaves[a]
        joint[step] = total
        joined = (weight[a] * squares[a] + weight[b] * squares[b] - weight[a] * weight[b] / total * square) / total
        joined[[a, b]] = np.inf
        squares[a], squares[:, a] = joined, joined
        squares[b], squares[:, b] = np.inf, np.inf
        weight[a], number[a], least[b] = total, count + step, np.inf
        stale = np.flatnonzero((nearest == a) | (nearest == b))
        stale = stale[np.isfinite(least[stale])]
        closer = joined < least
        nearest[closer], least[closer] = a, joined[closer]
        for place in {a, *stale.tolist()}:
            nearest[place], least[place] = squares[place].argmin(), squares[place].min()
    return tree, joint


def _cut(tree: NDArray[np.float64], height: float) -> NDArray[np.int64]:
    from scipy.cluster.hierarchy import fcluster

    return np.asarray(fcluster(tree, height, criterion="distance") - 1, dtype=np.int64)


def _large(clusters: NDArray[np.int64], enough: int) -> NDArray[np.int64]:
    numbers, sizes = np.unique(clusters, return_counts=True)
    return numbers[sizes >= enough]


def _cosine_distances(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(a, b, metric="cosine"))
