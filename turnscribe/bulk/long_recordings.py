"""One very long recording on many machines: split in pauses, transcribed apart, merged with one speaker numbering.

The cuts are between two windows of the whole recording, and every part is told where in it somebody speaks. So the
parts hold the windows that a single machine would decode, and the merged text is that machine's. Which speakers of
two parts are one person no machine can know by itself: every part brings an embedding of each of its speakers, and
`voices.py` compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise

from turnscribe.asr.spoken_language import FIRST_WINDOWS
from turnscribe.asr.window_text import windows_to_decode
from turnscribe.assemble import GroupTurns, assemble
from turnscribe.bulk.voices import PartSpeaker, Voice, name_speakers
from turnscribe.deployment import Deployment
from turnscribe.diarization.diarizer import Diarizer, count_warnings, embed
from turnscribe.diarization.known_speakers import voice_of
from turnscribe.diarization.merge import assign_speakers, group_turns
from turnscribe.errors import InferenceFailed
from turnscribe.parameters import parameters_of
from turnscribe.pipeline import AssignSpeakers, Pipeline
from turnscribe.request import FOR_THE_DETECTOR, DecodingOptions, Request
from turnscribe.speech.speech_map import SpeechMap
from turnscribe.transcript import Chunk, Transcript, Turn, Word
from turnscribe.transcript_json import from_json, to_json
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_wav
from turnscribe.whisper.windows import Window

CUTS_TRIED = 4  # places where a part might end
# Parameters that say how the whole recording's file is read.
OF_THE_FILE = ("encoding", "sampling_rate", "audio_track")


@dataclass(frozen=True)
class PartTranscript:
    """One part's transcript, in its own times, and the voice of each of its speakers, an embedding `[D]`."""

    offset: float  # seconds from the start of the recording
    transcript: Transcript
    voices: Mapping[str, Sequence[float]] = field(default_factory=dict)
    similarity: float = 0.5  # the least cosine of two voices of one person, as the part's diarizer judges

    def to_json(self) -> str:
        return json.dumps(
            {
                "offset": self.offset,
                "transcript": json.loads(to_json(self.transcript)),
                "voices": {speaker: list(voice) for speaker, voice in self.voices.items()},
                "similarity": self.similarity,
            }
        )

    @staticmethod
    def from_json(text: str) -> PartTranscript:
        values = json.loads(text)
        transcript = from_json(json.dumps(values["transcript"]))
        return PartTranscript(values["offset"], transcript, values["voices"], values.get("similarity", 0.5))


# --- Splitting ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Samples `start` to `stop` of a recording, and where in them somebody speaks, in seconds of the part."""

    start: int
    stop: int
    speech: SpeechMap | None

    @property
    def offset(self) -> float:
        """Seconds from the start of the recording."""
        return self.start / SAMPLE_RATE


def split(
    waveform: Waveform, speech: SpeechMap | None, options: DecodingOptions, *, part_seconds: float
) -> list[Part]:
    """Parts of about `part_seconds` that together cover `waveform` `[samples]` once, in order.

    Where a cut is due, that of the nearest pauses between two windows is taken that leaves the windows as they are:
    other windows would give another text.
    """
    windows = windows_to_decode(waveform, speech, options)
    cuts = [(before.stop + after.start) // 2 for before, after in pairwise(windows)]
    number = max(round(len(waveform) / SAMPLE_RATE / part_seconds), 1)
    parts: list[Part] = []
    start = 0
    for index in range(1, number):
        due = len(waveform) * index // number
        near = sorted((cut for cut in cuts if cut > start), key=lambda cut: abs(cut - due))
        for cut in near[:CUTS_TRIED]:
            part = _part(speech, start, cut)
            if _windows(waveform, part, options) == [
                one for one in windows if start <= one.start and one.stop <= cut
            ]:
                parts.append(part)
                start = cut
                break
    if start < len(waveform):
        parts.append(_part(speech, start, len(waveform)))
    return parts


def _part(speech: SpeechMap | None, start: int, stop: int) -> Part:
    of_part = None if speech is None else speech.part(start / SAMPLE_RATE, stop / SAMPLE_RATE)
    return Part(start, stop, of_part)


def _windows(waveform: Waveform, part: Part, options: DecodingOptions) -> list[Window]:
    """Those of a part by itself, on the recording's clock."""
    alone = windows_to_decode(waveform[part.start : part.stop], part.speech, options)
    return [window.later(part.start) for window in alone]


# --- Transcribing -------------------------------------------------------------------------------------------


def opening(waveform: Waveform, speech: SpeechMap | None, options: DecodingOptions) -> Waveform:
    """The start of a recording `[samples]`, by which its language is judged; empty where nobody speaks."""
    first = windows_to_decode(waveform, speech, options)[:FIRST_WINDOWS]
    return waveform[: first[-1].stop] if first else waveform[:0]


def judge_language(
    waveform: Waveform, speech: SpeechMap | None, options: DecodingOptions, pipeline: Pipeline
) -> str | None:
    """The language spoken in a recording `[samples]`, as the engine would judge it; `None` where nobody speaks."""
    if options.language:
        return options.language
    beginning = opening(waveform, speech, options)
    if not len(beginning):
        return None
    stretches = None if speech is None else speech.stretches
    decoding = replace(options, task="transcribe", speech=stretches, full_windows=True)
    return pipeline.transcribe(to_wav(beginning), Request(decoding=decoding, diarize=False)).language


def part_parameters(request: Request, language: str | None, speech: SpeechMap | None) -> dict[str, object]:
    """The parameters of a request for one part, all of them, so that no default changes them on the way.

    `speech` is the part's. Fewer people than in the whole may speak in it.
    """
    # the whole is no short recording, whatever a part of it is
    decoding = replace(request.decoding, language=language or request.decoding.language, full_windows=True)
    if speech is not None:  # what the detector was told has had its effect
        detector = {name: getattr(DecodingOptions, name) for name in FOR_THE_DETECTOR}
        decoding = replace(decoding, speech=speech.stretches, **detector)
    counts = request.speaker_counts
    most = counts.get("num_speakers") or counts.get("max_speakers")
    part = replace(
        request,
        decoding=decoding,
        num_speakers=None,
        min_speakers=1 if counts and most is None else None,  # a count that is given puts the operator's aside
        max_speakers=most,
        response_format=None,
    )
    return {name: value for name, value in parameters_of(part).items() if name not in OF_THE_FILE}


def part_request(parameters: Mapping[str, object], deployment: Deployment) -> Request:
    """`part_parameters` for a wav file of ours, whatever the operator's default for files is."""
    return replace(deployment.parse(parameters), encoding=None, sampling_rate=SAMPLE_RATE, audio_track=None)


def transcribe_part(
    audio: bytes, offset: float, parameters: Mapping[str, object], deployment: Deployment
) -> PartTranscript:
    """The wav file of a part to its transcript and voices. Raises what `Pipeline.transcribe` raises."""
    from turnscribe.inputs.decode import decode_audio

    pipeline = deployment.pipeline()
    transcript = pipeline.transcribe(audio, part_request(parameters, deployment))
    if not transcript.turns:
        return PartTranscript(offset, transcript)
    assert pipeline.diarizer is not None
    waveform = decode_audio(audio, limits=pipeline.limits).mono
    voices = _embeddings(waveform, transcript.turns, pipeline.diarizer)
    return PartTranscript(offset, transcript, voices, pipeline.diarizer.speaker_similarity)


def _embeddings(waveform: Waveform, turns: Sequence[Turn], diarizer: Diarizer) -> dict[str, Sequence[float]]:
    import torch

    try:
        with torch.inference_mode():
            return {
                speaker: [float(value) for value in embed(diarizer, voice_of(waveform, turns, speaker))]
                for speaker in sorted({turn.speaker for turn in turns})
            }
    except RuntimeError as error:  # a device that fails or is full
        raise InferenceFailed("The voices of a part could not be compared: try again.") from error


# --- Merging ------------------------------------------------------------------------------------------------


def merge(
    parts: Sequence[PartTranscript],
    request: Request | None = None,
    *,
    threshold: float | None = None,
    assign_speakers: AssignSpeakers = assign_speakers,
    group_turns: GroupTurns = group_turns,
) -> Transcript:
    """One transcript of the whole recording; speakers are numbered in the order in which they first speak.

    `threshold` is the least cosine of the angle between two voices of one person (`SPEAKER_SIMILARITY`); without it,
    the parts' own counts. The speaker counts of the whole recording's `request` win over it. Two speakers of one part
    stay two.
    """
    request = request or Request()
    parts = sorted(parts, key=lambda part: part.offset)
    names = name_speakers(
        _voices(parts),
        threshold=threshold or max((part.similarity for part in parts if part.voices), default=0.5),
        fewest=request.num_speakers or request.min_speakers,
        most=request.num_speakers or request.max_speakers,
    )
    chunks: list[Chunk] = []
    turns: list[Turn] = []
    for index, part in enumerate(parts):
        own = {speaker: name for (owner, speaker), name in names.items() if owner == index}
        chunks += [_moved(chunk, part.offset, own) for chunk in part.transcript.chunks]
        turns += [
            Turn(own[turn.speaker], _later(turn.start, part.offset), _later(turn.end, part.offset))
            for turn in part.transcript.turns
        ]
    if turns:  # what was said in a part without turns is the nearest speaker's, as in one recording
        chunks = [
            piece for chunk in chunks for piece in ([chunk] if chunk.speaker else assign_speakers([chunk], turns))
        ]
    transcripts = [part.transcript for part in parts]
    stages = dict.fromkeys(stage for transcript in transcripts for stage in transcript.timings)
    return assemble(
        chunks,
        turns,
        duration=sum(transcript.duration for transcript in transcripts),
        language=next((transcript.language for transcript in transcripts if transcript.chunks), None),
        timings={stage: round(sum(t.timings.get(stage, 0.0) for t in transcripts), 3) for stage in stages},
        warnings=chain(
            count_warnings(request, turns),
            (_placed(warning, part) for part in parts for warning in part.transcript.warnings),
        ),
        speculations=(transcript.speculation for transcript in transcripts),
        task=request.decoding.task,
        group_turns=group_turns,
    )


def _voices(parts: Sequence[PartTranscript]) -> dict[PartSpeaker, Voice]:
    """Of each speaker of each part, in the order in which they first speak."""
    seconds: dict[PartSpeaker, float] = {}
    for index, part in enumerate(parts):
        for turn in part.transcript.turns:
            speaker = (index, turn.speaker)
            seconds[speaker] = seconds.get(speaker, 0.0) + turn.end - turn.start
    return {(index, name): Voice(parts[index].voices[name], length) for (index, name), length in seconds.items()}


def _moved(chunk: Chunk, offset: float, names: Mapping[str, str]) -> Chunk:
    def moved(word: Word) -> Word:
        speaker = names.get(word.speaker or "", word.speaker)
        return replace(word, start=_later(word.start, offset), end=_later(word.end, offset), speaker=speaker)

    return replace(
        chunk,
        start=_later(chunk.start, offset),
        end=_later(chunk.end, offset),
        words=tuple(moved(word) for word in chunk.words),
        speaker=names.get(chunk.speaker or "", chunk.speaker),
    )


def _later(seconds: float, offset: float) -> float:
    return round(seconds + offset, 3)


def _placed(warning: str, part: PartTranscript) -> str:
    """Times in a warning are the part's: say which one it is."""
    return f"From {part.offset:.0f} s: {warning}" if part.offset else warning
