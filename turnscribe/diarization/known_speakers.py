"""Names for diarized speakers, by what each person is known to sound like.

A speaker and a voice belong together when their embeddings point the same way; each person is at most one speaker and
each speaker at most one person, and below the threshold a stranger stays a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from turnscribe.errors import BadAudio, BadParameters
from turnscribe.transcript import Turn
from turnscribe.waveform import SAMPLE_RATE, Waveform, is_silent

SHORTEST_CLIP, LONGEST_CLIP = 2.0, 10.0  # seconds: OpenAI's bounds for known_speaker_references
MOST_NAMES = 32
MOST_SAMPLES = 30 * SAMPLE_RATE  # of one speaker's voice: an embedding gains nothing from more
DIARIZER_PREFIX = "SPEAKER_"  # with which the diarizer's own names start: no known speaker's may

FloatT = TypeVar("FloatT", np.float32, np.float64)
Embed = Callable[[Waveform], NDArray[np.float32]]  # one voice [samples]: its embedding [D]


def check_names(names: Sequence[str]) -> None:
    """Raises `BadParameters` for names that could not be told apart in an answer."""
    if len(names) > MOST_NAMES:
        raise BadParameters(f"{len(names)} known speakers were sent: at most {MOST_NAMES} are compared.")
    for name in names:
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise BadParameters("A known speaker's name is empty, over 100 characters or not printable: send a name.")
        if name.startswith(DIARIZER_PREFIX):
            raise BadParameters(
                f"A known speaker's name starts with {DIARIZER_PREFIX}, as strangers' do: choose another."
            )
    if len(set(names)) < len(names):
        raise BadParameters("Two known speakers have the same name: send different names.")


def check_clip(name: str, clip: Waveform) -> None:
    """Raises `BadAudio` for a clip that is too short, too long or silent."""
    seconds = len(clip) / SAMPLE_RATE
    if not SHORTEST_CLIP <= round(seconds, 2) <= LONGEST_CLIP:
        raise BadAudio(
            f"The reference of {name!r} is {seconds:.1f} s long: send {SHORTEST_CLIP:g} to {LONGEST_CLIP:g} s."
        )
    if is_silent(clip):
        raise BadAudio(f"The reference of {name!r} is silent: send {SHORTEST_CLIP:g} s of speech or more.")


def name_known_speakers(
    turns: Sequence[Turn],
    waveform: Waveform,
    people: Mapping[str, NDArray[np.float32]],
    *,
    embed: Embed,
    threshold: float,
) -> list[Turn]:
    """The turns of `waveform`, in which a speaker who sounds like one of the `people` has that name.

    `people` are embeddings `[D]` by name.

    `threshold` is the least cosine of the angle between two embeddings of one person.
    """
    speakers = sorted({turn.speaker for turn in turns})
    if not speakers or not people:
        return list(turns)
    voices = np.stack([unit(embed(voice_of(waveform, turns, speaker))) for speaker in speakers])  # [S, D]
    known_voices = np.stack([unit(embedding) for embedding in people.values()])  # [K, D]
    known = list(people)
    names = {speakers[s]: known[k] for s, k in match_voices(voices @ known_voices.T, threshold)}
    return [replace(turn, speaker=names.get(turn.speaker, turn.speaker)) for turn in turns]


def match_voices(similarities: NDArray[np.float32], threshold: float) -> list[tuple[int, int]]:
    """Pairs of a row and a column of `similarities` `[S, K]`, each row and column in one pair at most.

    Every pair is more similar than `threshold`, and the sum of what they exceed it by is the largest possible.
    """
    from scipy.optimize import linear_sum_assignment

    gain = np.maximum(np.nan_to_num(similarities, nan=-1.0) - threshold, 0.0)  # [S, K]
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(int(s), int(k)) for s, k in zip(rows, columns, strict=True) if gain[s, k] > 0]


def voice_of(waveform: Waveform, turns: Sequence[Turn], speaker: str) -> Waveform:
    """The speaker's longest turns in `waveform` one after the other, up to `MOST_SAMPLES`."""
    own = sorted((turn for turn in turns if turn.speaker == speaker), key=lambda turn: turn.start - turn.end)
    parts, length = [], 0
    for turn in own:
        if length >= MOST_SAMPLES:
            break
        parts.append(waveform[int(turn.start * SAMPLE_RATE) : int(turn.end * SAMPLE_RATE)])
        length += len(parts[-1])
    return np.concatenate(parts)[:MOST_SAMPLES]


def unit(vector: NDArray[FloatT]) -> NDArray[FloatT]:
    """The vector `[D]` of that direction and length 1; zeros stay zeros."""
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
