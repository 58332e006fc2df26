"""ELAN's annotation format, 3.0: https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf

Each speaker is a tier of turns, with the participant's name. Where words have times, `words@Ada` is a tier below it:
every word lies within its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from turnscribe.formats.format import Format, Rendered, RenderOptions
from turnscribe.formats.tiers import NOBODY, Interval, Tier, tiers
from turnscribe.transcript import Transcript

SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
TURN, WORD = "turn", "word"  # ELAN's "linguistic types": what kind of tier it is
INCLUDED = "Included_In"
DESCRIPTION = "Time alignable annotations within the parent annotation's time interval, gaps are allowed"


def _render(transcript: Transcript, options: RenderOptions) -> Rendered:
    rows = tiers(transcript) or [Tier(NOBODY, None, ())]
    document = Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": datetime.now(UTC).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": INSTANCE,
            "xsi:noNamespaceSchemaLocation": SCHEMA,
        },
    )
    header = SubElement(document, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    order = SubElement(document, "TIME_ORDER")
    annotations = _Annotations()
    for tier in rows:
        annotations.add_tier(document, tier)
    SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId").text = str(annotations.count)
    for slot, time in annotations.slots():
        SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(time))
    kind = {"GRAPHIC_REFERENCES": "false", "TIME_ALIGNABLE": "true"}
    SubElement(document, "LINGUISTIC_TYPE", {"LINGUISTIC_TYPE_ID": TURN, **kind})
    SubElement(document, "LINGUISTIC_TYPE", {"LINGUISTIC_TYPE_ID": WORD, "CONSTRAINTS": INCLUDED, **kind})
    SubElement(document, "CONSTRAINT", STEREOTYPE=INCLUDED, DESCRIPTION=DESCRIPTION)
    ElementTree.indent(document)
    written = ElementTree.tostring(document, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{written}\n'


class _Annotations:
    """Numbers annotations, and the slots of time that they begin and end at: those in the order of time."""

    def __init__(self) -> None:
        self.count = 0
        self._ends: list[tuple[int, int, Element, str]] = []  # ms, number, the annotation, its attribute

    def add_tier(self, document: Element, tier: Tier) -> None:
        who = {"PARTICIPANT": tier.name} if tier.speaker else {}
        self._add(document, {"TIER_ID": tier.name, "LINGUISTIC_TYPE_REF": TURN, **who}, tier.turns)
        if tier.words:
            below = {"TIER_ID": f"words@{tier.name}", "LINGUISTIC_TYPE_REF": WORD, "PARENT_REF": tier.name}
            self._add(document, {**below, **who}, tier.words)

    def slots(self) -> list[tuple[str, int]]:
        """Names and milliseconds; each annotation is told the names of its own."""
        slots = []
        for number, (time, _, annotation, attribute) in enumerate(sorted(self._ends, key=lambda end: end[:2]), 1):
            annotation.set(attribute, f"ts{number}")
            slots.append((f"ts{number}", time))
        return slots

    def _add(self, document: Element, attributes: dict[str, str], intervals: Sequence[Interval]) -> None:
        row = SubElement(document, "TIER", attributes)
        for interval in intervals:
            self.count += 1
            annotation = SubElement(SubElement(row, "ANNOTATION"), "ALIGNABLE_ANNOTATION")
            annotation.set("ANNOTATION_ID", f"a{self.count}")
            for attribute, time in (("TIME_SLOT_REF1", interval.start), ("TIME_SLOT_REF2", interval.end)):
                self._ends.append((time, len(self._ends), annotation, attribute))
            SubElement(annotation, "ANNOTATION_VALUE").text = interval.label


FORMAT = Format("eaf", "eaf", "text/x-eaf+xml; charset=utf-8", _render)
