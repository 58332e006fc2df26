"""A file of each container and codec that is taken, made of one tone at a known time."""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from turnscribe.waveform import to_wav

RATE = 48_000  # Hz, of the source
FREQUENCY = 1000  # Hz, which every codec keeps
SECONDS = 3.0
ONSET, END = 1.0, 2.0  # seconds: here the tone has half its level
FADE = 0.02  # seconds: a codec smears a harder edge over a frame


@dataclass(frozen=True)
class Row:
    """One file: `arguments` of ffmpeg between the source and the output, and why its times are not exact."""

    container: str
    codec: str
    suffix: str
    arguments: tuple[str, ...] = ()
    picture: tuple[str, ...] = ()  # ffmpeg's arguments for a video beside the audio
    by_pyav: bool = False  # encoded by PyAV: Debian's ffmpeg has no such encoder
    reason: str = ""  # for an error over 5 ms: what the file does not say

    @property
    def name(self) -> str:
        return f"{self.container}, {self.codec}"


def _pcm(container: str, suffix: str, codecs: str, *more: str) -> list[Row]:
    return [Row(container, codec, suffix, ("-c:a", codec, *more)) for codec in codecs.split()]


MPEG4, H264, VP8 = (("-c:v", codec) for codec in ("mpeg4", "libx264", "libvpx"))
NO_PRIMING = "the format has no field for the encoder's delay"

ROWS: tuple[Row, ...] = (
    *_pcm("wav", "wav", "pcm_u8 pcm_s16le pcm_s24le pcm_s32le pcm_f32le pcm_f64le pcm_mulaw pcm_alaw adpcm_ms"),
    *_pcm("wav", "wav", "adpcm_ima_wav"),
    Row("wav", "g722", "wav", ("-c:a", "g722", "-ar", "16000"), reason=NO_PRIMING),
    Row("wav", "gsm_ms", "wav", ("-c:a", "libgsm_ms", "-ar", "8000")),
    Row("wav", "mp3", "wav", ("-c:a", "libmp3lame"), reason=NO_PRIMING),
    Row("wav", "mp2", "wav", ("-c:a", "mp2"), reason=NO_PRIMING),
    Row("RF64", "pcm_s16le", "wav", ("-c:a", "pcm_s16le", "-rf64", "always")),
    *_pcm("Wave64", "w64", "pcm_s16le pcm_f32le"),
    *_pcm("aiff", "aiff", "pcm_s8 pcm_s16be pcm_s24be pcm_f32be pcm_f64be pcm_mulaw"),
    *_pcm("au", "au", "pcm_s16be pcm_mulaw"),
    *_pcm("caf", "caf", "pcm_s16be pcm_s32le alac"),
    Row("caf", "adpcm_ima_qt", "caf", ("-c:a", "adpcm_ima_qt")),
    Row("flac", "flac", "flac"),
    Row("mp3", "mp3, constant rate", "mp3", ("-b:a", "128k")),
    Row("mp3", "mp3, variable rate", "mp3", ("-q:a", "4")),
    Row("mp3", "mp3, 16 kHz", "mp3", ("-ar", "16000")),
    Row("mp3", "mp3 without a header", "mp3", ("-write_xing", "0"), reason=NO_PRIMING),
    Row("mp3", "mp2", "mp2", ("-c:a", "mp2"), reason=NO_PRIMING),
    Row("aac", "aac", "aac", reason=NO_PRIMING),
    Row("amr", "amr_nb", "amr", by_pyav=True, reason=NO_PRIMING),
    Row("ac3", "ac3", "ac3", ("-c:a", "ac3")),
    Row("ogg", "opus", "opus", ("-c:a", "libopus")),
    Row("ogg", "opus, 60 ms frames", "opus", ("-c:a", "libopus", "-frame_duration", "60")),
    Row("ogg", "vorbis", "ogg", ("-c:a", "libvorbis")),
    Row("ogg", "flac", "ogg", ("-c:a", "flac")),
    Row("m4a", "aac", "m4a"),
    Row("m4a", "aac, index first", "m4a", ("-movflags", "+faststart")),
    Row("m4a", "aac, fragments", "m4a", ("-movflags", "+empty_moov", "-frag_duration", "500000")),
    Row("m4a", "alac", "m4a", ("-c:a", "alac")),
    Row("mp4", "aac", "mp4", picture=H264),
    Row("mp4", "mp3", "mp4", ("-c:a", "libmp3lame"), H264),
    Row("mp4", "opus", "mp4", ("-c:a", "libopus", "-strict", "-2"), H264),
    Row("mp4", "flac", "mp4", ("-c:a", "flac", "-strict", "-2"), H264),
    Row("mp4", "ac3", "mp4", ("-c:a", "ac3"), H264),
    Row("mp4", "eac3", "mp4", ("-c:a", "eac3"), H264),
    Row("mov", "pcm_s16le", "mov", ("-c:a", "pcm_s16le"), H264),
    Row("mov", "aac", "mov", ("-c:a", "aac"), H264),
    Row("3gp", "aac", "3gp", ("-c:a", "aac"), MPEG4),
    Row("3gp", "amr_nb", "3gp", by_pyav=True, reason=NO_PRIMING),
    Row("webm", "opus", "webm", ("-c:a", "libopus")),
    Row("webm", "opus, live", "webm", ("-c:a", "libopus", "-live", "1")),
    Row("webm", "opus, video", "webm", ("-c:a", "libopus"), VP8),
    Row("webm", "vorbis", "webm", ("-c:a", "libvorbis"), VP8),
    *(Row("matroska", c.removeprefix("lib"), "mkv", ("-c:a", c), H264) for c in "aac libopus libvorbis flac".split()),
    Row("matroska", "mp3", "mkv", ("-c:a", "libmp3lame"), H264),
    *(Row("matroska", codec, "mkv", ("-c:a", codec), H264) for codec in "pcm_s16le alac ac3 eac3 mp2".split()),
    *(Row("MPEG-TS", codec, "ts", ("-c:a", codec), H264) for codec in "aac mp2 ac3".split()),
    Row("MPEG-TS", "mp3", "ts", ("-c:a", "libmp3lame"), H264),
    Row("MPEG-TS", "opus", "ts", ("-c:a", "libopus"), H264),
    Row("MPEG-PS", "mp2", "mpg", ("-c:a", "mp2"), ("-c:v", "mpeg2video")),
    Row("flv", "aac", "flv", ("-c:a", "aac"), H264),
    Row("flv", "mp3", "flv", ("-c:a", "libmp3lame", "-ar", "44100"), H264),
    Row("avi", "mp3", "avi", ("-c:a", "libmp3lame"), MPEG4),
    Row("avi", "pcm_s16le", "avi", ("-c:a", "pcm_s16le"), MPEG4),
    Row("avi", "ac3", "avi", ("-c:a", "ac3"), MPEG4),
    Row("asf", "wmav2", "wma", ("-c:a", "wmav2")),
)


def tone() -> bytes:
    """The source: 3 s of a wav file, silent but for a tone from `ONSET` to `END`."""
    times = np.arange(int(SECONDS * RATE)) / RATE
    edges = np.clip(np.minimum(times - ONSET, END - times) / FADE + 0.5, 0, 1)  # half way at the edge
    envelope = 0.5 - 0.5 * np.cos(np.pi * edges)
    return to_wav(0.5 * envelope * np.sin(2 * np.pi * FREQUENCY * times), sample_rate=RATE)


def make(row: Row) -> bytes:
    """The file of a row. Raises `OSError` without ffmpeg and `CalledProcessError` for an encoder that it lacks."""
    if row.by_pyav:
        return _by_pyav(tone(), row)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source.wav", Path(folder) / f"out.{row.suffix}"
        source.write_bytes(tone())
        picture = ("-f", "lavfi", "-i", f"testsrc=d={SECONDS:g}:r=25:s=64x48", *row.picture) if row.picture else ()
        _run(
            [
                "-i",
                str(source),
                *picture,
                "-map",
                "0:a",
                *(("-map", "1:v") if picture else ()),
                *row.arguments,
                str(out),
            ]
        )
        return out.read_bytes()


def ffmpeg_version() -> str:
    """Of the ffmpeg on the path, such as `5.1.9`."""
    first = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True).stdout.split()
    return first[2].split("-")[0]


def _run(arguments: Sequence[str]) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *arguments], check=True, capture_output=True)


def _by_pyav(source: bytes, row: Row) -> bytes:
    import av

    sink = io.BytesIO()
    resampler = av.AudioResampler("flt", "mono", 8_000)
    with av.open(io.BytesIO(source), "r") as read, av.open(sink, "w", format=row.suffix) as written:
        stream = written.add_stream("libopencore_amrnb", rate=8_000, layout="mono")
        for frame in (*read.decode(audio=0), None):
            for resampled in resampler.resample(frame):
                written.mux(stream.encode(resampled))
        written.mux(stream.encode(None))
    return sink.getvalue()
