"""Files made with ffmpeg or byte by byte, and the sentence with which one is refused."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable

import av
import numpy as np
import pytest

from turnscribe.errors import BadAudio
from turnscribe.inputs.decode import decode_audio

SECONDS = 4.0
SINE_DB = 20 * math.log10(1 / 8 / math.sqrt(2))  # ffmpeg's sine source has an amplitude of 1/8
SINE = ["-f", "lavfi", "-i", f"sine=440:d={SECONDS:g}:r=48000"]
STEREO = ["-f", "lavfi", "-i", f"aevalsrc=0.5*sin(2764*t)|0.25*sin(5529*t):s=48000:d={SECONDS:g}"]
VIDEO = ["-f", "lavfi", "-i", f"testsrc=d={SECONDS:g}:r=10:s=64x48"]
H264 = ["-c:v", "libx264", "-preset", "ultrafast"]
LOSSLESS, LOSSY = 0.1, 1.0  # dB; LAME itself takes 0.45 dB off

# name: (arguments, extension, tolerance of the level in dB)
FILES: dict[str, tuple[list[str], str, float]] = {
    "wav_u8": ([*SINE, "-c:a", "pcm_u8"], "wav", LOSSLESS),
    "wav_s16": ([*SINE, "-c:a", "pcm_s16le"], "wav", LOSSLESS),
    "wav_s24": ([*SINE, "-c:a", "pcm_s24le"], "wav", LOSSLESS),
    "wav_float": ([*SINE, "-c:a", "pcm_f32le"], "wav", LOSSLESS),
    "wav_mulaw_8k": ([*SINE, "-c:a", "pcm_mulaw", "-ar", "8000"], "wav", LOSSLESS),
    "wav_44k": ([*SINE, "-ar", "44100"], "wav", LOSSLESS),
    "mp3": ([*SINE], "mp3", LOSSY),
    "mp3_vbr": ([*SINE, "-q:a", "5"], "mp3", LOSSY),
    "mp3_without_length": ([*SINE, "-write_xing", "0"], "mp3", LOSSY),
    "flac": ([*SINE], "flac", LOSSLESS),
    "ogg_vorbis": ([*SINE, "-c:a", "libvorbis"], "ogg", LOSSY),
    "opus": ([*SINE, "-c:a", "libopus"], "opus", LOSSY),
    "aac": ([*SINE], "aac", LOSSY),
    "m4a_index_last": ([*SINE], "m4a", LOSSY),
    "m4a_index_first": ([*SINE, "-movflags", "+faststart"], "m4a", LOSSY),
    "m4a_fragmented": ([*SINE, "-movflags", "+empty_moov", "-frag_duration", "1000000"], "m4a", LOSSY),
    "m4a_alac": ([*SINE, "-c:a", "alac"], "m4a", LOSSLESS),
    "webm": ([*SINE, "-c:a", "libopus"], "webm", LOSSY),
    "webm_live": ([*SINE, "-c:a", "libopus", "-live", "1"], "webm", LOSSY),
    "mkv": ([*SINE, "-c:a", "flac"], "mkv", LOSSLESS),
    "aiff": ([*SINE], "aiff", LOSSLESS),
    "w64": ([*SINE], "w64", LOSSLESS),
    "mp4_video": ([*VIDEO, *SINE, *H264], "mp4", LOSSY),
    "webm_video": ([*VIDEO, *SINE, "-c:v", "libvpx", "-deadline", "realtime"], "webm", LOSSY),
}

Make = Callable[..., bytes]


def level(samples: np.ndarray) -> float:
    """RMS in dB of full scale, without the outer 0.2 s, where codecs fade."""
    inner = samples[3200:-3200].astype(np.float64)
    return float(10 * np.log10(np.mean(inner**2) + 1e-12))


def wav(
    samples: bytes,
    rate: int = 16_000,
    channels: int = 1,
    bits: int = 16,
    kind: int = 1,
    claimed_bytes: int | None = None,
) -> bytes:
    size = len(samples) if claimed_bytes is None else claimed_bytes
    width = channels * bits // 8
    head = struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * width, width, bits)
    body = b"WAVEfmt " + head + b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", (36 + size) & 0xFFFF_FFFF) + body


def tone(seconds: float, rate: int) -> np.ndarray:
    return np.round(8192 * np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate)).astype("<i2")


def refusal(data: bytes, **options: object) -> str:
    """The one sentence with which `data` is refused."""
    with pytest.raises(BadAudio) as e:
        decode_audio(data, **options)  # type: ignore[arg-type]
    text = str(e.value)
    assert text.count(". ") == 0, text
    assert text.endswith("."), text
    assert ";" in text or "accepted" in text, "says what would be right"
    return text


def muxed(ticks: Callable[[int], int], packets: int) -> bytes:
    """A Matroska file of 20 ms Opus packets, the i-th at `ticks(i)` / 48000 s."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="matroska") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        samples = (np.sin(np.arange(960) * 0.0576) * 8000).astype(np.int16)
        i = 0
        while i < packets:
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate = 48_000
            for packet in stream.encode(frame):
                if i < packets:
                    packet.pts = packet.dts = ticks(i)
                    container.mux(packet)
                    i += 1
    return sink.getvalue()
