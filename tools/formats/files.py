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
        return f"{self.container}, {self.codec.removeprefix('lib').replace('mp3lame', 'mp3')}"


def _pcm(container: str, suffix: str, codecs: str, *more: str) -> list[Row]:
    return [Row(container, codec, suffix, ("-c:a", codec, *more)) for codec in codecs.split()]


MPEG4, H264, VP8 = (("-c:v", codec) for codec in ("mpeg4", "libx264", "libvpx"))
DELAY = "the file does not say what the encoder took in first"
BLOCK = "the header counts the last block as full"
FRAGMENTS = "FFmpeg 5.1 writes no edit list beside fragments, which would say what the encoder took in first"
CODEC_DELAY = "FFmpeg 5.1 writes no `CodecDelay`, which would say what the encoder took in first"
TRIMMED = "FFmpeg 8.1 does not pass on what the first and the last packet say is to be left out"
DISCARD = "FFmpeg 5.1 writes no `DiscardPadding`, which would say where the last block ends"

ROWS: tuple[Row, ...] = (
    *_pcm("wav", "wav", "pcm_u8 pcm_s16le pcm_s24le pcm_s32le pcm_f32le pcm_f64le pcm_mulaw pcm_alaw"),
    Row("wav", "adpcm_ms", "wav", ("-c:a", "adpcm_ms"), reason=BLOCK),
    Row("wav", "adpcm_ima_wav", "wav", ("-c:a", "adpcm_ima_wav"), reason=BLOCK),
    Row("wav", "g722", "wav", ("-c:a", "g722", "-ar", "16000")),
    Row("wav", "gsm_ms", "wav", ("-c:a", "libgsm_ms", "-ar", "8000")),
    Row("wav", "mp3", "wav", ("-c:a", "libmp3lame"), reason=DELAY),
    Row("wav", "mp2", "wav", ("-c:a", "mp2"), reason=DELAY),
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
    Row("mp3", "mp3 without a header", "mp3", ("-write_xing", "0"), reason=DELAY),
    Row("mp3", "mp2", "mp2", ("-c:a", "mp2"), reason=DELAY),
    Row("aac", "aac", "aac", reason=DELAY),
    Row("amr", "amr_nb", "amr", by_pyav=True, reason=DELAY),
    Row("ogg", "opus", "opus", ("-c:a", "libopus")),
    Row("ogg", "opus, 60 ms frames", "opus", ("-c:a", "libopus", "-frame_duration", "60")),
    Row("ogg", "vorbis", "ogg", ("-c:a", "libvorbis")),
    Row("ogg", "flac", "ogg", ("-c:a", "flac")),
    Row("m4a", "aac", "m4a"),
    Row("m4a", "aac, index first", "m4a", ("-movflags", "+faststart")),
    Row("m4a", "aac, fragments", "m4a", ("-movflags", "+empty_moov", "-frag_duration", "500000"), reason=FRAGMENTS),
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
    Row("3gp", "amr_nb", "3gp", by_pyav=True, reason=DELAY),
    Row("webm", "opus", "webm", ("-c:a", "libopus")),
    Row("webm", "opus, live", "webm", ("-c:a", "libopus", "-live", "1")),
    Row("webm", "opus, video", "webm", ("-c:a", "libopus"), VP8),
    Row("webm", "vorbis", "webm", ("-c:a", "libvorbis"), VP8, reason=DISCARD),
    Row("matroska", "opus", "mkv", ("-c:a", "libopus"), H264),
    Row("matroska", "vorbis", "mkv", ("-c:a", "libvorbis"), H264, reason=DISCARD),
    Row("matroska", "mp3", "mkv", ("-c:a", "libmp3lame"), H264, reason=CODEC_DELAY),
    *(Row("matroska", c, "mkv", ("-c:a", c), H264) for c in "flac pcm_s16le alac".split()),
    *(Row("matroska", c, "mkv", ("-c:a", c), H264, reason=CODEC_DELAY) for c in "aac ac3 eac3 mp2".split()),
    *(Row("MPEG-TS", c, "ts", ("-c:a", c), H264, reason=DELAY) for c in "aac mp2 ac3 libmp3lame".split()),
    Row("MPEG-TS", "opus", "ts", ("-c:a", "libopus"), H264, reason=TRIMMED),
    Row("MPEG-PS", "mp2", "mpg", ("-c:a", "mp2"), ("-c:v", "mpeg2video"), reason=DELAY),
    Row("flv", "aac", "flv", ("-c:a", "aac"), H264, reason=DELAY),
    Row("flv", "mp3", "flv", ("-c:a", "libmp3lame", "-ar", "44100"), H264, reason=DELAY),
    Row("avi", "mp3", "avi", ("-c:a", "libmp3lame"), MPEG4, reason=DELAY),
    Row("avi", "pcm_s16le", "avi", ("-c:a", "pcm_s16le"), MPEG4),
    Row("avi", "ac3", "avi", ("-c:a", "ac3"), MPEG4, reason=DELAY),
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
