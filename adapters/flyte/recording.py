"""One very long recording: cut into parts, which are transcribed apart, and put together again. Knows no Flyte.

What belongs together and who is who `turnscribe/bulk/long_recordings.py` knows; here are the files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from turnscribe.bulk.files import loaded_handler, write_results
from turnscribe.bulk.long_recordings import PartTranscript, judge_language, merge, part_parameters, split, to_wav
from turnscribe.bulk.manifest import Entry, add_to_report, list_entries, read_report
from turnscribe.bulk.places import read, shown
from turnscribe.errors import BadParameters


@dataclass(frozen=True)
class Parts:
    files: list[Path]
    offsets: list[float]  # seconds from the start of the recording
    parameters: dict[str, Any]  # of a part's request
    warnings: list[str]


def cut_recording(
    uri: str, parameters: Mapping[str, Any], folder: Path, *, part_seconds: float, handler: Any = None
) -> Parts:
    """Wav files of about `part_seconds` in `folder`, cut in pauses; the language is judged once, by the opening.

    Raises `PlaceError`, `RequestError`, and what `EndpointHandler.transcribe` raises.
    """
    from config import parse_config
    from turnscribe.inputs.decode import decode_audio

    config = parse_config(dict(parameters))
    if config.channels == "split":
        raise BadParameters("channels is 'split', and parts are mono: leave it out, or transcribe the file whole.")
    handler = handler or loaded_handler()
    audio = decode_audio(
        read(uri, max_bytes=handler.limits.max_bytes),
        limits=handler.limits,
        sampling_rate=config.sampling_rate,
        encoding=config.encoding,
    )
    windows = split(audio.mono, part_seconds=part_seconds, chunk_length_s=config.chunk_length_s)
    language = judge_language(audio.mono, config, handler=handler)
    warnings = list(audio.warnings)
    if config.ignored:
        warnings.append(f"Unknown parameters were ignored: {', '.join(config.ignored)}.")
    files = [folder / f"part-{index:04d}.wav" for index in range(len(windows))]
    for file, window in zip(files, windows, strict=True):
        file.write_bytes(to_wav(audio.mono[window.start : window.stop]))
    return Parts(files, [window.offset for window in windows], part_parameters(config, language), warnings)


def merge_recording(
    parts: Sequence[PartTranscript],
    entry: Entry,
    output: str,
    *,
    warnings: Sequence[str] = (),
    formats: Sequence[str] = (),
) -> Entry:
    """The parts' transcripts as one, written to the entry's place, and the entry to the report in `output`.

    Raises `PlaceError`, `ManifestError`, `SettingsError`.
    """
    from config import load_settings, parse_config

    counts = parse_config(dict(entry.parameters)).speaker_counts
    transcript = merge(parts, threshold=load_settings().speaker_similarity, **counts)
    transcript = replace(transcript, warnings=(*warnings, *transcript.warnings))
    write_results(entry, transcript, formats=formats)
    done = replace(entry, status="done", duration=transcript.duration)
    add_to_report([done], output, read_report(output))
    return done


def only_entry(uri: str, output: str, parameters: Mapping[str, Any]) -> Entry:
    """The recording at `uri`, with its parameters (a manifest's own win) and the place of its results.

    The report in `output` has it from now on. Raises `PlaceError`, `ManifestError`, `BadParameters`.
    """
    earlier = read_report(output)
    entries = list_entries([uri], output, earlier)
    if len(entries) != 1:
        raise BadParameters(f"{shown(uri)} holds {len(entries)} recordings: name one, or use transcribe_files.")
    entry = replace(entries[0], parameters={**parameters, **entries[0].parameters}, status=None)
    add_to_report([entry], output, earlier)
    return entry
