"""Clips of real people for `turnscribe voices test`: a folder for each person, out of the recordings there are.

    python -m tests.real.voices clips
    turnscribe voices test clips

A clip is `CLIP_SECONDS` of one person alone, put together of prompts, lines, or turns that nobody else speaks in.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tests.real import fillets, recordings, sources
from turnscribe.inputs.decode import decode_audio
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_wav

CLIP_SECONDS = 6
MOST_CLIPS = 6  # of one person
CONVERSATIONS = ("aepyx", "know", "sample")  # with few overlaps, and speakers who say enough


def write_clips(unpacked: Path, folder: Path) -> None:
    """A folder for each person in `folder`."""
    for name, pieces in _people(unpacked):
        for number, clip in enumerate(_clips(pieces)):
            path = folder / name / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(to_wav(clip))


def _people(unpacked: Path) -> Iterator[tuple[str, list[Waveform]]]:
    """A name, and pieces `[samples]` in which that person speaks alone."""
    found: dict[str, list[Waveform]] = defaultdict(list)
    for one in sources.recordings(unpacked):
        if one.kind == "prompt" and len(found[f"prompts-{one.language}"]) < 40:
            found[f"prompts-{one.language}"].append(decode_audio(one.load().audio).mono)
        name = one.name.rpartition("/")[2]
        if one.kind == "conversation" and name in CONVERSATIONS:
            spoken = one.load()
            waveform, turns = decode_audio(spoken.audio).mono, spoken.turns or ()
            for turn in turns:
                if not any(
                    other is not turn and other.start < turn.end and turn.start < other.end for other in turns
                ):
                    part = waveform[int(turn.start * SAMPLE_RATE) : int(turn.end * SAMPLE_RATE)]
                    found[f"{name}-{turn.speaker}"].append(part)
    for language in fillets.LANGUAGES:
        for line in fillets.lines(unpacked, language):
            if len(found[f"fillets-{language}-{line.speaker}"]) < 40:
                found[f"fillets-{language}-{line.speaker}"].append(decode_audio(line.path.read_bytes()).mono)
    yield from found.items()


def _clips(pieces: Sequence[Waveform]) -> Iterator[Waveform]:
    whole = np.concatenate(pieces)
    length = CLIP_SECONDS * SAMPLE_RATE
    for number in range(min(len(whole) // length, MOST_CLIPS)):
        yield whole[number * length : (number + 1) * length]


if __name__ == "__main__":
    write_clips(recordings.fetch(), Path(sys.argv[1]))
