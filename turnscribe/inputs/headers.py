"""What the header of a file says of it, read from the bytes: FFmpeg passes on less than there is, or guesses."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from turnscribe.errors import BadAudio
from turnscribe.inputs.limits import Limits
from turnscribe.inputs.sizes import audio_size

if TYPE_CHECKING:
    from av.container import InputContainer

MP4_BOXES = (
    b"ftyp",
    b"styp",
    b"moov",
    b"moof",
    b"mdat",
    b"sidx",
    b"free",
    b"skip",
    b"wide",
    b"pnot",
    b"uuid",
)


def declared_seconds(container: InputContainer, data: bytes, origin: float, limits: Limits) -> float:
    """How long the file is by its header; 0 where that says nothing and FFmpeg only estimates from a bit rate.

    `origin` is the file's first timestamp in seconds: some of Matroska's programs count the length from 0.
    """
    import av

    declared = float(container.duration or 0) / av.time_base
    match container.format.name:
        case "mp3":
            return declared if _has_mp3_length(data) else 0.0
        case "aac" | "amr" | "ogg" | "mpegts" | "mpeg":  # FFmpeg reads the end that is there
            return 0.0
        case "avi":  # a track that begins late is longer there than it is
            lengths = [float(s.duration * s.time_base) for s in container.streams if s.duration and s.time_base]
            return min(lengths, default=0.0)
        case "matroska,webm" | "flv":
            return max(0.0, declared - max(0.0, origin))
    size = audio_size(data)
    if size is None:
        return declared
    declared *= size.claimed_share(limits.max_bytes)
    return declared if declared <= limits.max_seconds else 0.0


def has_track_lengths(data: bytes) -> bool:
    """Whether the index of this mp4 says how long each track is, as it does not where it comes in fragments."""
    return is_mp4(data) and not any(kind == b"moof" for kind, _, _ in _mp4_boxes(data))


def is_mp4(data: bytes) -> bool:
    return data[4:8] in MP4_BOXES


def check_mp4_index(data: bytes) -> None:
    """Refuse an mp4 whose index claims more samples than the file has bytes.

    FFmpeg builds the whole index while it opens a file, about 35 bytes a sample: 592 bytes of mp4 took 387 MB
    for a claim of ten million samples. The counts are looked for everywhere but in the media itself.
    """
    claimed = 0
    for kind, start, end in _mp4_boxes(data):
        if kind == b"mdat":
            continue
        for tag in re.finditer(rb"stsz|stz2|trun|cmov", memoryview(data)[start:end]):
            # stsz, stz2: version and flags, a size, the count; trun: version and flags, the count
            field = start + tag.end() + (4 if tag[0] == b"trun" else 8)
            claimed += int.from_bytes(data[field : field + 4], "big")
            if claimed > len(data) or tag[0] == b"cmov":  # a compressed index could hold any claim
                raise BadAudio("The index of the mp4 file is damaged; convert the file to wav or flac.")


def ends_inside_ogg_page(data: bytes) -> bool:
    """Ogg declares no length, but each page of it does: 27 bytes, then a table of up to 255 sizes."""
    page = data[data.rfind(b"OggS") :] if data[:4] == b"OggS" else b""
    sizes = page[27 : 27 + page[26]] if len(page) >= 27 else b""
    return bool(page) and len(page) < 27 + len(sizes) + sum(sizes)


def _has_mp3_length(data: bytes) -> bool:
    """Whether an mp3's first frame holds a header that says how long the file is."""
    tag_bytes = 0  # an ID3 tag gives its size in four bytes of seven bits
    for byte in data[6:10] if data[:3] == b"ID3" else b"":
        tag_bytes = tag_bytes << 7 | byte & 0x7F
    return re.search(rb"Xing|Info|VBRI", data[tag_bytes : tag_bytes + 4096]) is not None


def _mp4_boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The outermost boxes: kind, first byte, and the byte behind the last."""
    start = 0
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        if size == 1 and start + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, start + 8)
        end = start + size if size >= 8 else len(data)
        yield kind, start, end
        start = end
