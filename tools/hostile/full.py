"""A few requests of the largest sizes. Their bodies are made while they are sent."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from tools.hostile.attack import Attack, Ground, head

MIB = 2**20
SILENT_CLIENTS, DESCRIPTORS, SILENT_S = 300, 256, 20.0
EACH = 2  # times


def attacks(ground: Ground) -> Iterator[tuple[int, str, Attack]]:
    """Number (below 0), kind and attack."""
    for number, (kind, attack) in enumerate(_attacks(ground), 1):
        yield -number, kind, attack


def silent_clients() -> Iterator[tuple[int, str, Attack]]:
    """To be sent all at once."""
    for number in range(SILENT_CLIENTS):
        yield -1000 - number, "full: silent", Attack((b"",), end="leave", hold_s=SILENT_S, owed=False)


def _attacks(ground: Ground) -> Iterator[tuple[str, Attack]]:
    chosen = random.Random(0)
    for _ in range(EACH):
        yield "full: 75 MiB of empty lists", _json(ground, chosen, b'{"inputs":[', b"[],", 25 * MIB, b"[]]}")
        yield "full: 10 MiB of nesting", _json(ground, chosen, b'{"inputs":', b"[", 10 * MIB, b"")
        yield (
            "full: 64 MiB of text that is no base64",
            _json(ground, chosen, b'{"inputs":"', b"????", 16 * MIB, b'"}'),
        )
        yield "full: 64 MiB of base64 of nothing", _json(ground, chosen, b'{"inputs":"', b"AAAA", 16 * MIB, b'"}')
        yield "full: 10 MiB of digits", _json(ground, chosen, b'{"inputs":', b"9", 10 * MIB, b"}")
        field = b'Content-Disposition: form-data; name="parameters"\r\n\r\n'
        yield "full: 20 parameters of 8 MiB", _form(ground, chosen, [(field, b"[],", 8 * MIB // 3)] * 20)
        small = b'Content-Disposition: form-data; name="a"\r\n\r\n'
        yield "full: 100,000 fields", _form(ground, chosen, [(small, b"x", 1)] * 100_000)
        file = b'Content-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
        yield "full: 10,000 files", _form(ground, chosen, [(file, b"x", 1)] * 10_000)
        yield (
            "full: 200 MiB of a recording that is none",
            _sent(ground, chosen, "audio/wav", [(b"", b"x", 200 * MIB)]),
        )
        declared = {"Content-Type": "audio/wav", "Content-Length": str(600 * MIB)}
        yield "full: 600 MiB announced", Attack((head(ground, chosen, "/", declared),))
        line = head(ground, chosen, "/health", method="GET")[:-2] + b"X: "
        yield "full: a line of 16 MiB", Attack((line, *_repeated(b"x", 16 * MIB), b"\r\n\r\n"), owed=False)
        headers = _repeated(b"X: y\r\n", 100_000)
        yield "full: 100,000 headers", Attack((line + b"\r\n", *headers, b"\r\n"), owed=False)


class _Blocks:
    """The pieces of a body, as often as they are asked for."""

    def __init__(self, first: bytes, parts: list[tuple[bytes, bytes, int]], last: bytes) -> None:
        self._first, self._parts, self._last = first, parts, last

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        for before, unit, times in self._parts:
            yield before
            yield from _repeated(unit, times)
        yield self._last


def _repeated(unit: bytes, times: int) -> Iterator[bytes]:
    """In blocks of about 64 KiB."""
    a_block = max(2**16 // len(unit), 1)
    block = unit * a_block
    for _ in range(times // a_block):
        yield block
    yield unit * (times % a_block)


def _json(ground: Ground, chosen: random.Random, before: bytes, unit: bytes, times: int, after: bytes) -> Attack:
    parts = [(before, unit, times), (after, b"x", 0)]
    return _sent(ground, chosen, "application/json", parts)


def _form(ground: Ground, chosen: random.Random, fields: list[tuple[bytes, bytes, int]]) -> Attack:
    parts = [(b"\r\n--hostile\r\n" + before, unit, times) for before, unit, times in fields]
    media_type = "multipart/form-data; boundary=hostile"
    return _sent(ground, chosen, media_type, [*parts, (b"\r\n--hostile--\r\n", b"x", 0)])


def _sent(ground: Ground, chosen: random.Random, media_type: str, parts: list[tuple[bytes, bytes, int]]) -> Attack:
    length = sum(len(before) + len(unit) * times for before, unit, times in parts)
    headers = {"Content-Type": media_type, "Content-Length": str(length)}
    pieces: Iterable[bytes] = _Blocks(head(ground, chosen, "/", headers), parts, b"")
    return Attack(pieces, owed=False)  # it may be refused before it has come
