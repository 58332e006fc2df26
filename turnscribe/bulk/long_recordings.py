"""One very long recording on many machines: split in pauses, transcribed apart, merged with one speaker numbering.

The cuts are where `whisper.windows` would cut the whole recording anyway, so the parts hold the very windows that
a single machine would decode, and the merged text is that machine's text. What the machines cannot know of each other
is who is who: every part brings an embedding of each of its speakers, and those that are alike are one person.
Knows neither files nor who runs the parts.
"""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config import InferenceConfig, parse_config
from turnscribe.bulk.transcripts import from_json, to_json
from turnscribe.diarization.known_speakers import voice_of
from turnscribe.errors import InferenceFailed
from turnscribe.transcript import Chunk, Transcript, Turn, Word
from turnscribe.waveform import SAMPLE_RATE, is_silent, to_wav
from turnscribe.whisper.windows import Window, cut_windows

OPENING_WINDOWS = 4  # the engine judges the language by as many
APART = 1e6  # a distance no average can hide: two speakers of one part are two people
FARTHEST = 2.5  # more than any two voices are apart: 1 minus a cosine is 2 at most
SHORTEST_VOICE = 2.0  # seconds of speech by which somebody new is known
PAUSE = SAMPLE_RATE // 10  # samples on each side of a cut, by which its loudness is judged


@dataclass(frozen=True)
class PartTranscript:
    """One part's transcript, in its own times, and the voice of each of its speakers, an embedding `[D]`."""

    offset: float  # seconds from the start of the recording
    transcript: Transcript
    voices: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(
            {
                "offset": self.offset,
                "transcript": json.loads(to_json(self.transcript)),
                "voices": {speaker: list(voice) for speaker, voice in self.voices.items()},
            }
        )

    @staticmethod
    def from_json(text: str) -> PartTranscript:
        values = json.loads(text)
        return PartTranscript(values["offset"], from_json(json.dumps(values["transcript"])), values["voices"])


def split(waveform: NDArray[np.float32], *, part_seconds: float, chunk_length_s: float) -> list[Window]:
    """Parts of about `part_seconds` that together cover `waveform` `[samples]` once, in order.

    Where a cut is due, the quietest of the four nearest is taken that leaves the windows as they are.
    `chunk_length_s` is the request's: other windows would give another text.
    """
    windows = cut_windows(waveform, chunk_length_s)
    cuts = [window.start for window in windows[1:]]
    number = max(round(len(waveform) / SAMPLE_RATE / part_seconds), 1)
    chosen = [0]
    for index in range(1, number):
        due = len(waveform) * index // number
        near = sorted((cut for cut in cuts if cut > chosen[-1]), key=lambda cut: abs(cut - due))[:4]
        for cut in sorted(near, key=lambda cut: _loudness(waveform, cut)):
            if _windows_between(windows, chosen[-1], cut) == _shifted(
                cut_windows(waveform[chosen[-1] : cut], chunk_length_s), chosen[-1]
            ):
                chosen.append(cut)
                break
    return [Window(start, stop) for start, stop in pairwise([*chosen, len(waveform)]) if stop > start]


def opening(waveform: NDArray[np.float32], *, chunk_length_s: float) -> NDArray[np.float32]:
    """The start of a recording `[samples]`, by which its language is judged."""
    windows = cut_windows(waveform, chunk_length_s)
    heard = [window for window in windows if not is_silent(waveform[window.start : window.stop])][:OPENING_WINDOWS]
    return waveform[: heard[-1].stop] if heard else waveform[:0]


def to_wav(waveform: NDArray[np.float32]) -> bytes:
    """A wav file of `[samples]` at 16 kHz; decoded audio is 16 bits wide, so nothing is lost."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.clip(np.rint(waveform * 32768), -32768, 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def part_parameters(config: InferenceConfig, language: str | None) -> dict[str, Any]:
    """The parameters for a part of a request, all of them, so that no default changes them on the way.

    Fewer people than in the whole may speak in a part.
    """
    names = set(InferenceConfig.model_fields) - {"encoding", "sampling_rate", "response_format"}
    counts = config.speaker_counts
    given = {name: getattr(config, name) for name in names if name not in ("num_speakers", "min_speakers")}
    given["max_speakers"] = counts.get("num_speakers") or counts.get("max_speakers")
    if counts and given["max_speakers"] is None:
        given["min_speakers"] = 1  # a count that is given puts the operator's aside
    given["language"] = language or config.language
    return {name: value for name, value in given.items() if value is not None}


def part_config(parameters: Mapping[str, Any]) -> InferenceConfig:
    """`part_parameters` for a wav file of ours, whatever the operator's default for files is."""
    return parse_config(dict(parameters)).model_copy(update={"encoding": None, "sampling_rate": SAMPLE_RATE})


def judge_language(waveform: NDArray[np.float32], config: InferenceConfig, *, handler: Any) -> str | None:
    """The language of a recording `[samples]`, as the engine would judge it; `None` where nothing is to be heard."""
    heard = opening(waveform, chunk_length_s=config.chunk_length_s)
    if config.language or not len(heard):
        return config.language
    parameters = {"chunk_length_s": config.chunk_length_s, "diarize": False}
    return handler.transcribe(to_wav(heard), part_config(parameters)).language  # type: ignore[no-any-return]


def transcribe_part(
    audio: bytes, offset: float, parameters: Mapping[str, Any], *, handler: Any = None
) -> PartTranscript:
    """The wav file of a part to its transcript and voices. Raises what `EndpointHandler.transcribe` raises."""
    from turnscribe.bulk.files import loaded_handler
    from turnscribe.inputs.decode import decode_audio

    handler = handler or loaded_handler()
    transcript = handler.transcribe(audio, part_config(parameters))
    voices = {}
    if transcript.turns:
        waveform = decode_audio(audio, limits=handler.limits).mono
        voices = _voices(waveform, transcript.turns, handler.diarizer)
    return PartTranscript(offset, transcript, voices)


def _voices(waveform: NDArray[np.float32], turns: Sequence[Turn], diarizer: Any) -> dict[str, Sequence[float]]:
    import torch

    from diarization_utils import embed

    try:
        with torch.inference_mode():
            return {
                speaker: [float(value) for value in embed(diarizer, voice_of(waveform, turns, speaker))]
                for speaker in sorted({turn.speaker for turn in turns})
            }
    except RuntimeError as error:  # a device that fails or is full
        raise InferenceFailed("The voices of a part could not be heard: try again.") from error


def merge(
    parts: Sequence[PartTranscript],
    *,
    threshold: float,
    num_speakers: int | None = None,
    min_speakers: int | None = None,
    max_speakers: int | None = None,
) -> Transcript:
    """One transcript of the whole recording; speakers are numbered in the order in which they are first heard.

    `threshold` is the least cosine of the angle between two voices of one person (`SPEAKER_SIMILARITY`); the counts
    are the request's, and win over it. Two speakers of one part stay two.
    """
    from diarization_utils import assign_speakers, group_turns

    parts = sorted(parts, key=lambda part: part.offset)
    names = _people(parts, threshold, num_speakers or min_speakers, num_speakers or max_speakers)
    chunks: list[Chunk] = []
    turns: list[Turn] = []
    for index, part in enumerate(parts):
        own = {speaker: name for (owner, speaker), name in names.items() if owner == index}
        chunks += [_moved(chunk, part.offset, own) for chunk in part.transcript.chunks]
        turns += [
            Turn(own[turn.speaker], _later(turn.start, part.offset), _later(turn.end, part.offset))
            for turn in part.transcript.turns
        ]
    if turns:  # what was said in a part where nobody was told apart goes to the nearest, as in one recording
        heard = [[chunk] if chunk.speaker else assign_speakers([chunk], turns) for chunk in chunks]
        chunks = [chunk for pieces in heard for chunk in pieces]
    transcripts = [part.transcript for part in parts]
    speculations = [transcript.speculation for transcript in transcripts if transcript.speculation]
    stages = dict.fromkeys(stage for transcript in transcripts for stage in transcript.timings)
    return Transcript(
        text="".join(chunk.text for chunk in chunks).strip(),
        chunks=tuple(chunks),
        duration=round(sum(transcript.duration for transcript in transcripts), 3),
        language=next((transcript.language for transcript in transcripts if transcript.chunks), None),
        speakers=group_turns(chunks),
        turns=tuple(turns),
        timings={stage: round(sum(t.timings.get(stage, 0.0) for t in transcripts), 3) for stage in stages},
        warnings=tuple(
            dict.fromkeys(_placed(warning, part) for part in parts for warning in part.transcript.warnings)
        ),
        speculation=sum(speculations[1:], speculations[0]) if speculations else None,
        task=transcripts[0].task if transcripts else "transcribe",
    )


def _people(
    parts: Sequence[PartTranscript], threshold: float, fewest: int | None, most: int | None
) -> dict[tuple[int, str], str]:
    """The name of each speaker of each part (by its index), by average linkage of their voices.

    Who speaks for a moment only joins whoever sounds most alike: too little is heard of them to be somebody new.
    """
    seconds: dict[tuple[int, str], float] = {}  # in the order in which they are first heard
    for index, part in enumerate(parts):
        for turn in part.transcript.turns:
            speaker = (index, turn.speaker)
            seconds[speaker] = seconds.get(speaker, 0.0) + turn.end - turn.start
    speakers = list(seconds)
    if not speakers:
        return {}
    voices = np.array([parts[index].voices[speaker] for index, speaker in speakers], dtype=np.float64)  # [S, D]
    voices /= np.maximum(np.linalg.norm(voices, axis=1, keepdims=True), 1e-12)
    distances = np.maximum(1 - np.nan_to_num(voices @ voices.T, nan=-1.0), 0.0)  # [S, S]
    owners = np.array([index for index, _ in speakers])
    distances[owners[:, None] == owners[None, :]] = APART
    known = [number for number, speaker in enumerate(speakers) if seconds[speaker] >= SHORTEST_VOICE]
    if len(known) < (most or fewest or 1):
        known = list(range(len(speakers)))
    people = dict(zip(known, _clusters(distances[np.ix_(known, known)], threshold, fewest, most), strict=True))
    for number in range(len(speakers)):
        if number not in people:
            groups = {person: [other for other in people if people[other] == person] for person in people.values()}
            nearest = min(groups, key=lambda person: float(distances[number, groups[person]].mean()))
            alone = float(distances[number, groups[nearest]].mean()) > FARTHEST  # all others are of the same part
            people[number] = max(groups) + 1 if alone else nearest
    names: dict[int, str] = {}
    for number in range(len(speakers)):
        names.setdefault(people[number], f"SPEAKER_{len(names):02d}")
    return {speaker: names[people[number]] for number, speaker in enumerate(speakers)}


def _clusters(distances: NDArray[np.float64], threshold: float, fewest: int | None, most: int | None) -> list[int]:
    """The cluster of each, from their `distances` `[S, S]`, by average linkage."""
    from scipy.cluster.hierarchy import fcluster, linkage

    size = len(distances)
    if size < 2:
        return [1] * size
    tree = linkage(distances[np.triu_indices(size, 1)], "average")
    heights = tree[:, 2]
    number = size - int(np.sum(heights <= 1 - threshold))
    number = min(max(number, fewest or 1), most or size)
    number = max(number, size - int(np.sum(heights <= FARTHEST)))
    return [int(person) for person in fcluster(tree, number, "maxclust")]


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


def _loudness(waveform: NDArray[np.float32], cut: int) -> float:
    return float(np.mean(np.square(waveform[max(cut - PAUSE, 0) : cut + PAUSE])))


def _windows_between(windows: Sequence[Window], start: int, stop: int) -> list[Window]:
    return [window for window in windows if start <= window.start and window.stop <= stop]


def _shifted(windows: Sequence[Window], start: int) -> list[Window]:
    return [Window(window.start + start, window.stop + start) for window in windows]
