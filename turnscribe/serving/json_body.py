"""A JSON body that lies in a file, read without its long strings: those stay where they are.

JSON with millions of tokens holds the interpreter for seconds and takes many times its size in memory. So a long
string, a recording's base64, is passed over, and all the rest of a body has to be short.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from secrets import token_hex
from typing import IO, Any

from turnscribe.inputs.read import replaced
from turnscribe.serving.problems import Malformed

BLOCK = 2**16  # bytes that are looked at in one go: no other thread waits longer
LONG = 2**16  # bytes of a string that stays in the file
MOST_BESIDE = 2**17  # bytes of a body beside its long strings
INSIDE_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
# What writers of JSON escape in base64 although they need not: PHP the slash, .NET the plus sign, others line ends.
NEEDLESS_ESCAPES = {
    r"\/": "/",
    r"\u002B": "+",
    r"\u002b": "+",
    r"\u002F": "/",
    r"\u002f": "/",
    r"\u003D": "=",
    r"\u003d": "=",
    r"\n": "",
    r"\r": "",
}


@dataclass(frozen=True)
class LongText:
    """A string of a body, `start` to `stop` of its file."""

    file: IO[bytes]
    start: int
    stop: int

    def blocks(self) -> Iterator[str]:
        """The string, which is base64 or a `data:` URL, in pieces. Raises `Malformed` for what is neither."""
        for block in replaced(self._raw_blocks(), NEEDLESS_ESCAPES):
            if "\\" in block or not block.isascii():
                raise Malformed("inputs is text and not base64: send the base64 of the file.")
            yield block

    def _raw_blocks(self) -> Iterator[str]:
        self.file.seek(self.start)
        left = self.stop - self.start
        while left:
            block = self.file.read(min(BLOCK, left))
            left -= len(block)
            yield block.decode("latin-1")


def read_json_body(file: IO[bytes]) -> dict[str, Any]:
    """The object in a file; its `inputs` is a `LongText` where it is long.

    Raises `Malformed` for what is no object, and where anything else is long.
    """
    mark = token_hex(16)
    beside, spans = _without_long_strings(file, mark.encode())
    value = json_object(beside, "The body")
    if value.get("inputs") == mark and len(spans) == 1:
        value["inputs"] = LongText(file, *spans[0])
    elif spans:
        raise Malformed(f"The body has a text of over {LONG // 1024} KiB that is not its inputs: send less.")
    return value


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """Short JSON as an object; `name` is what an error calls it. Raises `Malformed`."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Malformed(f"{name} is not a JSON object: send names and values, as the documentation has them.")
    return value


def _without_long_strings(file: IO[bytes], mark: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """The JSON with `mark` for each long string, and where those begin and end in the file."""
    beside, spans = bytearray(), list[tuple[int, int]]()
    string: bytearray | None = None  # what has been seen of a string that has not ended
    begin = offset = 0
    escaped = False  # the block before ended with a backslash
    file.seek(0)
    while block := file.read(BLOCK):
        at = 0
        while at < len(block):
            if string is None:
                quote = block.find(b'"', at)
                at, before = (len(block) if quote < 0 else quote + 1), at
                beside += block[before:at]
                if quote >= 0:
                    string, begin = bytearray(), offset + at
            else:
                before = at
                at = at + 1 if escaped else INSIDE_STRING.match(block, at).end()  # type: ignore[union-attr]
                escaped = at == len(block) - 1 and block[at] == ord("\\")
                at += escaped
                if len(string) <= LONG:
                    string += block[before:at]
                if at < len(block) and block[at] == ord('"'):
                    if len(string) > LONG:
                        spans.append((begin, offset + at))
                        string = bytearray(mark)
                    beside += string + b'"'
                    string, at = None, at + 1
            if len(beside) > MOST_BESIDE:
                raise Malformed(
                    f"The body has over {MOST_BESIDE // 1024} KiB of JSON beside its inputs: send fewer parameters."
                )
        offset += len(block)
    return bytes(beside), spans
