"""A recording, and what is known of it: text, passages, turns, times of words. Knows no package and no program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from turnscribe.cli.evaluation.references import SpokenWord
from turnscribe.transcript import SpeakerText, Turn

SEVERAL_VOICES = ("conversation", "dialogue")
NOBODY_SPEAKS = ("music", "noise", "tune", "tone", "quiet", "effect")
# Put together of pieces, so that the times are known. They have a group for each kind, whatever the language.
PLACED = ("onset", "pause", "behind", "synthetic")
TIMED = (*SEVERAL_VOICES, *PLACED)  # kinds whose words' times are measured
READ = ("prompt", "caption", "reading", "message")


@dataclass(frozen=True)
class Spoken:
    """What a recording is held against; `text` is `None` where nobody wrote it down, empty where nothing is said."""

    audio: bytes
    text: str | None = None
    passages: tuple[SpeakerText, ...] = ()  # by time; those of two speakers may overlap
    turns: tuple[Turn, ...] | None = None
    words: tuple[SpokenWord, ...] = ()  # each with its times, where they are known


@dataclass(frozen=True)
class Recording:
    """`kind` is prompt, caption, line, reading, message, conversation, dialogue, of `PLACED` or `NOBODY_SPEAKS`."""

    name: str
    kind: str
    language: str | None
    load: Callable[[], Spoken]

    @property
    def group(self) -> str:
        """What its figures are summed up with."""
        return f"{self.kind} {self.language}" if self.language and self.kind not in PLACED else self.kind
