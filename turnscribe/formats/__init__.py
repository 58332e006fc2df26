"""Renderings of a transcript: OpenAI's three JSON shapes, texts, subtitles, tables, what annotation tools read.

    >>> from turnscribe.transcript import Chunk, Transcript
    >>> hello = Transcript(" Hi.", (Chunk(" Hi.", 0.0, 0.5, speaker="SPEAKER_00"),), duration=1.0)
    >>> print(render(hello, "srt"), end="")
    1
    00:00:00,000 --> 00:00:00,500
    SPEAKER_00: Hi.

Only what is known is written: a score, a language or a speaker the transcript does not have is left out. To add a
format, write its module, called as the format is, and add it to `NAMES`.
"""

from __future__ import annotations

from importlib import import_module

from turnscribe.errors import BadParameters
from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.subtitle_limits import USUAL_LIMITS, SubtitleLimits
from turnscribe.transcript import Transcript

__all__ = ["FORMATS", "Format", "RenderOptions", "Rendered", "find_format", "render"]

NAMES = (  # each has a module of that name
    "json",
    "verbose_json",
    "diarized_json",
    "text",
    "srt",
    "vtt",
    "tsv",
    "rttm",
    "ass",
    "lrc",
    "md",
    "docx",
    "ctm",
    "stm",
    "textgrid",
    "eaf",
)
FORMATS: dict[str, Format] = {name: import_module(f"{__name__}.{name}").FORMAT for name in NAMES}


def find_format(name: str) -> Format:
    """The format of that name. Raises `BadParameters` where there is none, or where a library that it needs is not
    installed."""
    if name not in FORMATS:
        raise BadParameters(f"response_format is {name[:40]!r}: give one of {', '.join(FORMATS)}.")
    FORMATS[name].check_available()
    return FORMATS[name]


def render(
    transcript: Transcript,
    response_format: str,
    *,
    words: bool = True,
    name: str = "audio",
    subtitles: SubtitleLimits = USUAL_LIMITS,
) -> Rendered:
    """`transcript` in the format of that name; `words`, `name` (the recording's) and `subtitles` as in
    `RenderOptions`.

    Raises `BadParameters` as `find_format` does.
    """
    return find_format(response_format).render(transcript, RenderOptions(words, name, subtitles))
