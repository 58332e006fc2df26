"""Whose words are whose in a transcript: words with the wrong speaker, and sentences that are cut in two."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tests.real.recording import Recording, Spoken
from tests.real.scoring import normalise
from turnscribe.cli.evaluation.measures import Ratio, align, cp_errors, right_speakers
from turnscribe.cli.evaluation.references import SpokenWord
from turnscribe.transcript import SpeakerText

SENTENCE_ENDS = (".", "?", "!", "…", '"', "-")


def wrong_speakers(recording: Recording, spoken: Spoken, heard: Sequence[SpeakerText]) -> Ratio:
    """Of the words that were recognised rightly, those with the wrong speaker.

    The texts are aligned in order of time; speakers are named such that most words agree.
    """
    said, told = (_words(recording, passages) for passages in (spoken.passages, heard))
    aligned = align([word.text for word in said], [word.text for word in told])
    right = right_speakers([(said[i], told[j]) for i, j in aligned.equal])
    return Ratio(right.whole - right.part, right.whole)


def speaker_word_errors(recording: Recording, spoken: Spoken, heard: Sequence[SpeakerText]) -> Ratio:
    """cpWER."""
    return cp_errors(_words(recording, spoken.passages), _words(recording, heard))


def cut_sentences(heard: Sequence[SpeakerText]) -> list[str]:
    """Where the speaker changes, though no sentence ends."""
    return [
        f"{before.text} |{after.text}"
        for before, after in pairwise(heard)
        if before.speaker != after.speaker and not before.text.endswith(SENTENCE_ENDS)
    ]


def _words(recording: Recording, passages: Sequence[SpeakerText]) -> list[SpokenWord]:
    return [
        SpokenWord(word, None, passage.speaker)
        for passage in sorted(passages, key=lambda passage: passage.start)
        for word in normalise(passage.text, recording.language)
    ]
