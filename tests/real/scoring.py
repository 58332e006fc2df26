"""How a transcript is scored against what was said, the same way for every program that is compared.

Both texts are normalised as OpenAI did for the Whisper paper (appendix C), by transformers' copy of that code:
English with its contractions, fillers and numbers, other languages in lower case without punctuation. Besides, a
number from 0 to 10 counts the same as a word or as a digit in every language here, Spanish loses its accents, since
some of its texts have none, and so does the Russian letter yo. The measures are those of `turnscribe evaluate`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from tests.real.recording import Recording, Spoken
from turnscribe.cli.evaluation.measures import Figures, Ratio, align, cp_errors, diarization_errors, tcp_errors
from turnscribe.cli.evaluation.references import SpokenWord
from turnscribe.transcript import SpeakerText, Turn

NUMBERS = {
    "be": "нуль адзін два тры чатыры пяць шэсць сем восем дзевяць дзесяць",
    "bg": "нула едно две три четири пет шест седем осем девет десет",
    "ca": "zero un dos tres quatre cinc sis set vuit nou deu",
    "cs": "nula jedna dva tři čtyři pět šest sedm osm devět deset",
    "da": "nul en to tre fire fem seks syv otte ni ti",
    "el": "μηδέν ένα δύο τρία τέσσερα πέντε έξι επτά οκτώ εννέα δέκα",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix",
    "it": "zero uno due tre quattro cinque sei sette otto nove dieci",
    "nl": "nul een twee drie vier vijf zes zeven acht negen tien",
    "ro": "zero unu doi trei patru cinci șase șapte opt nouă zece",
    "ru": "ноль один два три четыре пять шесть семь восемь девять десять",
}


@dataclass(frozen=True)
class Heard:
    """What a program made of a recording. Without a diarizer there are no speakers; `None` is no diarizer."""

    text: str
    language: str | None
    seconds: float  # it took
    duration: float  # of the recording
    passages: tuple[SpeakerText, ...] = ()
    turns: tuple[Turn, ...] | None = None
    words: tuple[SpokenWord, ...] | None = None  # with their times; `None` where a program gives none


def normalise(text: str, language: str | None) -> list[str]:
    """The words that count.

    >>> normalise("Press twenty-five; it's the 7 key.", "en")
    ['press', '25', 'it', 'is', 'the', '7', 'key']
    >>> normalise("L'agent nº deux... [rires] est là", "fr")
    ['l', 'agent', 'no', '2', 'est', 'là']
    """
    if language == "en":
        words = _english()(text).split()
    else:
        words = _other()(text).split()
        digits = {word: str(number) for number, word in enumerate(NUMBERS.get(language or "", "").split())}
        words = [digits.get(word, word) for word in words]
    if language == "es":
        words = [
            "".join(c for c in unicodedata.normalize("NFD", word) if c not in "\u0301\u0303\u0308") for word in words
        ]
    return [word.replace("ё", "е") for word in words]


@cache
def _english() -> Any:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer({})


@cache
def _other() -> Any:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    return BasicTextNormalizer()


def score(recording: Recording, spoken: Spoken, heard: Heard) -> Figures:
    """Errors of the words, and of the speakers where both sides know them.

    Where nothing is said, every word counts as inserted, into a reference of no words.
    """
    figures = Figures(recordings=1, seconds=heard.duration, took=heard.seconds)
    if spoken.text is not None:
        reference = normalise(spoken.text, recording.language)
        aligned = _aligned(reference, normalise(heard.text, recording.language))
        count = len(reference)
        figures = replace(
            figures,
            substitutions=Ratio(aligned[0], count),
            deletions=Ratio(aligned[1], count),
            insertions=Ratio(aligned[2], count),
        )
    if spoken.turns is None or heard.turns is None:
        return figures
    missed, false_alarm, confusion = diarization_errors(spoken.turns, heard.turns, heard.duration)
    named, found = ({turn.speaker for turn in turns} for turns in (spoken.turns, heard.turns))
    figures = replace(
        figures,
        missed=missed,
        false_alarm=false_alarm,
        confusion=confusion,
        speakers=Ratio(len(found) == len(named), 1),
        speakers_found=Ratio(len(found), len(named)),
    )
    if spoken.passages:
        said = [_normalised(passage, recording.language) for passage in spoken.passages]
        told = [_normalised(passage, recording.language) for passage in heard.passages]
        figures = replace(figures, cpwer=cp_errors(_words(said), _words(told)), tcpwer=tcp_errors(said, told))
    return figures


def _aligned(reference: Sequence[str], heard: Sequence[str]) -> tuple[int, int, int]:
    """Substitutions, deletions, insertions; jiwer refuses an empty reference."""
    if not reference:
        return 0, 0, len(heard)
    found = align(reference, heard)
    return found.substitutions, found.deletions, found.insertions


def _normalised(passage: SpeakerText, language: str | None) -> SpeakerText:
    return replace(passage, text=" ".join(normalise(passage.text, language)))


def _words(passages: Sequence[SpeakerText]) -> list[SpokenWord]:
    return [SpokenWord(word, None, passage.speaker) for passage in passages for word in passage.text.split()]
