"""Where an utterance begins and ends, by the probabilities of speech as they come. Places are samples of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from turnscribe.speech.silero import FRAME
from turnscribe.waveform import SAMPLE_RATE

BEGIN = 3  # frames likelier than the threshold: 96 ms
HYSTERESIS = 0.15  # below the threshold speech is over


@dataclass(frozen=True)
class Endpointing:
    """When an utterance is over: `silence_s` after its last speech, or, with `semantic`, already after
    `sentence_silence_s` where its text ends a sentence. `padding_s` before the first speech belongs to it."""

    threshold: float = 0.5
    padding_s: float = 0.3
    silence_s: float = 0.5
    semantic: bool = False
    sentence_silence_s: float = 0.5


class Endpointer:
    """Follows one stream, a frame at a time."""

    def __init__(self) -> None:
        self.place = 0  # up to which all is heard
        self.began: int | None = None  # where the speech began that is not over; `None` while nobody speaks
        self.latest = 0  # the end of the last frame with speech
        self._run = 0  # frames of speech in a row

    @property
    def silence(self) -> float:
        """Seconds since somebody spoke."""
        return (self.place - self.latest) / SAMPLE_RATE

    def hear(self, probability: float, threshold: float) -> None:
        """The next frame."""
        self.place += FRAME
        floor = threshold if self.began is None else max(threshold - HYSTERESIS, threshold / 2)
        if probability < floor:
            self._run = 0
            return
        self._run += 1
        if self.began is None and self._run >= BEGIN:
            self.began = self.place - self._run * FRAME
        if self.began is not None:
            self.latest = self.place

    def end(self) -> None:
        """The utterance is over."""
        self.began, self._run = None, 0
