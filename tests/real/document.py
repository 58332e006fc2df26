"""Writes the tables into docs/accuracy.md or another page, each between the two comments that name it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from turnscribe.files import write_whole

PAGE = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"


def write(tables: Mapping[str, str], page: Path = PAGE) -> None:
    write_whole(page, with_tables(page.read_text("utf-8"), tables))


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    r"""The text with the tables that it has a place for; a place whose table was not made stays as it is.

    >>> with_tables("<!-- table: a -->\nold\n<!-- end -->", {"a": "new"})
    '<!-- table: a -->\n\nnew\n\n<!-- end -->'
    """

    def made(place: re.Match[str]) -> str:
        table = tables.get(place["name"])
        return place[0] if table is None else f"<!-- table: {place['name']} -->\n\n{table}\n\n<!-- end -->"

    return re.sub(r"<!-- table: (?P<name>.+?) -->.*?<!-- end -->", made, text, flags=re.DOTALL)
