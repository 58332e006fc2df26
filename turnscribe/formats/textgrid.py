"""Praat's TextGrid, long text format: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html

Each speaker has a tier of turns and, where words have times, one of words, named as the Montreal Forced Aligner names
them: `Ada` and `Ada - words`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.formats.tiers import NOBODY, Interval, tiers
from turnscribe.formats.times import milliseconds
from turnscribe.transcript import Transcript


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """Every tier is filled from 0 to the end, as Praat wants it: between labels are intervals without one."""
    rows: list[tuple[str, Sequence[Interval]]] = []
    for tier in tiers(transcript):
        rows.append((tier.name, tier.turns))
        if tier.words:
            rows.append((f"{tier.name} - words", tier.words))
    rows = rows or [(NOBODY, ())]
    last = max((labels[-1].end for _, labels in rows if labels), default=1)
    end = max(milliseconds(transcript.duration), last)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {_seconds(end)}"]
    lines += ["tiers? <exists>", f"size = {len(rows)}", "item []:"]
    for number, (name, labels) in enumerate(rows, start=1):
        lines += [f"    item [{number}]:", *(f"        {line}" for line in _tier(name, labels, end))]
    return "".join(f"{line}\n" for line in lines)


def _tier(name: str, labels: Sequence[Interval], end: int) -> Iterator[str]:
    filled = list(_filled(labels, end))
    yield 'class = "IntervalTier"'
    yield f"name = {_quoted(name)}"
    yield "xmin = 0"
    yield f"xmax = {_seconds(end)}"
    yield f"intervals: size = {len(filled)}"
    for number, interval in enumerate(filled, start=1):
        yield f"intervals [{number}]:"
        yield f"    xmin = {_seconds(interval.start)}"
        yield f"    xmax = {_seconds(interval.end)}"
        yield f"    text = {_quoted(interval.label)}"


def _filled(labels: Sequence[Interval], end: int) -> Iterator[Interval]:
    at = 0
    for interval in labels:
        if interval.start > at:
            yield Interval("", at, interval.start)
        yield interval
        at = interval.end
    if end > at:
        yield Interval("", at, end)


def _seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}"


def _quoted(text: str) -> str:
    """A quote in the text is written twice."""
    return '"' + text.replace('"', '""') + '"'


FORMAT = Format("textgrid", "TextGrid", "text/praat-textgrid; charset=utf-8", _render)
