"""Who is who in the parts of a recording: speakers of different parts who sound alike are one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

PartSpeaker: TypeAlias = tuple[int, str]  # the part's index, and the speaker's name in that part
Distances: TypeAlias = NDArray[np.float64]  # [S, S], 1 minus the cosine of the angle between two voices

NEVER_ONE_PERSON = 1e6  # a distance no average can hide: two speakers of one part are two people
FARTHEST = 2.5  # more than any two voices are apart: 1 minus a cosine is 2 at most
SHORTEST_VOICE = 2.0  # seconds of speech by which a further person is known


@dataclass(frozen=True)
class Voice:
    """An embedding `[D]` of somebody's speech in one part, and how long they speak there, in seconds."""

    embedding: Sequence[float]
    seconds: float


def name_speakers(
    voices: Mapping[PartSpeaker, Voice], *, threshold: float, fewest: int | None = None, most: int | None = None
) -> dict[PartSpeaker, str]:
    """The name of each speaker of each part, numbered in the order of `voices`, by average linkage.

    Two voices with a cosine of at least `threshold` are one person's. Whoever speaks for a moment joins the person
    who sounds most alike: so little speech cannot tell a further person.
    """
    speakers = list(voices)
    if not speakers:
        return {}
    distances = _distances([voices[speaker].embedding for speaker in speakers], [index for index, _ in speakers])
    certain = [number for number, voice in enumerate(voices.values()) if voice.seconds >= SHORTEST_VOICE]
    if len(certain) < (most or fewest or 1):
        certain = list(range(len(speakers)))
    clusters = _clusters(distances[np.ix_(certain, certain)], threshold, fewest, most)
    people = dict(zip(certain, clusters, strict=True))  # a speaker's number: a person's
    for number in range(len(speakers)):
        if number not in people:
            people[number] = _most_alike(number, people, distances)
    names: dict[int, str] = {}
    for number in range(len(speakers)):
        names.setdefault(people[number], f"SPEAKER_{len(names):02d}")
    return {speaker: names[people[number]] for number, speaker in enumerate(speakers)}


def _distances(embeddings: Sequence[Sequence[float]], owners: Sequence[int]) -> Distances:
    """Speakers of one part, their owner, are never one person."""
    voices = np.array(embeddings, dtype=np.float64)  # [S, D]
    voices /= np.maximum(np.linalg.norm(voices, axis=1, keepdims=True), 1e-12)
    distances = np.maximum(1 - np.nan_to_num(voices @ voices.T, nan=-1.0), 0.0)
    part = np.array(owners)
    distances[part[:, None] == part[None, :]] = NEVER_ONE_PERSON
    return np.asarray(distances)


def _most_alike(number: int, people: Mapping[int, int], distances: Distances) -> int:
    """The person nearest to this speaker; a further one where all others are of the same part."""
    groups = {person: [other for other in people if people[other] == person] for person in people.values()}
    apart = {person: float(distances[number, group].mean()) for person, group in groups.items()}
    nearest = min(apart, key=lambda person: apart[person])
    return max(groups) + 1 if apart[nearest] > FARTHEST else nearest


def _clusters(distances: Distances, threshold: float, fewest: int | None, most: int | None) -> list[int]:
    """The cluster of each, by average linkage."""
    from scipy.cluster.hierarchy import fcluster, linkage

    size = len(distances)
    if size < 2:
        return [1] * size
    tree = linkage(distances[np.triu_indices(size, 1)], "average")
    heights = tree[:, 2]
    number = size - int(np.sum(heights <= 1 - threshold))
    number = min(max(number, fewest or 1), most or size)
    number = max(number, size - int(np.sum(heights <= FARTHEST)))
    return [int(person) for person in fcluster(tree, number, "maxclust")]
