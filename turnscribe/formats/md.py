"""Who said what, as Markdown: a title, a line of facts, a paragraph for each passage.

https://spec.commonmark.org/
"""

from __future__ import annotations

import re

from turnscribe.formats.facts import clock, facts_line
from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.formats.lines import clean_line
from turnscribe.formats.passages import Passage, passages
from turnscribe.transcript import Transcript

# What is markup within a line; `_` is none between letters. What is markup at the start of a line never is: a
# paragraph begins with its time.
MARKUP = re.compile(r"[\\`*\[\]<>&#~|$]|(?<![^\W_])_|_(?![^\W_])")


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    title = _escaped(clean_line(options.recording) or "audio")
    paragraphs = map(_paragraph, passages(transcript))
    return "\n\n".join([f"# {title}", _escaped(facts_line(transcript)), *paragraphs]) + "\n"


def _paragraph(passage: Passage) -> str:
    speaker = _escaped(clean_line(passage.speaker or ""))
    named = f" **{speaker}:**" if speaker else ""
    return f"`{clock(passage.start)}`{named} {_escaped(passage.text)}"


def _escaped(text: str) -> str:
    return MARKUP.sub(r"\\\g<0>", text)


FORMAT = Format("md", "md", "text/markdown; charset=utf-8", _render)
