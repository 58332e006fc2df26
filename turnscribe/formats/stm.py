"""NIST's stm: what was said, by whom, in segments.

https://www.nist.gov/system/files/documents/2021/08/03/OpenASR20_EvalPlan_v1_5.pdf, appendix.
"""

from __future__ import annotations

from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.formats.lines import joined, nist_field
from turnscribe.formats.passages import passages
from turnscribe.formats.times import milliseconds
from turnscribe.transcript import Transcript


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """A line for each passage of one speaker; who is not known is `unknown`.

    A word in angle brackets that a text began with would be read as the line's label, so they become others.
    """
    lines = []
    for passage in sorted(passages(transcript), key=lambda passage: passage.start):
        start_ms = milliseconds(passage.start)
        end_ms = max(start_ms + 1, milliseconds(passage.end))
        times = f"{start_ms / 1000:.3f} {end_ms / 1000:.3f}"
        text = passage.text.replace("<", "‹", 1) if passage.text.startswith("<") else passage.text
        lines.append(f"{nist_field(options.recording)} 1 {nist_field(passage.speaker or '')} {times} {text}")
    return joined(lines)


FORMAT = Format("stm", "stm", "text/plain; charset=utf-8", _render)
