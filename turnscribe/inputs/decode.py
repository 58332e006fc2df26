"""Untrusted bytes in, mono float32 at 16 kHz out.

PyAV reads from memory with every protocol switched off and only formats and codecs from the lists below, so a
playlist has nothing it could open. A file is first walked without decoding, at a tenth of the cost, and too
long a file ends there, whatever its header says.

It does not know where the bytes come from (`turnscribe.inputs.fetch` does) or what the audio is for. FFmpeg runs
inside this process: a crash in there takes the process along, and the index of a crafted mp4 may take about
35 bytes of memory for each byte of the file.
"""

from __future__ import annotations

import io
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from turnscribe.errors import BadAudio, BadParameters
from turnscribe.waveform import SAMPLE_RATE

if TYPE_CHECKING:
    from av import AudioFifo, AudioFrame, AudioResampler, Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer

RATES = range(4_000, 384_001)  # Hz, what a file or a caller may ask for
MAX_CHANNELS = 8  # 7.1
GAP_SECONDS = 0.25  # a hole in the timestamps longer than this becomes silence, so later words keep their times

FORMATS = "wav,w64,aiff,caf,mp3,matroska,webm,ogg,flac,amr,aac"
MP4_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2"  # only for data that starts with one of these boxes:
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
KINDS = "wav, mp3, flac, ogg, opus, m4a, mp4, webm, amr or aac"
BLOCK_SAMPLES = 2**16  # decoded frames are resampled in blocks of this many; frame by frame takes 1.4 x as long


@dataclass(frozen=True)
class Limits:
    """What one input may cost: seconds of audio, bytes of the file, seconds spent on decoding."""

    max_seconds: float = 4 * 3600
    max_bytes: int = 512 * 2**20
    max_decode_seconds: float = 300


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Audio:
    """Samples at 16 kHz in [-1, 1] and one sentence for everything that was not as declared."""

    channels: NDArray[np.float32]  # [C, samples]; C is 1 unless the channels were asked for
    warnings: tuple[str, ...] = ()

    @property
    def mono(self) -> NDArray[np.float32]:
        """The only channel, or the mean of the split ones.  # [samples]"""
        return self.channels[0] if len(self.channels) == 1 else self.channels.mean(axis=0)

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.channels.shape[1] / SAMPLE_RATE


def decode_audio(
    data: bytes,
    *,
    limits: Limits = DEFAULT_LIMITS,
    sampling_rate: int = SAMPLE_RATE,
    encoding: str | None = None,
    split_channels: bool = False,
) -> Audio:
    """Decode the bytes of a file, or of headerless mono PCM with `encoding="pcm_s16le"`.

    `sampling_rate` (Hz) is the rate the audio passes through before 16 kHz, and the rate of headerless PCM;
    it may cost treble and never moves a timestamp. Channels are mixed such that the same signal on all of
    them keeps its level; with `split_channels` each stays apart. Times count from the start of the file: where a
    video or a damaged file has no audio, there is silence. Damage in the middle and an early end are told in
    `warnings`. Raises `BadAudio`, or `BadParameters` for the two options.
    """
    if sampling_rate not in RATES:
        raise BadParameters(f"sampling_rate must be a whole number from {RATES[0]} to {RATES[-1]} Hz.")
    if encoding not in (None, "pcm_s16le"):
        raise BadParameters("encoding must be 'pcm_s16le', or left out for audio with a header.")
    if not data:
        raise BadAudio(f"The input is empty; send the bytes of a {KINDS} file.")
    check_size(len(data), limits)
    if encoding:
        return _decode_pcm(data, limits, sampling_rate)
    return _decode_container(data, limits, sampling_rate, split_channels)


def check_size(size_bytes: int, limits: Limits) -> None:
    """`BadAudio` when an input is larger than `limits.max_bytes`."""
    if size_bytes > limits.max_bytes:
        raise BadAudio(f"The input is over {limits.max_bytes / 2**20:g} MiB; send a shorter or smaller file.")


def _check_seconds(seconds: float, limits: Limits) -> None:
    if seconds > limits.max_seconds:
        raise BadAudio(f"The audio is longer than the {limits.max_seconds:g} s accepted; send it in parts.")


def _check_mp4_index(data: bytes) -> None:
    """Refuse an mp4 whose index claims more samples than the file has bytes.

    FFmpeg builds the whole index while it opens a file, about 35 bytes a sample: 592 bytes of mp4 took 387 MB
    for a claim of ten million samples. The counts are looked for everywhere but in the media itself.
    """
    at, claimed = 0, 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
        end = at + size if size >= 8 else len(data)
        if kind != b"mdat":
            for tag in re.finditer(rb"stsz|stz2|trun|cmov", memoryview(data)[at:end]):
                # stsz, stz2: version and flags, a size, the count; trun: version and flags, the count
                field = at + tag.end() + (4 if tag[0] == b"trun" else 8)
                claimed += int.from_bytes(data[field : field + 4], "big")
                if claimed > len(data) or tag[0] == b"cmov":  # a compressed index could hold any claim
                    raise BadAudio("The index of the mp4 file is damaged; convert the file to wav or flac.")
        at = end


def _decode_pcm(data: bytes, limits: Limits, sampling_rate: int) -> Audio:
    import av

    if len(data) % 2:
        raise BadAudio("pcm_s16le has two bytes a sample and the input an odd number; send whole samples.")
    _check_seconds(len(data) / 2 / sampling_rate, limits)
    sink = _Sink(limits, sampling_rate)
    samples = np.frombuffer(data, "<i2")[None]  # [1, samples]
    for start in range(0, samples.shape[1], BLOCK_SAMPLES):
        block = np.ascontiguousarray(samples[:, start : start + BLOCK_SAMPLES])
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate = sampling_rate
        sink.push(frame)
    return Audio(sink.finish())


def _decode_container(data: bytes, limits: Limits, sampling_rate: int, split: bool) -> Audio:
    import av

    deadline = time.monotonic() + limits.max_decode_seconds
    damaged = 0  # packets
    try:
        with _open(data) as container:
            stream = _audio_stream(container)
            tracks = len(container.streams.audio)
            origin = (container.start_time or 0) / av.time_base
            declared = _declared_seconds(container, data)
            _check_seconds(declared, limits)
            present, furthest = _walk(container, stream, origin, limits, deadline)
        with _open(data) as container:
            sink = _Sink(limits, sampling_rate, split=split, origin=origin)
            for packet in _packets(container, _audio_stream(container)):
                _check_deadline(deadline, limits)
                try:
                    frames = packet.decode() if packet else []
                    damaged += packet is None
                except av.error.FFmpegError:
                    frames, damaged = [], damaged + 1
                for frame in frames:
                    sink.push(cast("AudioFrame", frame))
            channels = sink.finish()
    except BadAudio:
        raise
    except (av.error.FFmpegError, ValueError) as e:
        if data[4:8] in MP4_BOXES:
            raise BadAudio("The mp4 has no index that can be read and may be cut off; send all of it.") from e
        raise BadAudio(
            f"The input is not audio that can be read; send a {KINDS} file, or headerless PCM with "
            "encoding='pcm_s16le'."
        ) from e
    if not channels.size:
        raise BadAudio(f"No audio could be decoded from the input; send an undamaged {KINDS} file.")

    decoded = channels.shape[1] / SAMPLE_RATE
    end = max(furthest, decoded)
    warnings = []
    if declared - end > max(0.5, 0.01 * declared):
        warnings.append(f"The file declares {declared:.1f} s and ends after {end:.1f} s: it seems cut off.")
    elif _ends_inside_ogg_page(data):
        warnings.append(f"The file ends inside a page, after {end:.1f} s: it seems cut off.")
    if damaged or present - decoded > max(0.5, 0.01 * present):
        warnings.append("Part of the audio is damaged and could not be decoded: its text is missing.")
    if sink.missing_seconds > 0.5:
        warnings.append(f"{sink.missing_seconds:.1f} s are missing inside the file: silence stands there.")
    if tracks > 1:
        warnings.append(f"The file has {tracks} audio tracks; only the first was used.")
    return Audio(channels, tuple(warnings))


def _open(data: bytes) -> InputContainer:
    """The file in memory as a container that can reach nothing else."""
    import av

    is_mp4 = data[4:8] in MP4_BOXES
    if is_mp4:
        _check_mp4_index(data)
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": MP4_FORMATS if is_mp4 else FORMATS,
        "codec_whitelist": CODECS,  # also keeps FFmpeg from decoding pictures while it probes a video
    }
    return av.open(io.BytesIO(data), "r", options=options, metadata_errors="ignore")


def _audio_stream(container: InputContainer) -> AudioStream:
    """The first audio stream, once its codec, rate and channel count are known to be sane."""
    if not container.streams.audio:
        raise BadAudio("The file has no audio track; send one that has.")
    stream = container.streams.audio[0]
    context = stream.codec_context
    if context is None or context.codec.name not in CODECS.split(","):
        raise BadAudio("The codec of the audio is not accepted; convert the file to wav, flac, mp3 or opus.")
    _check_shape(stream.rate or 0, stream.channels)
    return stream


def _check_shape(rate: int, channels: int) -> None:
    if rate not in RATES:
        raise BadAudio(f"The audio has {rate} samples a second; {RATES[0]} to {RATES[-1]} are accepted.")
    if not 1 <= channels <= MAX_CHANNELS:
        raise BadAudio(f"The audio has {channels} channels; 1 to {MAX_CHANNELS} are accepted.")


def _check_deadline(deadline: float, limits: Limits) -> None:
    if time.monotonic() > deadline:
        raise BadAudio(f"Decoding took over {limits.max_decode_seconds:g} s; send the audio as wav or flac.")


def _declared_seconds(container: InputContainer, data: bytes) -> float:
    """What the header says, or 0 where it says nothing and FFmpeg only estimates from a bit rate."""
    import av

    declared = float(container.duration or 0) / av.time_base
    if container.format.name == "mp3":
        tag_bytes = 0  # an ID3 tag gives its size in four bytes of seven bits
        for byte in data[6:10] if data[:3] == b"ID3" else b"":
            tag_bytes = tag_bytes << 7 | byte & 0x7F
        return declared if re.search(rb"Xing|Info|VBRI", data[tag_bytes : tag_bytes + 4096]) else 0.0
    if container.format.name in ("aac", "amr"):
        return 0.0
    if container.format.name == "wav" and data[:4] == b"RIFF" and (start := data.find(b"data", 12) + 8) > 8:
        (claimed,) = struct.unpack_from("<I", data, start - 4)
        if start < len(data) and len(data) - start < claimed < 0x7FFF_0000:  # above: "unknown", from a pipe
            return declared * max(1.0, claimed / (len(data) - start))
    return declared


def _ends_inside_ogg_page(data: bytes) -> bool:
    """Ogg declares no length, but each page of it does: 27 bytes, then a table of up to 255 sizes."""
    page = data[data.rfind(b"OggS") :] if data[:4] == b"OggS" else b""
    sizes = page[27 : 27 + page[26]] if len(page) >= 27 else b""
    return bool(page) and len(page) < 27 + len(sizes) + sum(sizes)


def _walk(
    container: InputContainer, stream: AudioStream, origin: float, limits: Limits, deadline: float
) -> tuple[float, float]:
    """Where the last packet of `stream`, and of any stream, ends: seconds after `origin`. Decodes nothing."""
    bases = [float(s.time_base or 0) for s in container.streams]
    ends = [0.0] * len(bases)
    for packet in _packets(container):
        _check_deadline(deadline, limits)
        if packet is None or (ticks := packet.dts if packet.pts is None else packet.pts) is None:
            continue
        i = packet.stream_index
        ends[i] = max(ends[i], (ticks + (packet.duration or 0)) * bases[i] - origin)
        if i == stream.index:
            _check_seconds(ends[i], limits)
    return ends[stream.index], max(ends)


def _packets(container: InputContainer, *streams: AudioStream) -> Iterator[Packet | None]:
    """The packets of all or the given streams; `None`, and the end, where the container itself is damaged."""
    import av

    try:
        yield from container.demux(*streams)
    except av.error.FFmpegError:
        yield None


class _Sink:
    """Takes decoded frames, resamples them in blocks and keeps 16-bit samples, at most the limit of them.

    Channels are mixed in 16 bits: FFmpeg then scales the mix so that it cannot clip; in float it does not,
    and the same signal on two channels comes out 3 dB louder. 16 bits also halve the memory until the end.
    """

    def __init__(self, limits: Limits, sampling_rate: int, *, split: bool = False, origin: float = 0.0) -> None:
        self._limits, self._origin = limits, origin
        self._rates = dict.fromkeys((sampling_rate, SAMPLE_RATE))  # one stage where they are the same
        self._layout = None if split else "mono"  # None: that of the first frame
        self._format: tuple[str, str, int] | None = None
        self._stages: list[AudioResampler] = []
        self._fifo: AudioFifo | None = None
        self._seconds = 0.0  # of audio taken in, with the gaps
        self.missing_seconds = 0.0  # the gaps alone, without one at the start
        self._pcm: list[bytearray] = []  # a channel each

    def push(self, frame: AudioFrame) -> None:
        """Take one frame; a hole before it, seen in the timestamps, becomes silence."""
        layout, rate = frame.layout, frame.sample_rate
        form = (frame.format.name, layout.name, rate)
        if (
            self._fifo is None or form != self._format
        ):  # the first frame, or one of another kind: chained streams, late HE-AAC
            _check_shape(rate, layout.nb_channels)
            self._fifo = self._start(form)
        gap = 0.0 if frame.time is None else frame.time - self._origin - self._seconds
        self._seconds += frame.samples / rate + (gap if gap > GAP_SECONDS else 0.0)
        _check_seconds(self._seconds, self._limits)
        if gap > GAP_SECONDS:
            self.missing_seconds += gap if self._pcm[0] or self._fifo.samples else 0.0
            self._drain()
            for channel in self._pcm:
                channel += bytes(2 * round(gap * SAMPLE_RATE))
        frame.pts = None  # or the queue compares it with its own count
        self._fifo.write(frame)
        if self._fifo.samples >= BLOCK_SAMPLES:
            self._drain()

    def finish(self) -> NDArray[np.float32]:
        """Everything taken in, [C, samples] in [-1, 1]; C is 0 when nothing was."""
        self._drain(last=True)
        samples = min((len(channel) // 2 for channel in self._pcm), default=0)
        out = np.empty((len(self._pcm), samples), np.float32)
        for row, channel in zip(out, self._pcm, strict=True):
            np.multiply(np.frombuffer(channel, np.int16, samples), np.float32(1 / 32768), out=row)
        return out

    def _start(self, form: tuple[str, str, int]) -> AudioFifo:
        from av import AudioFifo, AudioLayout, AudioResampler

        self._drain(last=True)
        self._format, self._layout = form, self._layout or form[1]
        self._stages = [AudioResampler("s16", self._layout, rate) for rate in self._rates]
        if not self._pcm:
            self._pcm = [bytearray() for _ in range(AudioLayout(self._layout).nb_channels)]
        return AudioFifo()

    def _drain(self, last: bool = False) -> None:
        """Resample what is queued; with `last` also what the resamplers hold back."""
        block = self._fifo.read() if self._fifo else None
        frames = [block] if block else []
        for stage in self._stages:
            frames = [out for frame in frames for out in stage.resample(frame)]
            frames += stage.resample(None) if last else []
        for frame in frames:
            samples = frame.to_ndarray().reshape(-1, len(self._pcm))  # packed: PyAV 18 crashes on 8 planes
            for i, channel in enumerate(self._pcm):
                channel += samples[:, i].tobytes()
