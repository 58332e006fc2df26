"""SubRip subtitles."""

from __future__ import annotations

from turnscribe.formats.cues import cues
from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.formats.times import timestamp
from turnscribe.transcript import Transcript


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """SubRip. It has no escapes: an arrow in the text becomes one character, and tags stay as they are."""
    blocks = []
    for number, cue in enumerate(cues(transcript, options.subtitles, named=True), start=1):
        start, end = timestamp(cue.start, separator=","), timestamp(cue.end, separator=",")
        text = "\n".join(cue.lines).replace("-->", "→")
        blocks.append(f"{number}\n{start} --> {end}\n{text}\n")
    return "\n".join(blocks)


FORMAT = Format("srt", "srt", "application/x-subrip; charset=utf-8", _render)
