"""Whisper's table, tab-separated."""

from __future__ import annotations

from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.formats.lines import joined, one_line
from turnscribe.formats.times import milliseconds
from turnscribe.transcript import Transcript


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """Whisper's columns (start and end in milliseconds, text), then the speaker where any is known."""
    diarized = any(chunk.speaker for chunk in transcript.chunks)
    rows = [["start", "end", "text", "speaker"]]
    for chunk in transcript.chunks:
        text, speaker = one_line(chunk.text), one_line(chunk.speaker or "")
        rows.append([str(milliseconds(chunk.start)), str(milliseconds(chunk.end)), text, speaker])
    columns = 4 if diarized else 3
    return joined("\t".join(cell.replace("\t", " ") for cell in row[:columns]) for row in rows)


FORMAT = Format("tsv", "tsv", "text/tab-separated-values; charset=utf-8", _render)
