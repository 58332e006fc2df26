"""A talk that is known: samples that tell their own time, and an ear and a detector that know what is said when."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnscribe.live.ear import Known
from turnscribe.live.spool import Spool
from turnscribe.pipeline import Voices
from turnscribe.request import Request
from turnscribe.speech.silero import FRAME
from turnscribe.transcript import Chunk, Transcript, Word
from turnscribe.waveform import FULL_SCALE, SAMPLE_RATE, Waveform

STEP = SAMPLE_RATE // 100
WORD_S = 0.4
HALF_HEARD = 0.15  # seconds before the end of the audio in which a word is heard as another
ON = 0.3  # seconds into a word, of which a pass that begins there still hears it


def new_spool() -> Spool:
    """In a file of its own, which is no longer there by name."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder, "spool"))
    weakref.finalize(spool, spool._file.close)  # whoever has it need not close it
    return spool


def said(text: str, start: float = 0.0, *, every: float = WORD_S) -> list[Word]:
    """A word every so many seconds, from `start` on."""
    return [
        Word(f" {one}", round(start + every * index, 3), round(start + every * (index + 1), 3))
        for index, one in enumerate(text.split())
    ]


def says_time(seconds: float) -> Transcript:
    """A word for every 0.4 s that are whole."""
    words = tuple(said(" ".join(f"w{index}" for index in range(int(seconds / WORD_S))), every=WORD_S))
    text = "".join(word.text for word in words)
    chunks = (Chunk(text, 0.0, words[-1].end, words),) if words else ()
    return Transcript(text.strip(), chunks, seconds, language="en")


def talk(seconds: float) -> Waveform:
    """Samples whose value is the hundredth of a second that they are in."""
    return ((np.arange(round(seconds * SAMPLE_RATE)) // STEP + 1) / FULL_SCALE).astype(np.float32)


@dataclass
class KnowingEar:
    """Hears the words that are in the samples; the last one wrongly, where the audio ends in or close behind it."""

    words: Sequence[Word]
    calls: list[dict[str, object]] = field(default_factory=list)
    error: Exception | None = None

    def hear(self, samples: Waveform, request: Request, known: Known) -> Transcript:
        first = (round(float(samples[0]) * FULL_SCALE) - 1) / 100
        stop = first + len(samples) / SAMPLE_RATE
        self.calls.append({"start": first, "stop": stop, **asdict(known)})
        if self.error is not None:
            raise self.error
        heard = []
        for word in self.words:
            if word.start < first - ON or word.start >= stop - 0.05:
                continue
            text = word.text if word.end + HALF_HEARD <= stop else f"{word.text[:2]}~"
            heard.append(Word(text, max(word.start - first, 0.0), min(word.end, stop) - first))
        if not heard:
            return Transcript("", (), stop - first)
        text = "".join(word.text for word in heard)
        chunk = Chunk(text, heard[0].start, heard[-1].end, tuple(heard))
        return Transcript(text.strip(), (chunk,), stop - first, language="en")

    def voices(self, samples: Waveform) -> Voices:
        return Voices()


class KnowingDetector:
    """Hears speech in the frames that a word is in."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words, self._place = words, 0
        self._rest = 0

    def hear(self, samples: Waveform) -> NDArray[np.float32]:
        self._rest += len(samples)
        count, self._rest = divmod(self._rest, FRAME)
        found = []
        for _ in range(count):
            time = (self._place + FRAME / 2) / SAMPLE_RATE
            found.append(float(any(word.start <= time < word.end for word in self._words)))
            self._place += FRAME
        return np.array(found, np.float32)
