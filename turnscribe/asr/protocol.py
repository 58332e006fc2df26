"""What an ASR backend is: a waveform and options in, chunks of text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from turnscribe.asr.capabilities import Capabilities
from turnscribe.devices import Device, Running
from turnscribe.listener import SILENT, Listener
from turnscribe.request import DecodingOptions
from turnscribe.speech.speech_map import SpeechMap
from turnscribe.transcript import Chunk, Speculation
from turnscribe.waveform import Waveform

# "int8": float32 weights, whose products are of 8-bit integers
WeightsType: TypeAlias = Literal["auto", "float32", "float16", "bfloat16", "int8"]


@dataclass(frozen=True)
class Recognition:
    """Chunks in order, with words where they were asked for; times are seconds of the recording."""

    chunks: tuple[Chunk, ...]
    language: str | None
    warnings: tuple[str, ...] = ()
    speculation: Speculation | None = None


@runtime_checkable
class TellsHowItRuns(Protocol):
    """What a backend may be beside an `Asr`."""

    @property
    def running(self) -> Running: ...


@runtime_checkable
class TellsItsCost(Protocol):
    """What a backend may be beside an `Asr`."""

    @property
    def seconds_a_second(self) -> float:
        """About how long a second of speech takes, for whoever has not seen this model run here."""


class Asr(Protocol):
    """Anything that turns a mono 16 kHz waveform `[samples]` into chunks."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, for whoever asks and for `capabilities.adapt`."""

    def transcribe(
        self,
        waveform: Waveform,
        options: DecodingOptions,
        listener: Listener = SILENT,
        speech: SpeechMap | None = None,
    ) -> Recognition:
        """`speech` is where somebody speaks in the waveform; without it, all of it is heard.

        The listener's functions are called in the caller's thread; it is asked whether to stop between steps.

        It gets further chunks as soon as everything before them is decoded: all it is given, joined, are the
        recognition's chunks. Raises `BadParameters`, `Cancelled` or `OutOfMemory`.
        """


class LoadAsr(Protocol):
    """What a backend's module calls `load`; the arguments are `registry.load_asr`'s."""

    def __call__(
        self, model: str, *, assistant: str | None, token: str | None, device: str | Device, dtype: WeightsType
    ) -> Asr: ...
