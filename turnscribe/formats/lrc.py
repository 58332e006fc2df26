"""LRC lyrics, as music players show them: https://en.wikipedia.org/wiki/LRC_(file_format)"""

from __future__ import annotations

from itertools import zip_longest

from turnscribe.formats.cues import Cue, cues
from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.formats.lines import clean_line, joined
from turnscribe.formats.times import milliseconds
from turnscribe.transcript import Transcript

PAUSE_SECONDS = 2.0  # a line stays until the next begins: in a pause of that length nothing is shown
BRACKETS = str.maketrans("[]", "()")  # the format has no escapes, and a bracket would begin a time


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """A line for each cue of the subtitles."""
    shown = cues(transcript, options.subtitles, named=True)
    title = clean_line(options.recording).translate(BRACKETS)
    lines = [f"[ti:{title}]", f"[length:{_time(transcript.duration)}]"]
    for cue, following in zip_longest(shown, shown[1:]):
        text = clean_line(" ".join(cue.lines)).translate(BRACKETS)
        lines.append(f"[{_time(cue.start)}]{text}")
        if _is_pause(cue, following):
            lines.append(f"[{_time(cue.end)}]")
    return joined(lines)


def _is_pause(cue: Cue, following: Cue | None) -> bool:
    return following is None or following.start - cue.end >= PAUSE_SECONDS


def _time(seconds: float) -> str:
    """Minutes, seconds and hundredths; minutes grow past 99."""
    hundredths = (milliseconds(seconds) + 5) // 10
    minutes, rest = divmod(hundredths, 6000)
    return f"{minutes:02d}:{rest // 100:02d}.{rest % 100:02d}"


FORMAT = Format("lrc", "lrc", "text/plain; charset=utf-8", _render)
