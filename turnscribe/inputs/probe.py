"""The container of an untrusted file: opened safely, and measured before anything in it is decoded.

PyAV reads from memory with every protocol switched off and only containers and codecs from the lists below, so a
playlist has nothing it could open. `measure` walks through the packets at a tenth of the cost of decoding, and too
long a file ends there, whatever its header says.

FFmpeg runs inside this process: a crash in it takes the process along, and opening a crafted mp4 may take about 35
bytes of memory for each byte of the file.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnscribe.errors import BadAudio
from turnscribe.inputs.limits import (
    Deadline,
    Limits,
    check_decoding_time,
    check_duration,
    check_rate_and_channels,
)

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream

ACCEPTED = "wav, mp3, flac, ogg, opus, m4a, mp4, webm, amr or aac"  # for the caller to read

CONTAINERS = "wav,w64,aiff,caf,mp3,matroska,webm,ogg,flac,amr,aac"
MP4_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2"  # only for data that starts with one of these boxes:
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
CODECS = (
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,"
    "pcm_f64be,pcm_mulaw,pcm_alaw,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,g722,gsm,gsm_ms,mp1,mp1float,mp2,mp2float,"
    "mp3,mp3float,flac,alac,vorbis,libvorbis,opus,libopus,aac,aac_fixed,amrnb,amrwb,libopencore_amrnb,"
    "libopencore_amrwb,ac3,eac3"
)


@dataclass(frozen=True)
class Measures:
    """What is known of a file that nothing was decoded of. Seconds, all but `origin` counted from `origin`."""

    origin: float  # the file's first timestamp
    declared: float  # how long the header says the file is; 0 where it says nothing
    audio_end: float  # where the last packet of the first audio track ends
    end: float  # where the last packet of any track ends
    audio_tracks: int
    ends_inside_page: bool  # of Ogg: the data stops before the length that its last page declares


def measure(data: bytes, limits: Limits, deadline: Deadline) -> Measures:
    """Walk through the file. Raises `BadAudio` for one without usable audio or longer than the limits allow."""
    import av

    with open_container(data) as container:
        track = audio_track(container)
        origin = (container.start_time or 0) / av.time_base
        declared = _declared_seconds(container, data)
        check_duration(declared, limits)
        audio_end, end = _walk(container, track, origin, limits, deadline)
        return Measures(
            origin=origin,
            declared=declared,
            audio_end=audio_end,
            end=end,
            audio_tracks=len(container.streams.audio),
            ends_inside_page=_ends_inside_ogg_page(data),
        )


def open_container(data: bytes) -> InputContainer:
    """The file in memory as a container that can reach nothing else."""
    import av

    is_mp4 = data[4:8] in MP4_BOXES
    if is_mp4:
        _check_mp4_index(data)
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": MP4_CONTAINERS if is_mp4 else CONTAINERS,
        "codec_whitelist": CODECS,  # also keeps FFmpeg from decoding pictures while it probes a video
    }
    return av.open(io.BytesIO(data), "r", options=options, metadata_errors="ignore")


def audio_track(container: InputContainer) -> AudioStream:
    """The first audio track; `BadAudio` if its codec, rate or number of channels is not accepted."""
    if not container.streams.audio:
        raise BadAudio("The file has no audio track; send one that has.")
    track = container.streams.audio[0]
    context = track.codec_context
    if context is None or context.codec.name not in CODECS.split(","):
        raise BadAudio("The codec of the audio is not accepted; convert the file to wav, flac, mp3 or opus.")
    check_rate_and_channels(track.rate or 0, track.channels)
    return track


def packets(container: InputContainer, *tracks: AudioStream) -> Iterator[Packet[Stream] | None]:
    """The packets of all or the given tracks; `None`, and the end, where the container itself is damaged."""
    import av

    try:
        yield from container.demux(*tracks)
    except av.error.FFmpegError:
        yield None


@contextmanager
def unreadable_as_bad_audio(data: bytes) -> Iterator[None]:
    """Turns an error of FFmpeg about the file `data` into one sentence."""
    import av

    try:
        yield
    except BadAudio:  # a ValueError too
        raise
    except (av.error.FFmpegError, ValueError) as e:
        if data[4:8] in MP4_BOXES:
            raise BadAudio("The mp4 has no index that can be read and may be cut off; send all of it.") from e
        raise BadAudio(
            f"The input is not audio that can be read; send a {ACCEPTED} file, or headerless PCM with "
            "encoding='pcm_s16le'."
        ) from e


def _check_mp4_index(data: bytes) -> None:
    """Refuse an mp4 whose index claims more samples than the file has bytes.

    FFmpeg builds the whole index while it opens a file, about 35 bytes a sample: 592 bytes of mp4 took 387 MB
    for a claim of ten million samples. The counts are looked for everywhere but in the media itself.
    """
    start, claimed = 0, 0
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        if size == 1 and start + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, start + 8)
        end = start + size if size >= 8 else len(data)
        if kind != b"mdat":
            for tag in re.finditer(rb"stsz|stz2|trun|cmov", memoryview(data)[start:end]):
                # stsz, stz2: version and flags, a size, the count; trun: version and flags, the count
                field = start + tag.end() + (4 if tag[0] == b"trun" else 8)
                claimed += int.from_bytes(data[field : field + 4], "big")
                if claimed > len(data) or tag[0] == b"cmov":  # a compressed index could hold any claim
                    raise BadAudio("The index of the mp4 file is damaged; convert the file to wav or flac.")
        start = end


def _declared_seconds(container: InputContainer, data: bytes) -> float:
    """What the header says, or 0 where it says nothing and FFmpeg only estimates from a bit rate."""
    import av

    declared = float(container.duration or 0) / av.time_base
    match container.format.name:
        case "mp3":
            return declared if _has_mp3_length(data) else 0.0
        case "aac" | "amr":
            return 0.0
        case "wav":
            return declared * _claimed_share_of_wav(data)
    return declared


def _has_mp3_length(data: bytes) -> bool:
    """Whether an mp3's first frame holds a header that says how long the file is."""
    tag_bytes = 0  # an ID3 tag gives its size in four bytes of seven bits
    for byte in data[6:10] if data[:3] == b"ID3" else b"":
        tag_bytes = tag_bytes << 7 | byte & 0x7F
    return re.search(rb"Xing|Info|VBRI", data[tag_bytes : tag_bytes + 4096]) is not None


def _claimed_share_of_wav(data: bytes) -> float:
    """How many times the bytes that are there a wav's header claims; 1 if it claims fewer or leaves it open."""
    start = data.find(b"data", 12) + 8 if data[:4] == b"RIFF" else 0
    if start <= 8 or start >= len(data):
        return 1.0
    claimed = int.from_bytes(data[start - 4 : start], "little")
    if claimed >= 0x7FFF_0000:  # "unknown", from a pipe
        return 1.0
    return max(1.0, claimed / (len(data) - start))


def _ends_inside_ogg_page(data: bytes) -> bool:
    """Ogg declares no length, but each page of it does: 27 bytes, then a table of up to 255 sizes."""
    page = data[data.rfind(b"OggS") :] if data[:4] == b"OggS" else b""
    sizes = page[27 : 27 + page[26]] if len(page) >= 27 else b""
    return bool(page) and len(page) < 27 + len(sizes) + sum(sizes)


def _walk(
    container: InputContainer, track: AudioStream, origin: float, limits: Limits, deadline: Deadline
) -> tuple[float, float]:
    """Where the last packet of `track`, and of any track, ends: seconds after `origin`. Decodes nothing."""
    bases = [float(stream.time_base or 0) for stream in container.streams]
    ends = [0.0] * len(bases)
    for packet in packets(container):
        check_decoding_time(deadline)
        if packet is None or (ticks := packet.dts if packet.pts is None else packet.pts) is None:
            continue
        i, duration = packet.stream_index, packet.duration or 0
        if duration >= 2**31:  # FFmpeg's for the last packet of an Ogg file that ends before this packet begins
            duration -= 2**32
        ends[i] = max(ends[i], (ticks + duration) * bases[i] - origin)
        if i == track.index:
            check_duration(ends[i], limits)
    return ends[track.index], max(ends)
