"""Untrusted bytes to samples: right length and level for real files, one sentence for everything else."""

from __future__ import annotations

import http.server
import io
import math
import resource
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnscribe.errors import BadAudio, BadParameters
from turnscribe.inputs.decode import Audio, Limits, decode_audio
from turnscribe.waveform import SAMPLE_RATE

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="builds its files with ffmpeg")

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


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """make(arguments, extension) -> the bytes ffmpeg writes; make(name) -> one of FILES. Each is built once."""
    folder = tmp_path_factory.mktemp("audio")
    built: dict[tuple[str, ...], bytes] = {}

    def run(arguments: str | list[str], extension: str = "") -> bytes:
        if isinstance(arguments, str):
            arguments, extension, _ = FILES[arguments]
        key = (*arguments, extension)
        if key not in built:
            path = folder / f"{len(built)}.{extension}"
            command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments, str(path)]
            subprocess.run(command, check=True, capture_output=True)
            built[key] = path.read_bytes()
        return built[key]

    return run


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


# What is audio


@pytest.mark.parametrize("name", FILES)
def test_each_format_has_the_length_and_level_of_its_source(make: Make, name: str) -> None:
    audio = decode_audio(make(name))
    assert audio.channels.dtype == np.float32
    assert audio.channels.shape[0] == 1
    padding = 0.12 if name.startswith(("aac", "m4a", "mp4", "mp3_w")) else 0.01
    assert SECONDS - 0.01 <= audio.duration <= SECONDS + padding
    assert abs(level(audio.mono) - SINE_DB) <= FILES[name][2]
    assert audio.warnings == ()


def test_amr_of_a_phone_has_twenty_milliseconds_a_frame() -> None:
    audio = decode_audio(b"#!AMR\n" + (b"\x3c" + bytes(31)) * 100)
    assert audio.duration == pytest.approx(2.0, abs=0.01)


def test_wav_and_flac_written_to_a_pipe_have_no_length_and_decode_in_full() -> None:
    for form in ("wav", "flac"):
        command = ["ffmpeg", "-v", "error", *SINE, "-f", form, "-"]
        audio = decode_audio(subprocess.run(command, check=True, capture_output=True).stdout)
        assert audio.duration == pytest.approx(SECONDS, abs=0.01)
        assert audio.warnings == ()


def test_tags_that_are_not_utf8_do_not_matter(make: Make) -> None:
    data = make([*SINE, "-id3v2_version", "3", "-metadata", "title=XXXXXXXX"], "mp3")
    assert b"X" * 8 in data or "X".encode("utf-16-le") * 8 in data
    damaged = data.replace(b"X" * 8, b"\xe9" * 8).replace("X".encode("utf-16-le") * 8, b"\xff\xd8" * 8)
    assert decode_audio(damaged).duration == pytest.approx(SECONDS, abs=0.01)


def test_float_wav_with_nan_and_infinity_gives_finite_samples() -> None:
    samples = np.array([np.nan, np.inf, -np.inf, 5.0, 0.25] * 4000, "<f4").tobytes()
    audio = decode_audio(wav(samples, bits=32, kind=3))
    assert np.isfinite(audio.channels).all()
    assert np.abs(audio.channels).max() <= 1.0


# Channels


def test_dual_mono_has_the_level_of_the_mono_file() -> None:
    one = tone(2, 16_000)
    alone = decode_audio(wav(one.tobytes()))
    for channels in (2, 3, 6, 8):
        same = np.repeat(one[:, None], channels, axis=1).tobytes()
        mixed = decode_audio(wav(same, channels=channels))
        assert mixed.channels.shape == alone.channels.shape
        assert abs(level(mixed.mono) - level(alone.mono)) < 0.1, channels


def test_dual_mono_in_a_float_codec_has_the_level_of_the_mono_file(make: Make) -> None:
    alone = decode_audio(make("ogg_vorbis"))
    double = decode_audio(make([*SINE, "-c:a", "libvorbis", "-af", "pan=stereo|c0=c0|c1=c0"], "ogg"))
    assert abs(level(double.mono) - level(alone.mono)) < 0.3


def test_loud_stereo_does_not_clip() -> None:
    peak = np.full((16_000, 2), 32_767, "<i2")
    assert decode_audio(wav(peak.tobytes(), channels=2)).mono[100:-100] == pytest.approx(1.0, abs=1e-3)


def test_split_gives_each_channel_of_a_call(make: Make) -> None:
    data = make(STEREO, "wav")
    audio = decode_audio(data, split_channels=True)
    assert audio.channels.shape == (2, SECONDS * SAMPLE_RATE)
    assert level(audio.channels[0]) == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.1)
    assert level(audio.channels[1]) == pytest.approx(20 * math.log10(0.25 / math.sqrt(2)), abs=0.1)
    np.testing.assert_allclose(audio.mono, decode_audio(data).mono, atol=2e-4)


@pytest.mark.parametrize("count", [1, 3, 6, 8])
def test_split_keeps_the_order_of_any_number_of_channels(count: int) -> None:
    steps = np.tile(np.arange(count) * 1000, (16_000, 1)).astype("<i2")
    audio = decode_audio(wav(steps.tobytes(), channels=count), split_channels=True)
    assert np.round(audio.channels[:, 8000] * 32768).tolist() == [1000 * c for c in range(count)]


# The sampling rate, and headerless PCM


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 16_000, 44_100, 192_000])
def test_sampling_rate_never_changes_the_duration(make: Make, rate: int) -> None:
    audio = decode_audio(make("wav_44k"), sampling_rate=rate)
    assert audio.duration == pytest.approx(SECONDS, abs=0.002)
    assert level(audio.mono) == pytest.approx(SINE_DB, abs=0.1)


def test_a_low_sampling_rate_costs_treble(make: Make) -> None:
    data = make(["-f", "lavfi", "-i", "sine=6000:d=2:r=48000"], "wav")
    assert level(decode_audio(data).mono) > -25
    assert level(decode_audio(data, sampling_rate=8_000).mono) < -60


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 48_000])
def test_headerless_pcm_has_the_rate_it_is_said_to_have(rate: int) -> None:
    data = tone(3, rate).tobytes()
    audio = decode_audio(data, encoding="pcm_s16le", sampling_rate=rate)
    assert audio.duration == pytest.approx(3, abs=0.001)
    with_header = decode_audio(wav(data, rate))
    np.testing.assert_allclose(audio.mono, with_header.mono, atol=1e-3)


def test_headerless_pcm_needs_the_encoding_and_whole_samples() -> None:
    data = tone(1, 16_000).tobytes()
    assert "encoding='pcm_s16le'" in refusal(data)
    assert "odd" in refusal(data[:-1], encoding="pcm_s16le")
    assert "longer" in refusal(data, encoding="pcm_s16le", limits=Limits(max_seconds=0.5))


@pytest.mark.parametrize("options", [{"sampling_rate": 0}, {"sampling_rate": 10**7}, {"encoding": "flac"}])
def test_senseless_options_are_bad_parameters(options: dict[str, object]) -> None:
    with pytest.raises(BadParameters, match="must be"):
        decode_audio(b"RIFF", **options)  # type: ignore[arg-type]


# Times


def test_a_track_that_starts_late_in_a_video_keeps_its_place(make: Make) -> None:
    late = ["-itsoffset", "1.5", "-f", "lavfi", "-i", "sine=440:d=2:r=48000"]
    audio = decode_audio(make([*VIDEO, *late, *H264], "mp4"))
    assert audio.duration == pytest.approx(3.5, abs=0.1)
    onset = np.argmax(np.abs(audio.mono) > 0.05) / SAMPLE_RATE
    assert onset == pytest.approx(1.5, abs=0.06)
    assert audio.warnings == ()


def test_a_hole_in_the_timestamps_becomes_silence() -> None:
    audio = decode_audio(_muxed(lambda i: i * 960 + (48_000 if i >= 50 else 0), packets=100))
    assert audio.duration == pytest.approx(3.0, abs=0.05)
    assert any("1.0 s are missing" in warning for warning in audio.warnings)
    quiet = np.flatnonzero(np.abs(audio.mono) < 1e-4) / SAMPLE_RATE
    assert ((quiet > 1.05) & (quiet < 1.95)).sum() == pytest.approx(0.9 * SAMPLE_RATE, rel=0.02)


def test_files_joined_end_to_end_decode_one_after_the_other(make: Make) -> None:
    other = make(["-f", "lavfi", "-i", "sine=440:d=2:r=24000", "-ac", "2", "-write_xing", "0"], "mp3")
    audio = decode_audio(make("mp3_without_length") + other)
    assert audio.duration == pytest.approx(SECONDS + 2, abs=0.3)
    chained = decode_audio(make("opus") + make("opus"))
    assert chained.duration == pytest.approx(2 * SECONDS, abs=0.3)


# Damage


@pytest.mark.parametrize("name", ["wav_s16", "mp3", "mp3_vbr", "flac", "opus", "webm", "m4a_index_first"])
def test_a_file_cut_in_half_keeps_that_half_and_says_so(make: Make, name: str) -> None:
    data = make(name)
    audio = decode_audio(data[: len(data) // 2 + 100])
    assert 0.35 * SECONDS < audio.duration < 0.75 * SECONDS
    assert any("cut off" in warning for warning in audio.warnings)


def test_a_cut_video_says_so_although_its_tracks_differ_in_length(make: Make) -> None:
    longer = ["-f", "lavfi", "-i", "testsrc=d=8:r=10:s=64x48"]
    data = make([*longer, *SINE, "-c:v", "libvpx", "-deadline", "realtime"], "webm")
    assert decode_audio(data).warnings == ()
    assert any("cut off" in warning for warning in decode_audio(data[: len(data) // 3]).warnings)


def test_an_mp4_without_its_index_says_so(make: Make) -> None:
    data = make("m4a_index_last")
    assert "cut off" in refusal(data[: len(data) // 2])


@pytest.mark.parametrize("name", ["mp3", "m4a_index_last", "flac"])
def test_damage_in_the_middle_keeps_what_is_around_it_and_says_so(make: Make, name: str) -> None:
    data = bytearray(make(name))
    middle, size = len(data) // 2, len(data) // 5
    data[middle : middle + size] = np.random.default_rng(1).bytes(size)
    audio = decode_audio(bytes(data))
    assert SECONDS * 0.7 < audio.duration < SECONDS + 0.1
    assert any("damaged" in warning or "missing inside" in warning for warning in audio.warnings)


def test_a_second_audio_track_is_mentioned(make: Make) -> None:
    audio = decode_audio(make([*SINE, *STEREO, "-map", "0", "-map", "1"], "mkv"))
    assert audio.duration == pytest.approx(SECONDS, abs=0.05)
    assert any("2 audio tracks" in warning for warning in audio.warnings)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.property
@given(
    name=st.sampled_from(["wav_s16", "mp3", "flac", "opus", "m4a_index_first", "m4a_fragmented", "webm"]),
    keep=st.floats(0, 1),
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    head=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=3),
)
def test_any_damage_gives_audio_or_one_sentence(
    make: Make,
    name: str,
    keep: float,
    places: list[tuple[float, int]],
    head: list[tuple[int, int]],
) -> None:
    data = bytearray(make(name))
    for at, value in [(int(part * (len(data) - 1)), value) for part, value in places] + head:
        data[at] = value
    data = data[: int(keep * len(data))]
    limits = Limits(max_seconds=60, max_decode_seconds=20)
    try:
        audio = decode_audio(bytes(data), limits=limits)
    except BadAudio:
        return
    assert np.isfinite(audio.channels).all()
    assert 0 < audio.duration <= 61


# What is not audio


def test_what_is_not_audio_gets_one_sentence_each(make: Make) -> None:
    assert "empty" in refusal(b"")
    assert "not audio" in refusal(b"Once upon a time. " * 500)
    assert "not audio" in refusal(b'{"inputs": "..."}')
    assert "not audio" in refusal(np.random.default_rng(0).bytes(100_000))
    assert "not audio" in refusal(bytes(10_000))
    assert "not audio" in refusal(make(["-f", "lavfi", "-i", "testsrc=d=1", "-frames:v", "1"], "png"))
    assert "no audio track" in refusal(make([*VIDEO, *H264], "mp4"))
    assert "No audio could be decoded" in refusal(wav(b""))
    for cut in (4, 12, 44):
        refusal(make("wav_s16")[:cut])


def test_the_message_holds_nothing_of_the_input() -> None:
    assert "hunter2" not in refusal(b"password=hunter2 " * 100)


@pytest.mark.parametrize("rate", [1, 100, 3_999, 400_000, 2**31 - 1])
def test_an_absurd_rate_is_refused(rate: int) -> None:
    assert "samples a second" in refusal(wav(bytes(40_000), rate, bits=8))


def test_too_many_channels_are_refused() -> None:
    assert "9 channels" in refusal(wav(bytes(9 * 2 * 1000), channels=9))


def test_too_many_bytes_are_refused() -> None:
    assert "MiB" in refusal(bytes(2**20 + 1), limits=Limits(max_bytes=2**20))


def test_decoding_that_takes_too_long_ends(make: Make) -> None:
    assert "took over" in refusal(make("mp3"), limits=Limits(max_decode_seconds=-1))


# Bombs: what a few bytes claim, and what they unpack to


def test_a_declared_length_over_the_limit_is_refused(make: Make) -> None:
    for name in ("wav_s16", "flac", "mp3", "mp3_without_length", "opus", "webm", "webm_live", "aac"):
        assert "longer than the 2 s" in refusal(make(name), limits=Limits(max_seconds=2)), name


def test_a_header_that_understates_does_not_help(make: Make) -> None:
    data = bytearray(make("flac"))
    data[22:26] = (48_000).to_bytes(4, "big")  # the lower 32 bits of the sample count: 1 s
    assert "longer" in refusal(bytes(data), limits=Limits(max_seconds=2))


def test_timestamps_that_stand_still_do_not_help() -> None:
    data = _muxed(lambda i: 0, packets=300)
    assert "longer" in refusal(data, limits=Limits(max_seconds=2))


def test_timestamps_far_ahead_do_not_allocate() -> None:
    assert "longer" in refusal(_muxed(lambda i: i * 960 * 10_000_000, packets=3))


BOMBS = ("aac_8h", "mp4_index", "mp4_fragment", "mp4_compressed_index", "wav_claim")


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_soon_and_stays_small(make: Make, tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(_bomb(name, make))
    code = (
        "import resource, sys, time\n"
        "from turnscribe.inputs.decode import decode_audio\n"
        "from turnscribe.errors import BadAudio\n"
        "import av\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()\n"
        "try:\n    print(decode_audio(data).duration)\n"
        "except BadAudio as e:\n    print(e)\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print((after - before) // 1024, time.process_time() - start)\n"
    )
    limit = 3 * 2**30  # of address space, against a machine that swaps
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    answer, numbers = done.stdout.strip().splitlines()
    megabytes, seconds = (float(number) for number in numbers.split())
    assert seconds < 5
    assert megabytes < 60
    assert answer.startswith("1.0") if name == "wav_claim" else answer.endswith("."), answer


def _bomb(name: str, make: Make) -> bytes:
    if name == "aac_8h":
        second = make(["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=1.024", "-b:a", "8k"], "aac")
        data = second * (8 * 3600)
        assert len(data) < 10 * 2**20
        return data
    if name == "wav_claim":
        return wav(bytes(32_000), claimed_bytes=0x7FFF_FFFE)
    claim = 0 if name == "mp4_fragment" else 20_000_000
    index = _mp4(claim)
    if name == "mp4_compressed_index":
        return index.replace(b"udta", b"cmov")
    if name == "mp4_index":
        return index
    run = _box(b"trun", struct.pack(">III", 1, 20_000_000, 0))
    piece = _box(b"traf", _box(b"tfhd", struct.pack(">II", 0x020000, 1)) + run)
    return index + _box(b"moof", _box(b"mfhd", struct.pack(">II", 0, 1)) + piece) + _box(b"mdat", bytes(60))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _mp4(count: int) -> bytes:
    """The index of one 16 kHz track of `count` samples of one byte each, with defaults for fragments."""
    descriptor = bytes.fromhex("00000000031900010004114015000000000000000000000005021190060102")
    entry = bytes(6) + struct.pack(">H8xHHHHI", 1, 1, 16, 0, 0, 16_000 << 16) + _box(b"esds", descriptor)
    some = 1 if count else 0
    tables = (
        _box(b"stsd", struct.pack(">II", 0, 1) + _box(b"mp4a", entry))
        + _box(b"stts", struct.pack(">II", 0, some) + struct.pack(">II", count, 2) * some)
        + _box(b"stsc", struct.pack(">II", 0, some) + struct.pack(">III", 1, count, 1) * some)
        + _box(b"stsz", struct.pack(">III", 0, some, count))
        + _box(b"stco", struct.pack(">II", 0, some) + struct.pack(">I", 32) * some)
    )
    media = _box(b"mdhd", struct.pack(">IIIIII", 0, 0, 0, 16_000, 0, 0))
    media += _box(b"hdlr", bytes(8) + b"soun" + bytes(13))
    media += _box(b"minf", _box(b"smhd", bytes(8)) + _box(b"stbl", tables))
    track = _box(b"trak", _box(b"tkhd", struct.pack(">IIII", 0, 0, 0, 1) + bytes(68)) + _box(b"mdia", media))
    defaults = _box(b"mvex", _box(b"trex", struct.pack(">IIIIII", 0, 1, 1, 1024, 1, 0)))
    head = _box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, 16_000, 0) + bytes(80))
    movie = _box(b"moov", head + track + defaults + _box(b"udta", b""))
    return _box(b"ftyp", b"isom\0\0\0\0isom") + movie + _box(b"mdat", bytes(60))


def _muxed(ticks: Callable[[int], int], packets: int) -> bytes:
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


# Playlists fetch nothing


@pytest.fixture
def canary() -> Iterator[tuple[int, list[str]]]:
    """A server on the loopback that notes who asks: (port, paths asked for)."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port, asked
    server.shutdown()
    thread.join()
    server.server_close()


DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT5S"><Period>'
    '<AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="64000"><BaseURL>{0}</BaseURL>'
    '<SegmentBase indexRange="0-99"/></Representation></AdaptationSet></Period></MPD>'
)
PLAYLISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{0}\n#EXT-X-ENDLIST\n",
    "m3u8_key": '#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXT-X-KEY:METHOD=AES-128,URI="{0}"\n#EXTINF:5,\n{0}\n',
    "mpd": DASH,
    "ffconcat": "ffconcat version 1.0\nfile '{0}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "pls": "[playlist]\nFile1={0}\nNumberOfEntries=1\n",
    "rtsp": "RTSP/1.0 {0}\n",
    "url": "{0}",
    "lavfi": "amovie={0}",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_fetches_nothing(canary: tuple[int, list[str]], tmp_path: Path, name: str) -> None:
    port, asked = canary
    local = tmp_path / "local.wav"
    local.write_bytes(wav(bytes(32_000)))
    for target in (f"http://127.0.0.1:{port}/a.m4a", f"file://{local}", str(local)):
        refusal(PLAYLISTS[name].format(target).encode())
    assert asked == []


def test_the_canary_would_sing(canary: tuple[int, list[str]]) -> None:
    port, asked = canary
    playlist = io.BytesIO(PLAYLISTS["m3u8"].format(f"http://127.0.0.1:{port}/a.m4a").encode())
    playlist.name = "a.m3u8"  # type: ignore[attr-defined]
    with pytest.raises(av.error.FFmpegError):
        av.open(playlist)
    assert asked == ["/a.m4a"], "with a name and without the lists of audio.py this playlist is followed"


# The result


def test_mono_of_split_channels_is_their_mean() -> None:
    audio = Audio(np.array([[0.5] * 16_000, [-0.25] * 16_000], np.float32))
    assert audio.mono == pytest.approx(0.125)
    assert audio.duration == 1.0


def test_an_hour_of_speech_decodes_in_seconds(make: Make) -> None:
    data = make(["-f", "lavfi", "-i", "sine=440:d=300:r=16000", "-b:a", "24k"], "mp3")
    start = time.process_time()
    assert decode_audio(data).duration == pytest.approx(300, abs=0.1)
    assert (time.process_time() - start) * 12 < 20
