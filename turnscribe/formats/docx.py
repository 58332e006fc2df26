"""Who said what, as a Word document: a title, a line of facts, a paragraph for each passage."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

from turnscribe.formats.facts import clock, facts_line
from turnscribe.formats.format import Format, Library, Rendered, RenderOptions
from turnscribe.formats.lines import clean_line
from turnscribe.formats.passages import passages
from turnscribe.transcript import Transcript

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    from docx import Document

    document = Document()
    title = clean_line(options.recording) or "audio"
    _describe(document, title, transcript)
    document.add_heading(title, level=0)
    document.add_paragraph(facts_line(transcript))
    for passage in passages(transcript):
        paragraph = document.add_paragraph()
        if speaker := clean_line(passage.speaker or ""):
            paragraph.add_run(speaker).bold = True
            paragraph.add_run(" ")
        paragraph.add_run(f"[{clock(passage.start)}]").italic = True
        paragraph.add_run(f" {passage.text}")
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


def _describe(document: Any, title: str, transcript: Transcript) -> None:
    """In place of what python-docx's template says of itself; the language is that of the spelling checker."""
    from docx.oxml.ns import qn

    about = document.core_properties
    about.title, about.author, about.comments = title[:255], "", ""  # no more are allowed
    about.created = about.modified = datetime.now(UTC)
    if transcript.language:
        for language in document.styles.element.iter(qn("w:lang")):
            language.set(qn("w:val"), transcript.language)


FORMAT = Format("docx", "docx", MEDIA_TYPE, _render, is_binary=True, library=Library("docx", "python-docx"))
