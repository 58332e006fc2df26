"""What the stages of a request will take, with its models and device: by what was seen of them, else a guess."""

from __future__ import annotations

from collections.abc import Sequence

from turnscribe.asr.protocol import Asr, TellsItsCost
from turnscribe.checkpoints.hub import display_name
from turnscribe.devices import Device, device_of
from turnscribe.request import Request
from turnscribe.settings import ModelSettings
from turnscribe.speech.speech_map import SpeechMap
from turnscribe.speeds import Expected, Speeds
from turnscribe.stages import Stages

LEAST_LEARNT = 5.0  # seconds of audio: of less, most of the time is something else

# Seconds for a second of audio where nothing was seen yet, measured on two cores, and reckoned for a GPU.
GUESSES = {
    "cpu": {
        "decode": 0.0004,
        "speech": 0.0008,
        "asr": 0.06,
        "open exact": 0.145,
        "open fast": 0.032,
        "pyannote exact": 0.25,
        "pyannote fast": 0.05,
    },
    "cuda": {
        "decode": 0.002,
        "speech": 0.0005,
        "asr": 0.005,
        "open exact": 0.005,
        "open fast": 0.002,
        "pyannote exact": 0.02,
        "pyannote fast": 0.004,
    },
}


class Costs:
    """Of a pipeline's requests; what they took is learnt from."""

    def __init__(
        self, settings: ModelSettings, asr: Asr, device: str | Device, speeds: Speeds, *, open: bool
    ) -> None:
        """`open`: the diarizer is the open one."""
        self.settings, self.asr, self.speeds = settings, asr, speeds
        self.device = device_of(device)
        self._kind = "open" if open else "pyannote"

    def expect(self, stage: str, audio: float, request: Request) -> Expected:
        """Of `audio` seconds."""
        tells = stage == "speech" or (stage == "asr" and isinstance(self.asr, TellsItsCost))
        return self.speeds.expect(stage, self._how(stage, request), audio, guess=self._guess(stage), tells=tells)

    def learn(self, stage: str, audio: float, work: float, request: Request) -> None:
        """`audio` seconds took `work` seconds."""
        self.speeds.add(stage, self._how(stage, request), audio, work)

    def _guess(self, stage: str) -> float:
        if stage == "asr" and isinstance(self.asr, TellsItsCost):
            return self.asr.seconds_a_second
        guesses = GUESSES.get(self.device.kind, GUESSES["cpu"])
        return guesses[f"{self._kind} {self.settings.diarization_effort}" if stage == "diarization" else stage]

    def _how(self, stage: str, request: Request) -> str:
        """What makes a difference to the speed."""
        settings, options, device = self.settings, request.decoding, self.device.name
        if stage == "diarization":
            return f"{display_name(settings.diarization_model or '')}, {settings.diarization_effort}, {device}"
        if stage != "asr":
            return device
        parts = [display_name(settings.asr_model), settings.asr_backend, settings.asr_dtype, device]
        if options.assisted:
            parts.append(f"assisted by {display_name(settings.assistant_model or '')}")
        if options.num_beams > 1:
            parts.append(f"{options.num_beams} beams")
        if options.word_times:
            parts.append("words")
        return ", ".join(parts)


class Workload:
    """One request's stages: planned as far as is known what there is to do, and learnt from once they are done."""

    def __init__(self, costs: Costs, stages: Stages, request: Request, *, diarizing: bool) -> None:
        self._costs, self._stages, self._request, self._diarizing = costs, stages, request, diarizing
        self._audio: dict[str, float] = {}  # seconds that a stage is to work on

    def plan(self, duration: float, channels: int = 1) -> None:
        """Before it is known where in so many seconds somebody speaks."""
        speech = duration * channels
        self._set({"decode": duration, "speech": speech, "asr": speech, "diarization": duration})

    def heard(self, speech: Sequence[SpeechMap | None]) -> None:
        """Where somebody speaks, in each channel; `None` where nobody knows."""
        duration, channels = self._audio["decode"], len(speech)
        seconds = sum(duration if of_channel is None else of_channel.seconds for of_channel in speech)
        self._diarizing = self._diarizing and seconds > 0
        self._set({**self._audio, "asr": seconds, "diarization": seconds / channels})

    def learn(self) -> None:
        for stage, audio in self._audio.items():
            if audio >= LEAST_LEARNT and (seconds := self._stages.seconds(stage)):
                self._costs.learn(stage, audio, seconds, self._request)

    def _set(self, audio: dict[str, float]) -> None:
        self._audio = audio
        expected = {stage: self._costs.expect(stage, seconds, self._request) for stage, seconds in audio.items()}
        steps = [{"decode": expected["decode"]}, {"speech": expected["speech"]}, {"asr": expected["asr"]}]
        if self._diarizing and self._costs.device.kind == "cuda":
            steps[-1]["diarization"] = expected["diarization"]
        elif self._diarizing:
            steps.append({"diarization": expected["diarization"]})
        self._stages.plan(*steps)
