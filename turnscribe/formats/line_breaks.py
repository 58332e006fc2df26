"""Text in lines that are not too long, broken at words and evenly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import ceil

TIED = "\u00a0\u202f\u2007"  # spaces at which no line is broken
IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # and kana: a line may be broken at any of them
OTHERS_WITHOUT_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer: at words alone
OPENING = "「『（〈《【［｛“‘"  # never the last of a line
CLOSING = "」』）〉》】］｝”’、。，．！？：；・ー"  # never the first of one
THEIR_SIGNS = "\u3001-\u301f\uff01-\uff60"  # full stops, brackets and the like among ideographs
TOKEN = re.compile(rf"(?P<space>[^\S{TIED}]+)|[{IDEOGRAPHS}{OPENING}]|(?:[^\s{IDEOGRAPHS}{OPENING}]|[{TIED}])+")
WITHOUT_SPACES = re.compile(f"[{IDEOGRAPHS}{THEIR_SIGNS}{OTHERS_WITHOUT_SPACES}]")


def pieces(texts: Iterable[str], *, words: bool = False) -> list[str]:
    """`texts` in pieces before each of which a line may be broken; any white space is one space.

    Where the texts are `words`, none is broken but at white space.

    >>> pieces([" Good", " morning,", " Anna-", "Lena."])
    ['Good', ' morning,', ' Anna-Lena.']
    >>> pieces(["今日", "は"], words=True), pieces(["今日は"])
    (['今日', 'は'], ['今', '日', 'は'])
    """
    made: list[str] = []
    after_space = False
    for text in texts:
        for token in TOKEN.finditer(text):
            if token["space"]:
                after_space = True
                continue
            if not made:
                made.append(token[0])
            elif after_space:
                made.append(f" {token[0]}")
            elif not (words and token.start()) and _may_part(made[-1][-1], token[0][0]):
                made.append(token[0])
            else:
                made[-1] += token[0]
            after_space = False
    return made


def full_lines(given: Sequence[str], width: int) -> list[str]:
    """The pieces in as few lines of at most `width` characters as there can be.

    A piece that is longer is a line of its own, and too long.
    """
    made: list[str] = []
    for piece in given:
        if made and len((made[-1] + piece).strip()) <= width:
            made[-1] += piece
        else:
            made.append(piece)
    return [line for each in made if (line := each.strip())]


def even_lines(given: Sequence[str], width: int) -> tuple[str, ...]:
    """`full_lines`, of similar length.

    >>> even_lines(pieces(["a line of four words, and five in this"]), 36)
    ('a line of four words,', 'and five in this')
    """
    filled = full_lines(given, width)
    length = sum(map(len, given))
    for narrower in range(ceil(length / max(1, len(filled))), width):
        even = full_lines(given, narrower)
        if len(even) == len(filled):
            return tuple(even)
    return tuple(filled)


def _may_part(before: str, after: str) -> bool:
    """Whether a line may be broken between two characters that no space is between."""
    if before in OPENING or after in CLOSING:
        return False
    return bool(WITHOUT_SPACES.match(before) or WITHOUT_SPACES.match(after))
