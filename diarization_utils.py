"""Who speaks when, and whose words are whose: the rules of this endpoint, as the place to put your own.

The handler uses the five functions of this file. They are the package's; `speaker_of` is where a rule of yours goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnscribe.diarization import merge
from turnscribe.diarization.diarizer import Diarizer, diarize, embed, load_diarizer
from turnscribe.diarization.merge import group_turns
from turnscribe.diarization.speeches import Speech
from turnscribe.transcript import Chunk, Turn, Word

__all__ = ["Diarizer", "assign_speakers", "diarize", "embed", "group_turns", "load_diarizer", "speaker_of"]


def speaker_of(span: Word | Chunk, speeches: Sequence[Speech]) -> str | None:
    """The speaker of a word, or of a chunk whose words have no times; `None` leaves it to the package, as here.

    What is named here is final, and the words beside it are judged with it. `speeches` has everything each speaker
    says, in the order in which they first speak, and is never empty.
    """
    return None


def assign_speakers(chunks: Sequence[Chunk], turns: Sequence[Turn]) -> tuple[Chunk, ...]:
    """The chunks with their speakers, split where the speaker changes between two words.

    No text is lost: the pieces' texts, joined, are the chunks'. Where `speaker_of` names nobody, the words of a
    recording are shared out together: a handover within a sentence needs a pause, or turns long enough.
    """
    return merge.assign_speakers(chunks, turns, rule=speaker_of)
