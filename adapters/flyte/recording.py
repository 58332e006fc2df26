"""One very long recording of a workflow: its place in the report of the output. Imports nothing of Flyte.

How it is cut and merged is in `adapters/long_recording.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from adapters.long_recording import merge_parts
from turnscribe.bulk.long_recordings import PartTranscript
from turnscribe.bulk.manifest import Entry, add_to_report, list_entries, read_report
from turnscribe.bulk.places import shown
from turnscribe.errors import BadParameters


def only_entry(uri: str, output: str, parameters: Mapping[str, object]) -> Entry:
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


def merge_recording(
    parts: Sequence[PartTranscript],
    entry: Entry,
    output: str,
    *,
    warnings: Sequence[str] = (),
    formats: Sequence[str] = (),
) -> Entry:
    """`merge_parts`, and the entry in the report of `output`. Raises as that does, and `ManifestError`."""
    done = merge_parts(parts, entry, warnings=warnings, formats=formats)
    add_to_report([done], output, read_report(output))
    return done
