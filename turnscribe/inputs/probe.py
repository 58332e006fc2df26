"""The container of an untrusted file: opened safely, and measured before anything in it is decoded.

PyAV reads from memory with every protocol switched off and only containers and codecs from the lists below, so a
playlist has nothing it could open. `measure` walks through the packets at a tenth of the cost of decoding, and too
long a file ends there, whatever its header says.

FFmpeg runs inside this process: a crash in it takes the process along, and opening a crafted mp4 may take about 35
bytes of memory for each byte of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnscribe.errors import BadAudio, BadParameters, RequestError
from turnscribe.inputs.headers import (
    check_mp4_index,
    declared_seconds,
    ends_inside_ogg_page,
    has_track_lengths,
    is_mp4,
)
from turnscribe.inputs.limits import (
    Deadline,
    Limits,
    check_decoding_time,
    check_duration,
    check_rate_and_channels,
)
from turnscribe.inputs.sizes import PatchedFile, audio_size
from turnscribe.inputs.timeline import Clock

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream

ACCEPTED = "wav, mp3, flac, ogg, opus, m4a, mp4, webm, amr or aac"  # for the caller to read

CONTAINERS = "wav,w64,aiff,au,caf,mp3,matroska,webm,ogg,flac,amr,aac,mpegts,mpeg,flv,avi"
MP4_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2"  # only for data that starts with one of its boxes
CODECS = (
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,"
    "pcm_f64be,pcm_mulaw,pcm_alaw,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,g722,gsm,gsm_ms,mp1,mp1float,mp2,mp2float,"
    "mp3,mp3float,flac,alac,vorbis,libvorbis,opus,libopus,aac,aac_fixed,amrnb,amrwb,libopencore_amrnb,"
    "libopencore_amrwb,ac3,eac3"
)


NEVER = float("inf")  # when a track begins that has no timestamps


@dataclass(frozen=True)
class Measures:
    """What is known of an audio track that nothing was decoded of. Seconds are counted from the file's start."""

    number: int  # of the track, from 1
    stream: int  # the track's index among all streams
    clock: Clock  # its timestamps
    declared: float  # how long the header says the file is; 0 where it says nothing
    audio_end: float  # where the last packet of the track ends
    end: float  # where the last packet of any track ends
    stop: float | None  # where the track ends by an edit list, which may be inside its last packet
    ends_inside_page: bool  # of Ogg: the data stops before the length that its last page declares


@dataclass(frozen=True)
class Survey:
    """The audio tracks that can be decoded, or the one that was chosen, and how many there are in all."""

    tracks: tuple[Measures, ...]  # at least one
    total: int
    marked: int | None  # the number of the track that the file marks as its default, where it marks just one


def survey(data: bytes, audio_track: int | None, limits: Limits, deadline: Deadline) -> Survey:
    """Walk through the file. Raises `BadAudio` where there is no audio that can be decoded, or more than the limits
    allow, and `BadParameters` where there is no track of the number `audio_track`.
    """
    with open_container(data) as container:
        usable = _usable_tracks(container, audio_track)
        starts, ends = _walk(container, usable[0][1].index, limits, deadline)
        exact = has_track_lengths(data)
        inside_page = ends_inside_ogg_page(data)
        tracks = []
        for number, track in usable:
            clock = _clock(container, track, starts)
            length = _seconds(track, track.duration)
            tracks.append(
                Measures(
                    number=number,
                    stream=track.index,
                    clock=clock,
                    declared=declared_seconds(container, data, clock.origin, limits),
                    audio_end=ends[track.index] - clock.origin,
                    end=max(ends) - clock.origin,
                    stop=clock.start + length if exact and length else None,
                    ends_inside_page=inside_page,
                )
            )
        check_duration(tracks[0].audio_end, limits)
        return Survey(tuple(tracks), len(container.streams.audio), _marked_track(container))


def open_container(data: bytes) -> InputContainer:
    """The file in memory as a container that can reach nothing else."""
    import av

    if is_mp4(data):
        check_mp4_index(data)
    size = audio_size(data)
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": MP4_CONTAINERS if is_mp4(data) else CONTAINERS,
        "codec_whitelist": CODECS,  # also keeps FFmpeg from decoding pictures while it probes a video
    }
    file = PatchedFile(data, size.patches if size and size.is_unusable else ())
    return av.open(file, "r", options=options, metadata_errors="ignore")


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
    except RequestError:  # a ValueError too
        raise
    except (av.error.FFmpegError, ValueError) as e:
        if is_mp4(data):
            raise BadAudio("The mp4 has no index that can be read and may be cut off; send all of it.") from e
        raise BadAudio(
            f"The input is not audio that can be read; send a {ACCEPTED} file, or headerless PCM with "
            "encoding='pcm_s16le'."
        ) from e


def _usable_tracks(container: InputContainer, audio_track: int | None) -> list[tuple[int, AudioStream]]:
    """Those that can be decoded, with their numbers; or the chosen one alone."""
    tracks = list(enumerate(container.streams.audio, 1))
    if not tracks:
        raise BadAudio("The file has no audio track; send one that has.")
    if audio_track is not None:
        check_track_number(audio_track, len(tracks))
        tracks = tracks[audio_track - 1 : audio_track]
    usable = [(number, track) for number, track in tracks if _refusal(track) is None]
    if not usable:
        refusal = _refusal(tracks[0][1])
        assert refusal is not None
        raise refusal
    return usable


def check_track_number(audio_track: int, total: int) -> None:
    """`BadParameters` where a file with `total` audio tracks has none of this number."""
    if audio_track > total:
        right = "leave it out" if total == 1 else f"send a number from 1 to {total}"
        tracks = "1 audio track" if total == 1 else f"{total} audio tracks"
        raise BadParameters(f"audio_track is {audio_track} and the input has {tracks}: {right}.")


def _refusal(track: AudioStream) -> BadAudio | None:
    """Why a track is not accepted: its codec, rate or number of channels."""
    context = track.codec_context
    if context is None or context.codec.name not in CODECS.split(","):
        return BadAudio("The codec of the audio is not accepted; convert the file to wav, flac, mp3 or opus.")
    try:
        check_rate_and_channels(track.rate or 0, track.channels)
    except BadAudio as e:
        return e
    return None


def _marked_track(container: InputContainer) -> int | None:
    marked = [
        number
        for number, track in enumerate(container.streams.audio, 1)
        if "default" in str(getattr(track, "disposition", "")).lower()  # PyAV 13 does not say
    ]
    return marked[0] if len(marked) == 1 else None


def _clock(container: InputContainer, track: AudioStream, starts: list[float]) -> Clock:
    """Where the timestamps of `track` begin, and the file's: with the first of its pictures and sounds."""
    began = {}
    for stream in (*container.streams.video, *container.streams.audio):
        start = _seconds(stream, stream.start_time)  # behind what a codec takes in first, or an edit list leaves out
        began[stream.index] = starts[stream.index] if start is None else start
    own = began.pop(track.index)
    others = min(began.values(), default=NEVER)
    if own == others == NEVER:  # nothing has a timestamp
        return Clock()
    return Clock(start=others if own == NEVER else own, others=others)


def _seconds(stream: Stream, ticks: int | None) -> float | None:
    return None if ticks is None or stream.time_base is None else float(ticks * stream.time_base)


def _walk(
    container: InputContainer, track: int, limits: Limits, deadline: Deadline
) -> tuple[list[float], list[float]]:
    """The first and the last timestamp of every stream in seconds; `track` may not be too long. Decodes nothing."""
    bases = [float(stream.time_base or 0) for stream in container.streams]
    starts, ends = [NEVER] * len(bases), [0.0] * len(bases)
    for packet in packets(container):
        check_decoding_time(deadline)
        if packet is None or (ticks := packet.dts if packet.pts is None else packet.pts) is None:
            continue
        i, duration = packet.stream_index, packet.duration or 0
        if duration >= 2**31:  # FFmpeg's for the last packet of an Ogg file that ends before this packet begins
            duration -= 2**32
        end = (ticks + duration) * bases[i]
        ends[i] = end if starts[i] == NEVER else max(ends[i], end)
        starts[i] = min(starts[i], ticks * bases[i])
        if i == track:
            check_duration(ends[i] - starts[i], limits)
    return starts, ends
