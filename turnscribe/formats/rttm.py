"""NIST's rttm: who spoke when."""

from __future__ import annotations

from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.formats.lines import joined, nist_field
from turnscribe.formats.times import milliseconds
from turnscribe.transcript import Transcript, Turn


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """NIST's rttm of the turns; of the chunks where there are none and speakers are known all the same.

    A turn of no length says nothing and some readers refuse it, so it is left out.
    """
    chunks = [Turn(chunk.speaker, chunk.start, chunk.end) for chunk in transcript.chunks if chunk.speaker]
    lines = []
    for turn in transcript.turns or chunks:
        start_ms, end_ms = milliseconds(turn.start), milliseconds(turn.end)
        if end_ms > start_ms:
            times = f"{start_ms / 1000:.3f} {(end_ms - start_ms) / 1000:.3f}"
            lines.append(
                f"SPEAKER {nist_field(options.recording)} 1 {times} <NA> <NA> {nist_field(turn.speaker)} <NA> <NA>"
            )
    return joined(lines)


FORMAT = Format("rttm", "rttm", "text/plain; charset=utf-8", _render, needs_speakers=True)
