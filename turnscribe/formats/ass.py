"""Advanced SubStation Alpha subtitles, in which each speaker has a style and so a colour."""

from __future__ import annotations

from turnscribe.formats.cues import cues
from turnscribe.formats.format import Format, Library, Rendered, RenderOptions
from turnscribe.formats.lines import clean_line
from turnscribe.formats.times import milliseconds
from turnscribe.transcript import Transcript

COLOURS = (  # white, yellow, cyan and green first, as broadcasters tell speakers apart
    *((255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0)),
    *((255, 170, 210), (255, 180, 80), (170, 200, 255), (210, 190, 255)),
)
WIDTH, HEIGHT = 1920, 1080  # of the picture that sizes are for; players scale them to their own
FONT, FONT_SIZE = "Arial", 64
LAST = 10 * 3600 * 100 - 1  # hundredths: the format has one figure for hours
DEFAULT = "Default"  # the style of who is not known


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """Times are hundredths of a second, and what is said after 10 hours stands at their end."""
    from pysubs2 import Color, SSAEvent, SSAFile, SSAStyle

    file = SSAFile()
    file.info |= {"Title": clean_line(options.recording), "PlayResX": str(WIDTH), "PlayResY": str(HEIGHT)}
    shown = cues(transcript, options.subtitles)
    names = dict.fromkeys([DEFAULT, *(_style(cue.speaker) for cue in shown)])
    for index, name in enumerate(names):
        colour = Color(*COLOURS[max(0, index - 1) % len(COLOURS)])
        file.styles[name] = SSAStyle(
            fontname=FONT, fontsize=FONT_SIZE, primarycolor=colour, outline=3, shadow=0, marginv=60
        )
    for cue in shown:
        style = _style(cue.speaker)
        start = min(_hundredths(cue.start), LAST - 1)
        end = min(max(_hundredths(cue.end), start + 1), LAST)
        text = r"\N".join(_escaped(line) for line in cue.lines)
        name = style if cue.speaker else ""
        file.append(SSAEvent(10 * start, 10 * end, text, style=style, name=name))
    return file.to_string("ass", header_notice="")


def _style(speaker: str | None) -> str:
    """A style's name ends at a comma."""
    return clean_line(speaker or "").replace(",", ";") or DEFAULT


def _escaped(line: str) -> str:
    """A brace begins an order and a backslash may: braces become wide ones, for there is no escape that all players
    know, and a word joiner, which is not seen, keeps a backslash from what follows, as FFmpeg writes it."""
    return clean_line(line).replace("\\", "\\\u2060").replace("{", "｛").replace("}", "｝")


def _hundredths(seconds: float) -> int:
    return (milliseconds(seconds) + 5) // 10


FORMAT = Format("ass", "ass", "text/x-ssa; charset=utf-8", _render, library=Library("pysubs2", "pysubs2"))
