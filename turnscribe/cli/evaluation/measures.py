"""How well a transcript agrees with its reference: error rates by the field's own tools; knows no models, no files.

Figures of several recordings add up: errors are summed, then divided.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from turnscribe.cli.evaluation.references import Reference, SpokenWord, normalise, spoken
from turnscribe.transcript import SpeakerText, Transcript, Turn

RATES = (
    "wer substitutions deletions insertions cpwer tcpwer der missed false_alarm confusion speaker speakers"
    " speakers_found draft live"
).split()
COLLAR_SECONDS = 5  # of tcpWER, as in the CHiME challenges: whoever speaks it, a word later or earlier is another one


@dataclass(frozen=True)
class Ratio:
    """Counts or seconds, and what they are a part of; sums before it divides."""

    part: float
    whole: float

    def __add__(self, other: Ratio) -> Ratio:
        return Ratio(self.part + other.part, self.whole + other.whole)

    @property
    def value(self) -> float | None:
        return self.part / self.whole if self.whole else None


@dataclass(frozen=True)
class Figures:
    """What was measured on so many recordings; `None` is not measured."""

    recordings: int = 0
    seconds: float = 0.0  # of audio
    took: float = 0.0  # seconds
    substitutions: Ratio | None = None  # of the reference's words, as the next two
    deletions: Ratio | None = None
    insertions: Ratio | None = None
    cpwer: Ratio | None = None
    tcpwer: Ratio | None = None
    boundaries: tuple[float, ...] = ()  # seconds, two for each word
    missed: Ratio | None = None  # of the reference's speech, as the next two
    false_alarm: Ratio | None = None
    confusion: Ratio | None = None
    speaker: Ratio | None = None  # words with the right one
    speakers: Ratio | None = None  # recordings with the right number
    speakers_found: Ratio | None = None  # of those in the reference
    draft: Ratio | None = None  # tokens
    live: Ratio | None = None  # proposed tokens that were accepted

    @property
    def wer(self) -> Ratio | None:
        return _errors(self.substitutions, self.deletions, self.insertions)

    @property
    def der(self) -> Ratio | None:
        return _errors(self.missed, self.false_alarm, self.confusion)


def _errors(*kinds: Ratio | None) -> Ratio | None:
    known = [kind for kind in kinds if kind is not None]
    return Ratio(sum(kind.part for kind in known), known[0].whole) if known else None


def total(measured: Iterable[Figures]) -> Figures:
    """The sum over recordings."""
    summed = Figures()
    for one in measured:
        sums: dict[str, Any] = {}
        for field in fields(Figures):
            before, new = getattr(summed, field.name), getattr(one, field.name)
            sums[field.name] = new if before is None else before if new is None else before + new
        summed = Figures(**sums)
    return summed


def values(figures: Figures) -> dict[str, Any]:
    """Plain numbers for JSON and for `--require`; rates are shares, not percent."""
    import numpy as np

    ratios: dict[str, Ratio | None] = {name: getattr(figures, name) for name in RATES}
    boundaries = figures.boundaries
    return {
        "recordings": figures.recordings,
        "audio_seconds": round(figures.seconds, 3),
        "seconds": round(figures.took, 3),
        "speed": Ratio(figures.seconds, figures.took).value,
        "boundary": float(np.median(boundaries)) if boundaries else None,
        "boundary90": float(np.percentile(boundaries, 90)) if boundaries else None,
        **{name: ratio.value if ratio else None for name, ratio in ratios.items()},
        "counts": {name: [ratio.part, ratio.whole] for name, ratio in ratios.items() if ratio},
    }


def compare(reference: Reference, transcript: Transcript) -> Figures:
    """Everything but speed and draft, for one recording."""
    figures = Figures(recordings=1, seconds=transcript.duration)
    diarized = bool(transcript.turns) or "diarization" in transcript.timings
    if reference.turns is not None and diarized:
        missed, false_alarm, confusion = diarization_errors(reference.turns, transcript.turns, transcript.duration)
        figures = replace(figures, missed=missed, false_alarm=false_alarm, confusion=confusion)
    heard = heard_words(transcript)
    tells = diarized or any(word.speaker for word in heard)  # without a diarizer channels may be speakers
    named = {turn.speaker for turn in reference.turns or ()} or {
        w.speaker for w in reference.words or () if w.speaker
    }
    if tells and (named or reference.turns is not None):
        found = {turn.speaker for turn in transcript.turns} or {word.speaker for word in heard if word.speaker}
        figures = replace(
            figures,
            speakers=Ratio(len(found) == len(named), 1),
            speakers_found=Ratio(len(found), len(named)),
        )
    if reference.words is None:
        return figures
    aligned = align([word.text for word in reference.words], [word.text for word in heard])
    pairs = [(reference.words[i], heard[j]) for i, j in aligned.equal]
    count = len(reference.words)
    figures = replace(
        figures,
        substitutions=Ratio(aligned.substitutions, count),
        deletions=Ratio(aligned.deletions, count),
        insertions=Ratio(aligned.insertions, count),
        boundaries=boundary_errors(pairs),
    )
    if tells and count and all(word.speaker for word in reference.words):
        figures = replace(figures, cpwer=cp_errors(reference.words, heard), speaker=right_speakers(pairs))
        said = [
            SpeakerText(word.speaker, word.text, *word.span) for word in reference.words if word.speaker and word.span
        ]
        if len(said) == count:
            figures = replace(figures, tcpwer=tcp_errors(said, _normalised_words(transcript)))
    return figures


def heard_words(transcript: Transcript) -> list[SpokenWord]:
    """The transcript's words, normalised; without times where a chunk has no words."""
    words: list[SpokenWord] = []
    for chunk in transcript.chunks:
        if not chunk.words:
            words += spoken(chunk.text, None, chunk.speaker)
        for word in chunk.words:
            words += spoken(word.text, (word.start, word.end), word.speaker)
    return words


def _normalised_words(transcript: Transcript) -> list[SpeakerText]:
    """Each word, or each chunk without words, as a passage."""
    spans = [span for chunk in transcript.chunks for span in (chunk.words or (chunk,))]
    return [SpeakerText(s.speaker or "", " ".join(normalise(s.text)), s.start, s.end) for s in spans]


@dataclass(frozen=True)
class Aligned:
    """Positions (reference, heard) of the words that are equal, and the errors between them."""

    equal: tuple[tuple[int, int], ...]
    substitutions: int
    deletions: int
    insertions: int


def align(reference: Sequence[str], heard: Sequence[str]) -> Aligned:
    """jiwer's alignment, the one with the fewest errors."""
    import jiwer

    output = jiwer.process_words(" ".join(reference), " ".join(heard))
    equal = [
        (chunk.ref_start_idx + offset, chunk.hyp_start_idx + offset)
        for chunk in output.alignments[0]
        if chunk.type == "equal"
        for offset in range(chunk.ref_end_idx - chunk.ref_start_idx)
    ]
    return Aligned(tuple(equal), output.substitutions, output.deletions, output.insertions)


Pairs = Sequence[tuple[SpokenWord, SpokenWord]]  # (reference, heard) of the correctly recognised words


def boundary_errors(pairs: Pairs) -> tuple[float, ...]:
    """Seconds between the starts and between the ends of each pair whose times are known."""
    spans = [(said.span, heard.span) for said, heard in pairs if said.span and heard.span]
    return tuple(abs(a - b) for true, found in spans for a, b in zip(true, found, strict=True))


def speaker_mapping(pairs: Pairs) -> dict[str, str]:
    """The transcript's speakers to the reference's, one to one, such that most words agree (Hungarian)."""
    from scipy.optimize import linear_sum_assignment

    named = [(said.speaker, heard.speaker) for said, heard in pairs if said.speaker and heard.speaker]
    true, found = sorted({a for a, _ in named}), sorted({b for _, b in named})
    together = [[named.count((a, b)) for a in true] for b in found]
    rows, columns = linear_sum_assignment(together, maximize=True) if named else ((), ())
    return {found[row]: true[column] for row, column in zip(rows, columns, strict=True)}


def right_speakers(pairs: Pairs) -> Ratio:
    """Words whose speaker is the reference's under the best mapping; a word without one is wrong."""
    mapping = speaker_mapping(pairs)
    return Ratio(sum(mapping.get(heard.speaker or "") == said.speaker for said, heard in pairs), len(pairs))


def cp_errors(reference: Sequence[SpokenWord], heard: Sequence[SpokenWord]) -> Ratio:
    """meeteval's cpWER: each speaker's words joined, under the mapping of speakers with the fewest errors."""
    from meeteval.wer import cp_word_error_rate

    def by_speaker(words: Sequence[SpokenWord]) -> dict[str, str]:
        texts: dict[str, list[str]] = {}
        for word in words:
            texts.setdefault(word.speaker or "nobody", []).append(word.text)
        return {speaker: " ".join(own) for speaker, own in texts.items()}

    rate = cp_word_error_rate(by_speaker(reference), by_speaker(heard), reference_sort=False, hypothesis_sort=False)
    return Ratio(rate.errors, rate.length)


def tcp_errors(reference: Sequence[SpeakerText], heard: Sequence[SpeakerText]) -> Ratio:
    """meeteval's tcpWER: as cpWER, and a word counts only where it is said, give or take `COLLAR_SECONDS`.

    Times within a passage are shared out by the letters of its words. Both texts are normalised.
    """
    from meeteval.io import SegLST
    from meeteval.wer import time_constrained_minimum_permutation_word_error_rate

    def segments(passages: Sequence[SpeakerText]) -> SegLST:
        return SegLST(
            [
                {
                    "session_id": "recording",
                    "speaker": passage.speaker or "nobody",
                    "start_time": passage.start,
                    "end_time": max(passage.start, passage.end),
                    "words": passage.text,
                }
                for passage in passages
            ]
        )

    # It warns where passages of one speaker overlap, which is what is measured.
    logging.getLogger("preprocess").setLevel(logging.ERROR)
    rate = time_constrained_minimum_permutation_word_error_rate(
        segments(reference), segments(heard), collar=COLLAR_SECONDS
    )
    return Ratio(rate.errors, rate.length)


def diarization_errors(reference: Sequence[Turn], turns: Sequence[Turn], duration: float) -> tuple[Ratio, ...]:
    """Missed speech, false alarm and confusion, in seconds of the reference's speech (pyannote.metrics)."""
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(turns: Sequence[Turn]) -> Annotation:
        made = Annotation()
        for index, turn in enumerate(turns):
            made[Segment(turn.start, turn.end), index] = turn.speaker
        return made

    end = max([duration, *(turn.end for turn in (*reference, *turns))])
    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    found = metric(annotation(reference), annotation(turns), uem=Timeline([Segment(0, end)]), detailed=True)
    return tuple(Ratio(found[name], found["total"]) for name in ("missed detection", "false alarm", "confusion"))
