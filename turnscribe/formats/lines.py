"""Text in lines: what every plain format is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable

# What XML 1.0 has no way to write (https://www.w3.org/TR/xml/#charsets), and most readers stop at.
NOT_WRITTEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def joined(lines: Iterable[str]) -> str:
    """The lines that are not empty, each with its end."""
    return "".join(f"{line}\n" for line in lines if line)


def one_line(text: str) -> str:
    """Without line breaks of any kind (Unicode has ten): they would end a cue or a row."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def spoken(speaker: str | None, text: str) -> str:
    """A text with the name of who said it."""
    text = one_line(text)
    return f"{one_line(speaker)}: {text}" if speaker and text else text


def clean_line(text: str) -> str:
    """`one_line`, with `U+FFFD` for each control character, and what else is no character of a text.

    The unit separator is white space to Python, and ends no line.
    """
    return NOT_WRITTEN.sub("\ufffd", one_line(text.replace("\x1f", " ")))


def nist_field(name: str) -> str:
    """One field of NIST's formats: no spaces, no quotes, which CSV readers take for a quoted field, and not the
    semicolons that begin a comment."""
    return "_".join(name.replace('"', " ").replace(";;", " ").split()) or "unknown"
