"""A pipeline that runs no models, for whatever stands around one."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

from config import parse_config
from turnscribe.asr.capabilities import Capabilities
from turnscribe.deployment import Deployment
from turnscribe.devices import Running
from turnscribe.inputs.limits import Limits
from turnscribe.listener import SILENT, Listener
from turnscribe.pipeline import Voices
from turnscribe.request import Request
from turnscribe.speeds import Speeds
from turnscribe.transcript import Chunk, SpeakerText, Transcript, Turn, Word

AUDIO = b"\x00RIFF audio \xff" * 20  # for a pipeline that does not listen
WARM_UP_BYTES = 32_044  # the server warms up with a second of a tone

WORDS = (
    Word(" hello", 0.5, 0.9, 0.9, "SPEAKER_00"),
    Word(" there", 1.0, 1.4, 0.8, "SPEAKER_00"),
    Word(" good", 2.0, 2.3, 0.7, "SPEAKER_01"),
    Word(" morning", 2.4, 2.9, 0.6, "SPEAKER_01"),
)
CHUNKS = (
    Chunk(" hello there", 0.5, 1.4, WORDS[:2], "SPEAKER_00", -0.2, 1.1, 0.01, 0.0),
    Chunk(" good morning", 2.0, 2.9, WORDS[2:], "SPEAKER_01", -0.3, 1.2, 0.02, 0.0),
)
TRANSCRIPT = Transcript(
    text="hello there good morning",
    chunks=CHUNKS,
    duration=3.0,
    language="en",
    speakers=(
        SpeakerText("SPEAKER_00", "hello there", 0.5, 1.4),
        SpeakerText("SPEAKER_01", "good morning", 2.0, 2.9),
    ),
    turns=(Turn("SPEAKER_00", 0.5, 1.4), Turn("SPEAKER_01", 2.0, 2.9)),
    timings={"decode": 0.01, "asr": 0.2, "total": 0.25},
)
SETTINGS = {
    "asr_model": "fake/whisper",
    "assistant_model": None,
    "diarization_model": None,
    "max_input_bytes": 2**20,
    "allow_url_inputs": False,
    "speaker_similarity": None,
    "voices_folder": None,
    "token": None,
    "limits": Limits(),
}

Behaviour = Callable[[bytes, Request, Listener], Transcript | None]


class Call(NamedTuple):
    """One of `FakePipeline.transcribe`."""

    audio: bytes
    request: Request
    listener: Listener


class FakePipeline:
    """Answers `TRANSCRIPT`; `behave(audio, request, listener)` may answer something else first, or raise.

    `calls` are all but a server's warm-up.
    """

    def __init__(self, behave: Behaviour | None = None, **settings: Any) -> None:
        self.behave: Behaviour = behave or (lambda audio, request, listener: None)
        self.settings = SimpleNamespace(**{**SETTINGS, **settings})
        languages, tasks = frozenset({"en", "de"}), frozenset({"transcribe", "translate"})
        self.asr = SimpleNamespace(capabilities=Capabilities(languages, tasks))
        self.diarizer: Any = object()
        self.device = "cpu"
        self.running: Running | None = Running("cpu", "float32", False)
        self.limits = Limits(max_bytes=self.settings.max_input_bytes)
        self.calls: list[Call] = []
        self.speeds = Speeds()

    @property
    def capabilities(self) -> Capabilities:
        return self.asr.capabilities

    @property
    def has_diarizer(self) -> bool:
        return self.diarizer is not None

    @property
    def recordings(self) -> list[bytes]:
        return [audio for audio, _, _ in self.calls]

    voice_similarity = None

    def known_voices(self, clips: Any) -> dict[str, Any]:
        return {}

    def voices(self, waveform: Any) -> Voices:
        return Voices()

    def transcribe(self, audio: bytes, request: Request, listener: Listener = SILENT) -> Transcript:
        if len(audio) == WARM_UP_BYTES:
            return TRANSCRIPT
        self.calls.append(Call(audio, request, listener))
        return self.behave(audio, request, listener) or TRANSCRIPT


def deployed(pipeline: Any, parse: Callable[[Any], Any] = parse_config) -> Deployment:
    """A deployment of this pipeline, which reads no settings."""
    return Deployment(load_settings=lambda: pipeline.settings, parse=parse, load=lambda _: pipeline)
