"""Clients that are slow, silent or gone, and those that do not read."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tools.hostile.attack import PATHS, Attack, Ground, head

LONGEST_S = 1.5  # of a hold: a connection that is held holds a thread here
BYTES = 40  # that come one at a time


def bytewise_head(ground: Ground, chosen: random.Random) -> Attack:
    raw = head(ground, chosen, "/health", method="GET")
    return Attack(_bytewise(raw), pause_s=0.02, method="GET")


def bytewise_body(ground: Ground, chosen: random.Random) -> Attack:
    file = ground.recordings["wav"]
    raw = head(ground, chosen, "/?diarize=false", {"Content-Type": "audio/wav", "Content-Length": str(len(file))})
    return Attack((raw, *_bytewise(file)), pause_s=0.02)


def silent(ground: Ground, chosen: random.Random) -> Attack:
    """Before a head, in its middle, or in the middle of a body."""
    raw = head(ground, chosen, chosen.choice(PATHS), {"Content-Type": "audio/wav", "Content-Length": "100000"})
    said = chosen.choice((b"", raw[: chosen.randrange(len(raw))], raw, raw + b"x" * 5000))
    return Attack((said,), end="leave", hold_s=chosen.random() * LONGEST_S, owed=False)


def half_closed(ground: Ground, chosen: random.Random) -> Attack:
    """Nothing more comes, in the middle of a body or after it."""
    file = ground.recordings["wav"]
    raw = head(ground, chosen, "/", {"Content-Type": "audio/wav", "Content-Length": str(len(file))}) + file
    return Attack((raw[: chosen.choice((len(raw), chosen.randrange(len(raw))))],), end="half-close", owed=False)


def reset(ground: Ground, chosen: random.Random) -> Attack:
    """Gone without a word, while the body comes or the models work."""
    file = ground.recordings["wav"]
    raw = head(
        ground, chosen, chosen.choice(PATHS[:2]), {"Content-Type": "audio/wav", "Content-Length": str(len(file))}
    )
    whole = raw + file
    sent = whole[: chosen.choice((len(whole), chosen.randrange(len(whole))))]
    return Attack((sent,), end="reset", hold_s=chosen.random() * 0.5, owed=False)


def unread(ground: Ground, chosen: random.Random) -> Attack:
    """Answers that nobody reads: more of them than the kernel keeps."""
    path = chosen.choice(("/openapi.json", "/docs", "/ui", "/metrics"))
    one = head(ground, chosen, path, method="GET").replace(b"Connection: close\r\n", b"")
    return Attack((one * 100,), end="unread", hold_s=chosen.random() * LONGEST_S, owed=False, method="GET")


GENERATORS = {bytewise_head: 2, bytewise_body: 2, silent: 4, half_closed: 3, reset: 4, unread: 2}


def _bytewise(data: bytes) -> Iterator[bytes]:
    """The first bytes one at a time, then the rest."""
    for at in range(min(BYTES, len(data))):
        yield data[at : at + 1]
    yield data[BYTES:]
