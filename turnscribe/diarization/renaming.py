"""A transcript's speakers under names that they are known by already: by when they speak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from turnscribe.diarization.known_speakers import DIARIZER_PREFIX, match_voices
from turnscribe.transcript import Transcript, Turn


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
    return replace(
        transcript,
        chunks=tuple(
            replace(
                chunk,
                speaker=names.get(chunk.speaker or "", chunk.speaker),
                words=tuple(
                    replace(word, speaker=names.get(word.speaker or "", word.speaker)) for word in chunk.words
                ),
            )
            for chunk in transcript.chunks
        ),
        speakers=tuple(replace(one, speaker=names.get(one.speaker, one.speaker)) for one in transcript.speakers),
        turns=tuple(replace(turn, speaker=names[turn.speaker]) for turn in transcript.turns),
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
