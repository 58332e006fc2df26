"""Text in lines: what every plain format is made of."""

from __future__ import annotations

from collections.abc import Iterable


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
