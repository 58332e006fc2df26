"""Who speaks when, and whose words are whose: the rules of this endpoint, as the place to put your own.

The handler uses the five functions of this file. They are the package's; `speaker_of` is the one most often changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnscribe.diarization import merge
from turnscribe.diarization.diarizer import Diarizer, diarize, embed, load_diarizer
from turnscribe.diarization.merge import Speech, group_turns
from turnscribe.transcript import Chunk, Turn, Word

__all__ = ["Diarizer", "assign_speakers", "diarize", "embed", "group_turns", "load_diarizer", "speaker_of"]


def speaker_of(span: Word | Chunk, speeches: Sequence[Speech]) -> str:
    """The speaker of a word, or of a chunk whose words have no times.

    `speeches` has everything each speaker says, in the order in which they first speak, and is never empty.
    """
    overlaps = [speech.overlap(span.start, span.end) for speech in speeches]
    if max(overlaps) > 0:
        return speeches[overlaps.index(max(overlaps))].speaker
    return min(speeches, key=lambda speech: speech.distance(span.start, span.end)).speaker


def assign_speakers(chunks: Sequence[Chunk], turns: Sequence[Turn]) -> tuple[Chunk, ...]:
    """The chunks with their speakers by `speaker_of`, split where the speaker changes between two words.

    No text is lost: the pieces' texts, joined, are the chunks'. A single word between two of another speaker goes to
    that speaker unless most of it lies in its own speaker's turns.
    """
    return merge.assign_speakers(chunks, turns, rule=speaker_of)
