"""The life of one request: decode, transcribe, diarize, merge, answer.

Hugging Face Inference Endpoints imports this file and calls `EndpointHandler(path)(data)`. Read it top-down;
every step is one import away. It knows no HTTP.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

# One of the two serving containers loads this file by its path alone (DESIGN 4 of the project).
HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from config import InferenceConfig, ModelSettings, load_settings, parse_config  # noqa: E402
from diarization_utils import Diarizer, assign_speakers, diarize, embed, group_turns, load_diarizer  # noqa: E402
from turnscribe.answer import to_answer  # noqa: E402
from turnscribe.asr.protocol import Asr, AsrOptions, AsrResult, OnChunks, load_asr  # noqa: E402
from turnscribe.checkpoints.hub import resolve_model  # noqa: E402
from turnscribe.diarization.known_speakers import check_clip, check_names, named  # noqa: E402
from turnscribe.errors import BadAudio, BadParameters, InferenceFailed, OutOfMemory, TurnscribeError  # noqa: E402
from turnscribe.inputs.decode import Audio, Limits, decode_audio  # noqa: E402
from turnscribe.inputs.fetch import read_input  # noqa: E402
from turnscribe.side_by_side import side_by_side  # noqa: E402
from turnscribe.stages import Progress, ShouldStop, Stages  # noqa: E402
from turnscribe.transcript import Chunk, Transcript, Turn  # noqa: E402

log = logging.getLogger("turnscribe")

DIARIZATION_SHARE = 0.4  # of a request's time, for progress
CLIP_LIMITS = Limits(max_seconds=60, max_bytes=2**25)  # of a known speaker's clip

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def _with_incidents(method: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """What the caller cannot mend becomes `InferenceFailed` with an id; the log has the details under it."""

    @wraps(method)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return method(*args, **kwargs)
        except TurnscribeError:
            raise
        except Exception as error:
            handler: Any = args[0]
            incident = uuid.uuid4().hex[:12]
            details = traceback.format_exc().replace(handler.settings.token or "\0", "[HF_TOKEN]")
            log.error("request failed, incident %s\n%s", incident, details)
            if type(error).__name__ == "OutOfMemoryError":  # torch's, in a diarizer
                raise OutOfMemory("The device has too little memory for this request: try again, or less.") from error
            raise InferenceFailed(
                f"The request could not be answered; the endpoint's log has the details under {incident}."
            ) from error

    return guarded


class EndpointHandler:
    """A loaded set of models, called with one request at a time or from several threads.

    `path` is the repository's folder: model folders in the settings are looked for there first. The models may be
    passed in; what is not passed is loaded as `settings` (by default the environment) say. Raises `SettingsError`.
    """

    def __init__(
        self,
        path: str = "",
        settings: ModelSettings | None = None,
        *,
        asr: Asr | None = None,
        diarizer: Diarizer | None = None,
    ) -> None:
        self.settings = settings or load_settings()
        root = Path(path) if path else HERE
        self.device = device = _device()
        self.asr = asr or self._load_asr(root, device)
        self.diarizer = diarizer
        if diarizer is None and self.settings.diarization_model:
            self.diarizer = load_diarizer(
                self.settings.diarization_model, token=self.settings.token, device=device, root=root
            )
        self._diarizing = threading.Lock()  # a pyannote pipeline keeps state during a call

    def _load_asr(self, root: Path, device: str) -> Asr:
        assistant = self.settings.assistant_model
        return load_asr(
            resolve_model(self.settings.asr_model, root),
            assistant=resolve_model(assistant, root) if assistant else None,
            token=self.settings.token,
            device=device,
            backend=self.settings.asr_backend,
            dtype=self.settings.asr_dtype,
        )

    @_with_incidents
    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """`{"inputs": ..., "parameters": {...}}` to the answer, a JSON object of plain values.

        Raises `RequestError` (`BadAudio`, `BadParameters`) for what the caller can mend, and `InferenceFailed`
        with an id for anything else; the log holds the details under that id.
        """
        if not isinstance(data, dict) or data.get("inputs") is None:
            raise BadAudio("inputs is missing: send the audio as base64 in inputs, or as the body.")
        config = parse_config(data.get("parameters"))
        audio = read_input(data["inputs"], limits=self.limits, allow_urls=self.settings.allow_url_inputs)
        transcript = self.transcribe(audio, config)
        return to_answer(transcript, words=config.timestamps == "word", response_format=config.response_format)

    @_with_incidents
    def transcribe(
        self,
        audio: bytes,
        config: InferenceConfig,
        *,
        on_progress: Progress | None = None,
        should_stop: ShouldStop | None = None,
        on_chunks: OnChunks | None = None,
        known_speakers: Mapping[str, bytes] | None = None,
    ) -> Transcript:
        """The bytes of one recording to its transcript.

        `on_progress` gets the share done, 0 to 1, never less than before; `should_stop` is asked between batches.
        `on_chunks` gets further chunks in order of time as they are decoded, before their speakers are known; with
        channels="split", where the order is known at the end only, it gets none.
        `known_speakers` are files with people's voices, by name: who sounds like one of them gets that name.
        Raises `RequestError`, `Cancelled`, and `InferenceFailed` as `__call__` does.
        """
        import torch

        stages = Stages(on_progress)
        diarizing = self._wants_diarization(config)
        turns: Sequence[Turn] = ()
        with torch.inference_mode():
            with stages.timed("decode"):
                clips = self._clips(known_speakers or {}, diarizing)
                decoded = decode_audio(
                    audio,
                    limits=self.limits,
                    sampling_rate=config.sampling_rate,
                    encoding=config.encoding,
                    split_channels=config.channels == "split",
                )
            if diarizing:
                results, turns = side_by_side(
                    lambda stop: self._recognise(decoded, config, stages, 1 - DIARIZATION_SHARE, stop, on_chunks),
                    lambda stop: self._diarize(decoded.mono, config, clips, stages, stop),
                    should_stop=should_stop,
                    device=self.device,
                )
            else:
                results = self._recognise(decoded, config, stages, 1.0, should_stop, on_chunks)
        chunks = _by_channel(results) if config.channels == "split" else results[0].chunks
        if diarizing:
            chunks = assign_speakers(chunks, turns)
        speculations = [result.speculation for result in results if result.speculation]
        return Transcript(
            text="".join(chunk.text for chunk in chunks).strip(),
            chunks=chunks,
            duration=round(decoded.duration, 3),
            language=next((result.language for result in results if result.chunks), results[0].language),
            speakers=group_turns(chunks),
            turns=tuple(turns),
            timings=stages.timings(),
            warnings=self._warnings(config, decoded, results),
            speculation=sum(speculations[1:], speculations[0]) if speculations else None,
            task=config.task,
        )

    @property
    def limits(self) -> Limits:
        """What one input may cost, as the settings say."""
        return Limits(max_seconds=self.settings.max_audio_seconds, max_bytes=self.settings.max_input_bytes)

    def _wants_diarization(self, config: InferenceConfig) -> bool:
        if config.diarize and self.diarizer is None:
            raise BadParameters(
                "diarize is true and no diarizer is loaded: set DIARIZATION_MODEL on the endpoint, or leave it out."
            )
        return self.diarizer is not None and config.diarize is not False and config.channels == "mix"

    def _diarize(
        self,
        waveform: NDArray[np.float32],
        config: InferenceConfig,
        clips: Mapping[str, NDArray[np.float32]],
        stages: Stages,
        should_stop: ShouldStop | None,
    ) -> Sequence[Turn]:
        import torch

        diarizer = self.diarizer
        assert diarizer is not None
        with self._diarizing, stages.timed("diarization"), torch.inference_mode():  # of this thread
            turns = diarize(
                diarizer,
                waveform,
                **config.speaker_counts,
                on_progress=stages.part(DIARIZATION_SHARE),
                should_stop=should_stop,
            )
            threshold = self.settings.speaker_similarity
            return named(turns, waveform, clips, embed=partial(embed, diarizer), threshold=threshold)

    def _clips(self, known_speakers: Mapping[str, bytes], diarizing: bool) -> dict[str, NDArray[np.float32]]:
        """The waveforms `[samples]` of the clips."""
        if known_speakers and not diarizing:
            raise BadParameters("Known speakers were sent and nobody is told apart: leave them out, or diarize.")
        check_names(list(known_speakers))
        clips = {name: decode_audio(file, limits=CLIP_LIMITS).mono for name, file in known_speakers.items()}
        for name, clip in clips.items():
            check_clip(name, clip)
        return clips

    def _recognise(
        self,
        decoded: Audio,
        config: InferenceConfig,
        stages: Stages,
        weight: float,
        should_stop: ShouldStop | None,
        on_chunks: OnChunks | None,
    ) -> list[AsrResult]:
        """One result for each channel; word times too where speakers depend on them."""
        options = AsrOptions(
            task=config.task,
            language=config.language,
            batch_size=config.batch_size,
            chunk_length_s=config.chunk_length_s,
            assisted=config.assisted,
            words=config.timestamps == "word" or self._wants_diarization(config),
            prompt=config.prompt,
            temperature=config.temperature,
            compression_ratio_threshold=config.compression_ratio_threshold,
            logprob_threshold=config.logprob_threshold,
            no_speech_threshold=config.no_speech_threshold,
        )
        share = weight / len(decoded.channels)  # of the request
        with stages.timed("asr"):
            return [
                self.asr.transcribe(
                    channel,
                    options,
                    on_progress=stages.part(share),
                    should_stop=should_stop,
                    on_chunks=on_chunks if config.channels == "mix" else None,
                )
                for channel in decoded.channels
            ]

    def _warnings(self, config: InferenceConfig, decoded: Audio, results: Sequence[AsrResult]) -> tuple[str, ...]:
        warnings = list(decoded.warnings)
        if config.ignored:
            warnings.append(f"Unknown parameters were ignored: {', '.join(config.ignored)}.")
        if config.speaker_counts and not self._wants_diarization(config):
            reason = "diarize is false" if self.diarizer is not None else "no diarizer is loaded"
            warnings.append(f"{' and '.join(config.speaker_counts)} had no effect: {reason}.")
        for result in results:
            warnings += result.warnings
        return tuple(dict.fromkeys(warnings))


def _by_channel(results: Sequence[AsrResult]) -> tuple[Chunk, ...]:
    """Every channel's chunks by time, spoken by that channel."""
    chunks = []
    for index, result in enumerate(results):
        speaker = f"CHANNEL_{index:02d}"
        for chunk in result.chunks:
            words = tuple(replace(word, speaker=speaker) for word in chunk.words)
            chunks.append(replace(chunk, speaker=speaker, words=words))
    return tuple(sorted(chunks, key=lambda chunk: chunk.start))


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
