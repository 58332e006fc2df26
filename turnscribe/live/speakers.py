"""Who says what is said, while the talk goes on: the speakers of one part are found among those of the parts before.

Two of one part are two people. Two voices of different parts that turn out to be one become the elder: their segments
get its name, and are told again. People whose voices are known from a clip are the eldest, and two of them stay two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from turnscribe.diarization.known_speakers import match_voices, unit

ENOUGH = 1.5  # seconds of a voice that nobody has heard before: less is no new speaker
MOST_WEIGHT = 10.0  # seconds of one part that count


@dataclass(eq=False)
class _Voice:
    name: str
    total: NDArray[np.float64]  # [D]; of unit embeddings, weighted by seconds
    parts: set[int]  # in which it was heard
    segments: list[str] = field(default_factory=list)
    known: bool = False  # from a clip

    @property
    def direction(self) -> NDArray[np.float64]:
        return unit(self.total)


class Speakers:
    """Of one session; `similarity` is the least cosine of two embeddings of one person, `most` how many there are."""

    def __init__(self, similarity: float, most: int | None = None) -> None:
        self._similarity, self._most = similarity, most
        self._voices: list[_Voice] = []
        self._names = 0
        self._part = 0

    def limit(self, similarity: float, most: int | None) -> None:
        """As the next parts are to be told apart."""
        self._similarity, self._most = similarity, most

    def know(self, people: Mapping[str, NDArray[np.float32]]) -> None:
        """From here on, by the embeddings `[D]` of their clips; who sounded like one of them turns out to be it."""
        names = {voice.name for voice in self._voices}
        further = [
            _Voice(name, MOST_WEIGHT * unit(embedding.astype(np.float64)), set(), known=True)
            for name, embedding in people.items()
            if name not in names
        ]
        self._voices = further + self._voices

    def names(self, embeddings: Mapping[str, NDArray[np.float32]], seconds: Mapping[str, float]) -> dict[str, str]:
        """The session's names for the speakers of one part, by their embeddings `[D]`."""
        if not embeddings:
            return {}
        self._part += 1
        speakers = list(embeddings)
        directions = np.stack([unit(embeddings[speaker].astype(np.float64)) for speaker in speakers])
        names = {}
        for index, voice in self._matched(directions).items():
            weight = min(seconds[speakers[index]], MOST_WEIGHT)
            voice.total = voice.total + weight * directions[index]
            voice.parts.add(self._part)
            names[speakers[index]] = voice.name
        for index in sorted(range(len(speakers)), key=lambda index: -seconds[speakers[index]]):
            if speakers[index] not in names:
                voice = self._unmatched(directions[index], seconds[speakers[index]])
                names[speakers[index]] = voice.name
        return names

    def told(self, segment: str, name: str) -> None:
        """A segment was told to be this speaker's."""
        next(voice for voice in self._voices if voice.name == name).segments.append(segment)

    def corrections(self) -> dict[str, str]:
        """The segments that have another speaker since they were told of, and his name."""
        changed: dict[str, str] = {}
        while (pair := self._one_person()) is not None:
            elder, younger = pair
            elder.total = elder.total + younger.total
            elder.parts |= younger.parts
            changed |= dict.fromkeys(younger.segments, elder.name)
            elder.segments += younger.segments
            self._voices.remove(younger)
        return changed

    def _matched(self, directions: NDArray[np.float64]) -> dict[int, _Voice]:
        """Which are voices that were heard before, each one of them at most."""
        if not self._voices:
            return {}
        known = np.stack([voice.direction for voice in self._voices])
        pairs = match_voices((directions @ known.T).astype(np.float32), self._similarity)
        return {index: self._voices[number] for index, number in pairs}

    def _unmatched(self, direction: NDArray[np.float64], seconds: float) -> _Voice:
        """A new voice where there is enough of it, and room for one; else the most similar one heard before."""
        heard = [voice for voice in self._voices if voice.parts]
        room = self._most is None or len(heard) < self._most
        if heard and not (room and seconds >= ENOUGH):
            return max(heard, key=lambda voice: float(voice.direction @ direction))
        voice = _Voice(f"SPEAKER_{self._names:02d}", min(seconds, MOST_WEIGHT) * direction, {self._part})
        self._names += 1
        self._voices.append(voice)
        return voice

    def _one_person(self) -> tuple[_Voice, _Voice] | None:
        for index, elder in enumerate(self._voices):
            for younger in self._voices[index + 1 :]:
                alike = float(elder.direction @ younger.direction) >= self._similarity
                if alike and not elder.parts & younger.parts and not younger.known:
                    return elder, younger
        return None
