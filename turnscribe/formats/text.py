"""Plain text, a line for each speaker where speakers are known."""

from __future__ import annotations

from itertools import groupby

from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.formats.lines import joined, spoken
from turnscribe.transcript import Transcript


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """The text; one line a speaker's run of chunks where speakers are known."""
    if not any(chunk.speaker for chunk in transcript.chunks):
        return joined([transcript.text.strip()])
    runs = groupby(transcript.chunks, key=lambda chunk: chunk.speaker)
    return joined(spoken(speaker, "".join(chunk.text for chunk in chunks)) for speaker, chunks in runs)


FORMAT = Format("text", "txt", "text/plain; charset=utf-8", _render)
