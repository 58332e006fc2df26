"""From the bytes of a recording to its transcript: the one place that knows the order.

1. decode the bytes, and the clips of known speakers
2. find where somebody speaks, in every channel
3. recognise every channel; on a GPU, diarize beside it
4. name the speakers that are known
5. merge: every word its speaker
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from turnscribe.asr.capabilities import Capabilities
from turnscribe.asr.protocol import Asr, Recognition, TellsHowItRuns
from turnscribe.asr.registry import load_asr
from turnscribe.assemble import GroupTurns, assemble
from turnscribe.costs import Costs, Workload
from turnscribe.devices import Device, Running
from turnscribe.diarization.diarizer import Diarizer, HasFastTwin, count_warnings, diarize, embed, load_diarizer
from turnscribe.diarization.known_speakers import check_clip, check_names, name_known_speakers, voice_of
from turnscribe.diarization.merge import assign_speakers, group_turns
from turnscribe.diarization.voice_folder import VoiceFolder
from turnscribe.errors import BadParameters, InferenceFailed, SettingsError
from turnscribe.incidents import incidents
from turnscribe.inputs.decode import Audio, decode_audio
from turnscribe.inputs.limits import Limits
from turnscribe.listener import SILENT, Listener
from turnscribe.request import Request
from turnscribe.settings import ModelSettings
from turnscribe.side_by_side import side_by_side
from turnscribe.speech.detector import SpeechDetector, load_speech_detector
from turnscribe.speech.speech_map import SpeechMap
from turnscribe.speeds import Speeds
from turnscribe.stages import Stages
from turnscribe.threads import limit_threads
from turnscribe.transcript import Chunk, Transcript, Turn
from turnscribe.waveform import SAMPLE_RATE, Waveform

log = logging.getLogger("turnscribe")

SHORTEST_VOICE = 0.25  # seconds: less has no embedding
CLIP_LIMITS = Limits(max_seconds=60, max_bytes=2**25)  # of a known speaker's clip

LoadPipeline: TypeAlias = "Callable[[ModelSettings], Transcriber]"
Diarize: TypeAlias = Callable[[Diarizer, Waveform, Request, Listener], Sequence[Turn]]
AssignSpeakers: TypeAlias = Callable[[Sequence[Chunk], Sequence[Turn]], Sequence[Chunk]]


@dataclass(frozen=True)
class Voices:
    """Who speaks when in some seconds; of each speaker an embedding `[D]`, and how many seconds it is of."""

    turns: tuple[Turn, ...] = ()
    embeddings: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


class Transcriber(Protocol):
    """What a server needs of a pipeline, wherever its models are."""

    @property
    def settings(self) -> ModelSettings: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def has_diarizer(self) -> bool: ...

    @property
    def running(self) -> Running | None:
        """How the backend runs, where it tells."""

    @property
    def voice_similarity(self) -> float | None:
        """The least cosine of one person's embeddings; `None` where nobody can be told apart by `voices`."""

    def transcribe(self, audio: bytes, request: Request, listener: Listener = SILENT) -> Transcript: ...

    def voices(self, waveform: Waveform) -> Voices:
        """Who speaks when in some seconds `[samples]`, and what each sounds like."""

    def known_voices(self, clips: Mapping[str, bytes]) -> dict[str, NDArray[np.float32]]:
        """An embedding `[D]` of each person, by name, from files with their voices. Raises `TurnscribeError`."""


class Pipeline:
    """Loaded models, called with one recording at a time or from several threads.

    The `detector` finds where somebody speaks; without one, the package's own is loaded.
    `diarize`, `assign_speakers` and `group_turns` say who speaks when, and whose words are whose: an endpoint may
    have its own. `speeds` are those of this machine, as far as they are known, and are learnt.
    """

    def __init__(
        self,
        settings: ModelSettings,
        asr: Asr,
        diarizer: Diarizer | None = None,
        *,
        detector: SpeechDetector | None = None,
        device: str | Device = "cpu",
        diarize: Diarize = diarize,
        assign_speakers: AssignSpeakers = assign_speakers,
        group_turns: GroupTurns = group_turns,
        speeds: Speeds | None = None,
    ) -> None:
        self.settings, self.asr, self.diarizer, self.device = settings, asr, diarizer, device
        self.detector = detector or load_speech_detector(device)
        self._diarize, self._assign_speakers, self._group_turns = diarize, assign_speakers, group_turns
        self.speeds = Speeds() if speeds is None else speeds
        self._process = os.getpid()
        self._diarizing = threading.Lock()  # a pyannote pipeline keeps state during a call
        self._voices_folder = _voices_folder(settings, diarizer)

    @property
    def running(self) -> Running | None:
        """How the backend runs, where it tells."""
        return self.asr.running if isinstance(self.asr, TellsHowItRuns) else None

    @property
    def limits(self) -> Limits:
        """What one input may cost, as the settings say."""
        return self.settings.limits

    @property
    def capabilities(self) -> Capabilities:
        """The recogniser's."""
        return self.asr.capabilities

    @property
    def has_diarizer(self) -> bool:
        """Whether it can tell speakers apart."""
        return self.diarizer is not None

    @property
    def voice_similarity(self) -> float | None:
        """The least cosine of one person's embeddings."""
        if self.diarizer is None:
            return None
        return self.settings.speaker_similarity or self.diarizer.speaker_similarity

    def voices(self, waveform: Waveform) -> Voices:
        """Who speaks when in some seconds `[samples]`, and what each sounds like, as soon as can be.

        Nobody, while a pyannote pipeline is at another recording. Raises `InferenceFailed`.
        """
        diarizer: Diarizer | None = self.diarizer
        if diarizer is None:
            return Voices()
        if isinstance(diarizer, HasFastTwin):
            return self._voices(diarizer.fast, waveform)
        if not self._diarizing.acquire(blocking=False):  # a recording is being diarized, for minutes perhaps
            return Voices()
        try:
            return self._voices(diarizer, waveform)
        finally:
            self._diarizing.release()

    def known_voices(self, clips: Mapping[str, bytes]) -> dict[str, NDArray[np.float32]]:
        """An embedding `[D]` of each person, by name, from files with their voices, and of those in `VOICES_FOLDER`.

        Raises `BadParameters` and `BadAudio` as a request with `known_speakers` does, and `InferenceFailed`.
        """
        import torch

        diarizer: Diarizer | None = self.diarizer
        decoded = _decoded_clips(clips, diarizer is not None)
        if diarizer is None:
            return {}
        own: Diarizer = diarizer.fast if isinstance(diarizer, HasFastTwin) else diarizer
        alone = self._diarizing if own is diarizer else nullcontext()
        with alone, incidents(secret=self.settings.token), torch.inference_mode():
            return self._people(own, decoded, folder=True)

    def _people(
        self, diarizer: Diarizer, clips: Mapping[str, Waveform], *, folder: bool
    ) -> dict[str, NDArray[np.float32]]:
        """Embeddings `[D]` by name: of clips, and with `folder` of the other people in `VOICES_FOLDER`."""
        people = {name: embed(diarizer, clip) for name, clip in clips.items()}
        if folder and self._voices_folder is not None:
            people = self._voices_folder.people(partial(embed, diarizer)) | people
        return people

    def _voices(self, diarizer: Diarizer, waveform: Waveform) -> Voices:
        import torch

        with incidents(secret=self.settings.token), torch.inference_mode():
            turns = tuple(self._diarize(diarizer, waveform, Request(), SILENT))
            speakers = dict.fromkeys(turn.speaker for turn in turns)
            heard = {speaker: voice_of(waveform, turns, speaker) for speaker in speakers}
            long = {speaker: voice for speaker, voice in heard.items() if len(voice) >= SHORTEST_VOICE * SAMPLE_RATE}
            embeddings = {speaker: embed(diarizer, voice) for speaker, voice in long.items()}
        known = {speaker: one for speaker, one in embeddings.items() if np.isfinite(one).all()}
        return Voices(turns, known, {speaker: len(voice) / SAMPLE_RATE for speaker, voice in heard.items()})

    def transcribe(self, audio: bytes, request: Request, listener: Listener = SILENT) -> Transcript:
        """The bytes of one recording to its transcript.

        The listener gets further chunks before their speakers are known; with channels="split", where the order is
        known at the end only, it gets none. Raises `RequestError` (`BadAudio`, `BadParameters`) for what the caller
        can mend, `Cancelled`, and `InferenceFailed` with an id for anything else; the log holds the details under it.
        """
        import torch

        if os.getpid() != self._process:  # torch's threads have stayed behind, and it would wait for them for ever
            raise InferenceFailed(
                "The models were loaded before this process was forked, and work only in the one that "
                "loaded them: load them after the fork (gunicorn without --preload, multiprocessing by spawn)."
            )
        with incidents(secret=self.settings.token), torch.inference_mode(), Stages(listener) as stages:
            return self._transcribe(audio, request, listener, stages)

    def _transcribe(self, audio: bytes, request: Request, listener: Listener, stages: Stages) -> Transcript:
        diarizing = self._diarizes(request)
        is_open = isinstance(self.diarizer, HasFastTwin)
        costs = Costs(self.settings, self.asr, self.device, self.speeds, open=is_open)
        workload = Workload(costs, stages, request, diarizing=diarizing)
        with stages.timed("decode"):
            clips = _decoded_clips(request.known_speakers, diarizing)
            decoded = decode_audio(
                audio,
                limits=self.limits,
                sampling_rate=request.sampling_rate,
                encoding=request.encoding,
                split_channels=request.channels == "split",
                audio_track=request.audio_track,
                on_duration=workload.plan,
            )
        workload.plan(decoded.duration, len(decoded.channels))
        speech = self._speech_of_channels(decoded, request, stages, listener)
        workload.heard(speech)
        turns: Sequence[Turn] = ()
        if diarizing and _anybody(speech):
            recognitions, turns = side_by_side(
                partial(self._recognise, decoded, speech, request, stages),
                partial(self._find_turns, decoded.mono, _with_speech(request, speech[0]), clips, stages),
                listener=listener,
                device=self.device,
            )
        else:
            recognitions = self._recognise(decoded, speech, request, stages, listener)
        workload.learn()
        chunks = _by_channel(recognitions) if request.channels == "split" else recognitions[0].chunks
        if diarizing:
            chunks = tuple(self._assign_speakers(chunks, turns))
        return assemble(
            chunks,
            turns,
            duration=decoded.duration,
            language=next((one.language for one in recognitions if one.chunks), recognitions[0].language),
            timings=stages.timings(),
            warnings=chain(
                decoded.warnings,
                self._warnings(request),
                count_warnings(request, turns),
                *(one.warnings for one in recognitions),
                _missing_words(request, chunks),
            ),
            speculations=[one.speculation for one in recognitions],
            task=request.decoding.task,
            group_turns=self._group_turns,
        )

    def find_speech(self, waveform: Waveform, request: Request, listener: Listener = SILENT) -> SpeechMap | None:
        """Where somebody speaks in a waveform `[samples]`; `None` where the request does not want to know."""
        options = request.decoding
        if not options.vad:
            return None
        if options.speech is not None:
            return SpeechMap.of(options.speech, len(waveform) / SAMPLE_RATE)
        return self.detector.find(
            waveform,
            threshold=options.vad_threshold,
            min_speech_duration_ms=options.vad_min_speech_duration_ms,
            listener=listener,
        )

    def _speech_of_channels(
        self, decoded: Audio, request: Request, stages: Stages, listener: Listener
    ) -> list[SpeechMap | None]:
        """Of each channel."""
        found = []
        with stages.timed("speech"):
            for number, channel in enumerate(decoded.channels):
                progress = stages.part("speech", *_part(number, len(decoded.channels)))
                listening = Listener(on_progress=progress, should_stop=listener.should_stop)
                found.append(self.find_speech(channel, request, listening))
                progress(1.0)
        return found

    def _recognise(
        self,
        decoded: Audio,
        speech: Sequence[SpeechMap | None],
        request: Request,
        stages: Stages,
        listener: Listener,
    ) -> list[Recognition]:
        """One recognition for each channel."""
        if request.channels == "split":
            listener = Listener(should_stop=listener.should_stop)
        recognitions = []
        with stages.timed("asr"):
            for number, (channel, of_channel) in enumerate(zip(decoded.channels, speech, strict=True)):
                progress = stages.part("asr", *_part(number, len(decoded.channels)))
                listening = replace(listener, on_progress=progress)
                recognitions.append(self.asr.transcribe(channel, request.decoding, listening, of_channel))
        return recognitions

    def _find_turns(
        self, waveform: Waveform, request: Request, clips: Mapping[str, Waveform], stages: Stages, listener: Listener
    ) -> Sequence[Turn]:
        import torch

        assert self.diarizer is not None
        with self._diarizing, stages.timed("diarization"), torch.inference_mode():  # of this thread
            listener = replace(listener, on_progress=stages.part("diarization"))
            turns = self._diarize(self.diarizer, waveform, request, listener)
            people = self._people(self.diarizer, clips, folder=request.known_voices)
            if not people:
                return turns
            threshold = self.voice_similarity
            assert threshold is not None
            return name_known_speakers(
                turns, waveform, people, embed=partial(embed, self.diarizer), threshold=threshold
            )

    def _diarizes(self, request: Request) -> bool:
        if request.diarize and self.diarizer is None:
            raise BadParameters(
                "diarize is true and no diarizer is loaded: set DIARIZATION_MODEL on the endpoint, or leave it out."
            )
        return self.diarizer is not None and request.diarize is not False and request.channels == "mix"

    def _warnings(self, request: Request) -> list[str]:
        """What was sent and has no effect."""
        warnings = list(request.without_effect)
        if request.speaker_counts and not self._diarizes(request):
            reason = "diarize is false" if self.diarizer is not None else "no diarizer is loaded"
            warnings.append(f"{' and '.join(request.speaker_counts)} had no effect: {reason}.")
        return warnings


def load_pipeline(settings: ModelSettings, *, root: Path = Path()) -> Pipeline:
    """Load the models that the settings name; relative folders are looked for in `root` first.

    Raises `SettingsError` that names the variable.
    """
    device, token = best_device(), settings.token
    limit_threads(device)
    asr = load_asr(
        settings.asr_model,
        assistant=settings.assistant_model,
        token=token,
        device=device,
        backend=settings.asr_backend,
        dtype=settings.asr_dtype,
        root=root,
    )
    diarizer = None
    if settings.diarization_model:
        diarizer = load_diarizer(
            settings.diarization_model, token=token, device=device, root=root, effort=settings.diarization_effort
        )
    return Pipeline(settings, asr, diarizer, device=device)


def best_device() -> str:
    """A GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _voices_folder(settings: ModelSettings, diarizer: Diarizer | None) -> VoiceFolder | None:
    """The folder of known voices, once all in it can be read; those of another diarizer are told in the log.

    Raises `SettingsError`.
    """
    if settings.voices_folder is None:
        return None
    if diarizer is None:
        raise SettingsError(
            "VOICES_FOLDER has voices and no diarizer is loaded: set DIARIZATION_MODEL, or leave it out."
        )
    folder = VoiceFolder(settings.voices_folder)
    others = len(folder.voices()) - len(folder.people(partial(embed, diarizer)))
    if others:
        noun = "one voice" if others == 1 else f"{others} voices"
        log.warning("VOICES_FOLDER has %s of another diarizer, which cannot be compared: add them again.", noun)
    return folder


def _decoded_clips(known_speakers: Mapping[str, bytes], diarizing: bool) -> dict[str, Waveform]:
    if known_speakers and not diarizing:
        raise BadParameters("Known speakers were sent and nobody is told apart: leave them out, or diarize.")
    check_names(list(known_speakers))
    clips = {name: decode_audio(file, limits=CLIP_LIMITS).mono for name, file in known_speakers.items()}
    for name, clip in clips.items():
        check_clip(name, clip)
    return clips


def _missing_words(request: Request, chunks: Sequence[Chunk]) -> list[str]:
    if request.word_times and chunks and not any(chunk.words for chunk in chunks):
        return ["The model's backend does not time words: there are none."]
    return []


def _with_speech(request: Request, speech: SpeechMap | None) -> Request:
    """The request that knows where somebody speaks, so that the diarizer need not listen elsewhere."""
    if speech is None:
        return request
    return replace(request, decoding=replace(request.decoding, speech=speech.stretches))


def _part(number: int, of: int) -> tuple[float, float]:
    """The first and the last share of a stage that is done `of` times."""
    return number / of, (number + 1) / of


def _anybody(speech: Sequence[SpeechMap | None]) -> bool:
    """Whether somebody speaks, as far as is known."""
    return any(of_channel is None or of_channel.stretches for of_channel in speech)


def _by_channel(recognitions: Sequence[Recognition]) -> tuple[Chunk, ...]:
    """Every channel's chunks by time, spoken by that channel."""
    chunks = []
    for index, recognition in enumerate(recognitions):
        speaker = f"CHANNEL_{index:02d}"
        for chunk in recognition.chunks:
            words = tuple(replace(word, speaker=speaker) for word in chunk.words)
            chunks.append(replace(chunk, speaker=speaker, words=words))
    return tuple(sorted(chunks, key=lambda chunk: chunk.start))
