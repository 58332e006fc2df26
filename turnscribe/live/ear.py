"""What a session asks of the models: the text of some seconds, and what a voice sounds like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from turnscribe.pipeline import Transcriber, Voices
from turnscribe.request import Request
from turnscribe.transcript import Transcript
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_int16


@dataclass(frozen=True)
class Known:
    """What a pass knows before it hears.

    `earlier` is the text before its samples, `prefix` what their own begins with, and `guess` what it may go on with.
    What is not `final` is heard once, and is soon heard again.
    """

    language: str | None
    earlier: str
    prefix: str
    guess: str
    final: bool


class Ear(Protocol):
    """Waveforms are `[samples]`, mono, 16 kHz."""

    def hear(self, samples: Waveform, request: Request, known: Known) -> Transcript:
        """Their text. Raises `TurnscribeError`."""

    def voices(self, samples: Waveform) -> Voices:
        """Who speaks when in them, and what each sounds like; nothing where nobody is told apart."""


@dataclass(frozen=True)
class PipelineEar:
    """Over a pipeline, wherever its models are."""

    pipeline: Transcriber

    def hear(self, samples: Waveform, request: Request, known: Known) -> Transcript:
        decoding = replace(
            request.decoding,
            language=known.language or request.decoding.language,
            prompt=known.earlier or None,
            prefix=known.prefix or None,
            guess=known.guess or None,
            fallback=known.final,
            full_windows=False,
            urgent=True,
        )
        request = replace(request, decoding=decoding, diarize=False, encoding="pcm_s16le", sampling_rate=SAMPLE_RATE)
        return self.pipeline.transcribe(to_int16(samples).astype("<i2").tobytes(), request)

    def voices(self, samples: Waveform) -> Voices:
        return self.pipeline.voices(samples)
