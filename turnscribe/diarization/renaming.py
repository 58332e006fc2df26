"""A transcript's speakers under names that they are known by already: by when they speak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from turnscribe.diarization.known_speakers import DIARIZER_PREFIX, match_voices
from turnscribe.transcript import Chunk, SpeakerText, Transcript, Turn, Word

NamedT = TypeVar("NamedT", Chunk, SpeakerText, Turn, Word)


def named_as(transcript: Transcript, known: Sequence[Turn]) -> Transcript:
    """The transcript, in which each speaker has the name of the one in `known` who speaks when he does.

    Each name is one speaker's: those are paired that share the most seconds in sum. Whoever shares none gets a
    diarizer's name that is not taken.
    """
    speakers = sorted({turn.speaker for turn in transcript.turns})
    if not speakers or not known:
        return transcript
    people = sorted({turn.speaker for turn in known})
    pairs = match_voices(_shared_seconds(transcript.turns, speakers, known, people), 0.0)
    names = {speakers[speaker]: people[person] for speaker, person in pairs}
    strangers = [speaker for speaker in speakers if speaker not in names]
    numbered = (f"{DIARIZER_PREFIX}{number:02d}" for number in range(len(strangers) + len(people)))
    free = [name for name in numbered if name not in people]
    names |= dict(zip(strangers, free, strict=False))

    def named(part: NamedT) -> NamedT:
        return replace(part, speaker=names.get(part.speaker or "", part.speaker))

    return replace(
        transcript,
        chunks=tuple(replace(named(chunk), words=tuple(map(named, chunk.words))) for chunk in transcript.chunks),
        speakers=tuple(map(named, transcript.speakers)),
        turns=tuple(map(named, transcript.turns)),
    )


def _shared_seconds(
    turns: Sequence[Turn], speakers: Sequence[str], known: Sequence[Turn], people: Sequence[str]
) -> NDArray[np.float32]:
    """`[S, K]`: seconds in which both speak."""
    starts, ends = np.array([[turn.start, turn.end] for turn in known]).T  # [N]
    whose = np.array([people.index(turn.speaker) for turn in known])
    shared = np.zeros((len(speakers), len(people)))
    for turn in turns:
        seconds = np.maximum(np.minimum(ends, turn.end) - np.maximum(starts, turn.start), 0.0)
        shared[speakers.index(turn.speaker)] += np.bincount(whose, seconds, minlength=len(people))
    return shared.astype(np.float32)
