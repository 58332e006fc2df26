"""How much audio a wav, Wave64, AIFF, AU or CAF header claims, and the same header with what is there.

A program that streams cannot know the size when it writes the header, so it writes a placeholder: 0, -1, 0x7FFFFFFF
or two thousand million. FFmpeg refuses some of these, and takes others for the length of the recording.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import NamedTuple

UNKNOWN_FROM = 0x7FFF_0000  # bytes: so much and more is what programs write that do not know

WAVE64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


class Patch(NamedTuple):
    """Bytes that stand in for those at `start`."""

    start: int
    content: bytes


class AudioSize(NamedTuple):
    """In bytes: what the header claims, what is there, and how the header reads with the latter."""

    claimed: int
    there: int
    patches: tuple[Patch, ...]

    @property
    def is_unusable(self) -> bool:
        """Whether the header claims nothing although something is there, or more than is there."""
        return self.there > 0 and not 0 < self.claimed <= self.there

    def claimed_share(self, max_bytes: int) -> float:
        """How many times the audio that is there the header claims; 0 where it says nothing that can be true."""
        if not 0 < self.claimed < min(UNKNOWN_FROM, max_bytes):
            return 0.0
        return self.claimed / self.there if self.is_unusable else 1.0


def audio_size(data: bytes) -> AudioSize | None:
    """`None` where the file is of another kind, or has no audio chunk."""
    match data[:4]:
        case b"RIFF" if data[8:12] == b"WAVE":
            return _riff(data)
        case b"RF64" | b"BW64":
            return _rf64(data)
        case b"riff":
            return _wave64(data)
        case b"FORM" if data[8:12] in (b"AIFF", b"AIFC"):
            return _aiff(data)
        case b".snd":
            return _au(data)
        case b"caff":
            return _caf(data)
    return None


class PatchedFile(io.BytesIO):
    """A file in memory that reads as if it had been patched; the bytes themselves are not copied."""

    def __init__(self, data: bytes, patches: tuple[Patch, ...]) -> None:
        super().__init__(data)
        self._patches = patches

    def read(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        content = super().read(size)
        for patch in self._patches:
            low, high = max(start, patch.start), min(start + len(content), patch.start + len(patch.content))
            if low < high:
                new = patch.content[low - patch.start : high - patch.start]
                content = content[: low - start] + new + content[high - start :]
        return content


def _riff(data: bytes) -> AudioSize | None:
    for tag, size, start in _chunks(data, 12, "<4sI"):
        if tag == b"data":
            there = len(data) - start
            return AudioSize(size, there, (Patch(start - 4, struct.pack("<I", min(there, 0xFFFF_FFFE))),))
    return None


def _rf64(data: bytes) -> AudioSize | None:
    """EBU Tech 3306: the true sizes are in the chunk `ds64`."""
    sizes = None
    for tag, size, start in _chunks(data, 12, "<4sI"):
        if tag == b"ds64" and size >= 16 and start + 24 <= len(data):
            sizes = start
        elif tag == b"data" and sizes is not None:
            (claimed,) = struct.unpack_from("<Q", data, sizes + 8)
            there = len(data) - start
            return AudioSize(claimed, there, (Patch(sizes, struct.pack("<QQQ", len(data) - 8, there, 0)),))
        elif tag == b"data":
            return AudioSize(size, len(data) - start, (Patch(0, b"RIFF"),))
    return None


def _wave64(data: bytes) -> AudioSize | None:
    """Sizes count the 24 bytes of a chunk's own header; chunks begin at multiples of 8."""
    at = 40
    while at + 24 <= len(data):
        (size,) = struct.unpack_from("<Q", data, at + 16)
        if data[at : at + 16] == WAVE64_DATA:
            there = len(data) - at - 24
            whole, audio = struct.pack("<Q", len(data)), struct.pack("<Q", there + 24)
            return AudioSize(max(0, size - 24), there, (Patch(16, whole), Patch(at + 16, audio)))
        at += max(24, size + 7 & ~7)
    return None


def _aiff(data: bytes) -> AudioSize | None:
    """The length is there a second time, in sample frames in `COMM`; 0 makes FFmpeg count them itself."""
    patches = [Patch(4, struct.pack(">I", min(len(data) - 8, 0x7FFF_FFFF)))]
    for tag, size, start in _chunks(data, 12, ">4sI"):
        if tag == b"COMM":
            patches.append(Patch(start + 2, bytes(4)))
        elif tag == b"SSND":
            there = len(data) - start - 8
            patches.append(Patch(start - 4, struct.pack(">I", min(there + 8, 0x7FFF_FFFF))))
            return AudioSize(max(0, size - 8), there, tuple(patches))
    return None


def _au(data: bytes) -> AudioSize | None:
    if len(data) < 24:
        return None
    start, claimed = struct.unpack_from(">II", data, 4)
    return AudioSize(claimed, len(data) - start, (Patch(8, b"\xff" * 4),))  # "unknown", by the format itself


def _caf(data: bytes) -> AudioSize | None:
    for tag, size, start in _chunks(data, 8, ">4sQ"):
        if tag == b"data":  # begins with four bytes that count edits; -1 is "unknown", by the format itself
            return AudioSize(max(0, size - 4), len(data) - start - 4, (Patch(start - 8, b"\xff" * 8),))
    return None


def _chunks(data: bytes, at: int, header: str) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's tag, size and first byte; where sizes have 32 bits, odd ones are padded."""
    while at + struct.calcsize(header) <= len(data):
        tag, size = struct.unpack_from(header, data, at)
        start = at + struct.calcsize(header)
        yield tag, size, start
        at = start + size + (size % 2 if header != ">4sQ" else 0)
