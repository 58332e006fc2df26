"""Turnscribe in a Python program.

import turnscribe

transcriber = turnscribe.load("openai/whisper-large-v3-turbo", diarization_model="pyannote/speaker-diarization-3.1")
transcript = transcriber.transcribe("talk.mp3", language="en")
print(transcript.text, transcript.to("srt"))
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path

from pydantic import SecretStr

from turnscribe import parameters, settings, transcript
from turnscribe.formats import Rendered, render
from turnscribe.listener import SILENT, Listener
from turnscribe.pipeline import Pipeline, load_pipeline
from turnscribe.subtitle_limits import USUAL_LIMITS, SubtitleLimits


@dataclass(frozen=True)
class Transcript(transcript.Transcript):
    """A transcript that renders itself."""

    def to(
        self, format: str, *, words: bool = True, name: str = "audio", subtitles: SubtitleLimits = USUAL_LIMITS
    ) -> Rendered:
        """In one of `formats.FORMATS`: text, an object for the JSON ones, bytes for docx. Raises `BadParameters` for
        another, and for one whose library is not installed.

        `words=False` keeps word times out of JSON; `name` is the recording's where a format names it; `subtitles`
        are the limits of those, by default the usual ones.
        """
        return render(self, format, words=words, name=name, subtitles=subtitles)


class Transcriber:
    """Loaded models; may be called from several threads."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def transcribe(
        self, audio: str | PathLike[str] | bytes, *, listener: Listener = SILENT, **given: object
    ) -> Transcript:
        """A file, by its path or its bytes, to its transcript; `given` are the parameters of a request.

        Raises `RequestError` (`BadAudio`, `BadParameters`), `Cancelled`, `InferenceFailed`, and `OSError` for a path
        that cannot be read.
        """
        request = parameters.parse_parameters(given)
        data = audio if isinstance(audio, bytes) else Path(audio).read_bytes()
        made = self.pipeline.transcribe(data, request, listener)
        return Transcript(**{field.name: getattr(made, field.name) for field in fields(made)})


def load(
    asr_model: str | None = None,
    *,
    assistant_model: str | None = None,
    diarization_model: str | None = None,
    hf_token: str | None = None,
) -> Transcriber:
    """Load models by folder, name or Hub id; what is not given is the environment's (`ASR_MODEL` and the others).

    Raises `SettingsError` that says what is missing.
    """
    given = {
        "asr_model": asr_model,
        "assistant_model": assistant_model,
        "diarization_model": diarization_model,
        "hf_token": SecretStr(hf_token) if hf_token else None,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return Transcriber(load_pipeline(settings.load_settings(settings.ModelSettings, **chosen)))
