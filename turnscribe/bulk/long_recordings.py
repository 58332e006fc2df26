"""One very long recording on many machines: split in pauses, transcribed apart, merged with one speaker numbering.

The cuts are between two windows of the whole recording, so the parts hold the windows that a single machine would
decode, but for a tenth of a second at their edges, and the merged text is that machine's but for a word here and
there. Which speakers of two parts are one person no machine can know by itself: every part brings an embedding of
each of its speakers, and `voices.py` compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from math import inf

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
from turnscribe.request import Request
from turnscribe.transcript import Chunk, Transcript, Turn, Word
from turnscribe.transcript_json import from_json, to_json
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_wav
from turnscribe.whisper.windows import Window

CUTS_TRIED = 4  # places where a part might end
SAME_WINDOW = 0.1  # seconds by which the edge of a window may be elsewhere in a part than in the whole
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


def split(waveform: Waveform, request: Request, pipeline: Pipeline, *, part_seconds: float) -> list[Window]:
    """Parts of about `part_seconds` that together cover `waveform` `[samples]` once, in order.

    Where a cut is due, that of the nearest pauses between two windows is taken that leaves the windows as they are,
    but for a tenth of a second: other windows would give another text.
    """
    windows = _windows(waveform, request, pipeline)
    cuts = [(before.stop + after.start) // 2 for before, after in pairwise(windows)]
    number = max(round(len(waveform) / SAMPLE_RATE / part_seconds), 1)
    chosen = [0]
    for index in range(1, number):
        due = len(waveform) * index // number
        near = sorted((cut for cut in cuts if cut > chosen[-1]), key=lambda cut: abs(cut - due))
        differences = [
            _difference(waveform, windows, chosen[-1], cut, request, pipeline) for cut in near[:CUTS_TRIED]
        ]
        best = min(range(len(differences)), key=lambda place: differences[place], default=None)
        if best is not None and differences[best] <= SAME_WINDOW * SAMPLE_RATE:
            chosen.append(near[best])
    return [Window(start, stop) for start, stop in pairwise([*chosen, len(waveform)]) if stop > start]


def _difference(
    waveform: Waveform, windows: Sequence[Window], start: int, stop: int, request: Request, pipeline: Pipeline
) -> float:
    """By how many samples the windows of a part by itself are elsewhere than those of the whole recording."""
    whole = [window for window in windows if start <= window.start and window.stop <= stop]
    part = [window.later(start) for window in _windows(waveform[start:stop], request, pipeline)]
    if [len(window.left_out) for window in whole] != [len(window.left_out) for window in part]:
        return inf
    edges = zip(_edges(whole), _edges(part), strict=True)
    return max((abs(one - other) for one, other in edges), default=inf)


def _edges(windows: Sequence[Window]) -> list[int]:
    return [edge for window in windows for piece in window.pieces for edge in piece]


def _windows(waveform: Waveform, request: Request, pipeline: Pipeline) -> list[Window]:
    return windows_to_decode(waveform, pipeline.find_speech(waveform, request), request.decoding)


# --- Transcribing -------------------------------------------------------------------------------------------


def opening(waveform: Waveform, request: Request, pipeline: Pipeline) -> Waveform:
    """The start of a recording `[samples]`, by which its language is judged; empty where nobody speaks."""
    first = _windows(waveform, request, pipeline)[:FIRST_WINDOWS]
    return waveform[: first[-1].stop] if first else waveform[:0]


def judge_language(waveform: Waveform, request: Request, pipeline: Pipeline) -> str | None:
    """The language spoken in a recording `[samples]`, as the engine would judge it; `None` where nobody speaks."""
    beginning = opening(waveform, request, pipeline)
    if request.decoding.language or not len(beginning):
        return request.decoding.language
    plain = Request(decoding=replace(request.decoding, task="transcribe"), diarize=False)
    return pipeline.transcribe(to_wav(beginning), plain).language


def part_parameters(request: Request, language: str | None) -> dict[str, object]:
    """The parameters of a request for one part, all of them, so that no default changes them on the way.

    Fewer people than in the whole may speak in a part.
    """
    counts = request.speaker_counts
    most = counts.get("num_speakers") or counts.get("max_speakers")
    part = replace(
        request,
        decoding=replace(request.decoding, language=language or request.decoding.language),
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
