"""What a program made of a recording, with everything that is measured of it: a line of the evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.real.recording import Recording, Spoken
from tests.real.scoring import Heard, score
from tests.real.timing import APART, Timing, timing, told_twice
from turnscribe.cli.evaluation.measures import Figures

LONG = 10.0  # seconds of speech, in which every program should find the language
# The twelve languages with most hours in Whisper's training, English first (appendix E of its paper).
LARGEST = ("en", "zh", "de", "es", "ru", "fr", "pt", "ko", "ja", "tr", "pl", "it")


@dataclass(frozen=True)
class Row:
    recording: Recording
    spoken: Spoken  # without the audio
    heard: Heard
    figures: Figures
    timing: Timing
    told_twice: int  # words

    @property
    def speech(self) -> float:
        """Seconds in which somebody may speak."""
        if self.recording.kind in APART:
            return sum(passage.end - passage.start for passage in self.spoken.passages)
        return self.heard.duration

    @property
    def in_known_language(self) -> bool:
        return self.recording.language in LARGEST and self.speech >= LONG


def row(recording: Recording, spoken: Spoken, heard: Heard) -> Row:
    return Row(
        recording,
        replace(spoken, audio=b""),
        heard,
        score(recording, spoken, heard),
        timing(recording, spoken, heard),
        told_twice(recording, spoken, heard),
    )
