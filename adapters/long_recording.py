"""One very long recording as files: cut into wav files for several machines, their results merged and written.

Where the cuts are, and who is who, is in `turnscribe/bulk/long_recordings.py`. Knows no platform: Flyte and Ray say
where the files are, and who works on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.repository import REPOSITORY
from diarization_utils import assign_speakers, group_turns
from turnscribe.bulk.entries import write_results
from turnscribe.bulk.long_recordings import PartTranscript, judge_language, merge, part_parameters, split
from turnscribe.bulk.manifest import Entry
from turnscribe.deployment import Deployment
from turnscribe.errors import BadParameters
from turnscribe.waveform import to_wav


@dataclass(frozen=True)
class CutRecording:
    """A recording as wav files in order, and for each of them where it begins and what is asked for it."""

    files: list[Path]
    offsets: list[float]  # seconds from the start of the recording
    parameters: list[dict[str, object]]
    warnings: list[str]


def cut_recording(
    audio: bytes,
    parameters: Mapping[str, object],
    folder: Path,
    *,
    part_seconds: float,
    deployment: Deployment = REPOSITORY,
) -> CutRecording:
    """Wav files of about `part_seconds` in `folder`, cut in pauses; the language is judged once, by the opening.

    Raises `RequestError`, and what `Pipeline.transcribe` raises.
    """
    from turnscribe.inputs.decode import decode_audio

    request = deployment.parse(parameters)
    if request.channels == "split":
        raise BadParameters("channels is 'split', and parts are mono: leave it out, or transcribe the file whole.")
    pipeline = deployment.pipeline()
    decoded = decode_audio(
        audio,
        limits=pipeline.limits,
        sampling_rate=request.sampling_rate,
        encoding=request.encoding,
        audio_track=request.audio_track,
    )
    speech = pipeline.find_speech(decoded.mono, request)
    parts = split(decoded.mono, speech, request.decoding, part_seconds=part_seconds)
    language = judge_language(decoded.mono, speech, request.decoding, pipeline)
    files = [folder / f"part-{index:04d}.wav" for index in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        file.write_bytes(to_wav(decoded.mono[part.start : part.stop]))
    return CutRecording(
        files,
        [part.offset for part in parts],
        [part_parameters(request, language, part.speech) for part in parts],
        [*decoded.warnings, *request.without_effect],
    )


def merge_parts(
    parts: Sequence[PartTranscript],
    entry: Entry,
    *,
    warnings: Sequence[str] = (),
    formats: Sequence[str] = (),
    deployment: Deployment = REPOSITORY,
) -> Entry:
    """The parts' transcripts as one, written to the entry's place: the entry, done.

    Raises `PlaceError`, `SettingsError`.
    """
    request = deployment.parse(entry.parameters)
    transcript = merge(
        parts,
        request,
        threshold=deployment.load_settings().speaker_similarity,
        assign_speakers=assign_speakers,
        group_turns=group_turns,
    )
    transcript = replace(transcript, warnings=tuple(dict.fromkeys((*warnings, *transcript.warnings))))
    write_results(entry, transcript, formats=formats, subtitles=request.subtitles)
    return replace(entry, status="done", duration=transcript.duration)
