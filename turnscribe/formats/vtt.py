"""WebVTT subtitles, https://www.w3.org/TR/webvtt1/."""

from __future__ import annotations

from turnscribe.formats.cues import cues
from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.formats.lines import one_line
from turnscribe.formats.times import timestamp
from turnscribe.transcript import Transcript


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """WebVTT, the speaker as a voice tag. https://www.w3.org/TR/webvtt1/"""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript, options.subtitles):
        speaker = one_line(cue.speaker or "")
        voice = f"<v {_escape(speaker)}>".replace("-->", "-&#45;>") if speaker else ""
        text = _escape("\n".join(cue.lines))
        start, end = timestamp(cue.start), timestamp(cue.end)
        blocks.append(f"{start} --> {end}\n{voice}{text}\n")
    return "\n".join(blocks)


def _escape(text: str) -> str:
    """Cue text and annotations of WebVTT; `>` too, since `-->` would be read as a cue's times."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


FORMAT = Format("vtt", "vtt", "text/vtt; charset=utf-8", _render)
