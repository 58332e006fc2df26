"""Untrusted bytes to samples: right length and level for real files, and a warning for what is missing in them."""

from __future__ import annotations

import math
import shutil
import subprocess
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inputs.media import (
    FILES,
    H264,
    SECONDS,
    SINE,
    SINE_DB,
    STEREO,
    VIDEO,
    Make,
    level,
    muxed,
    refusal,
    tone,
    wav,
)
from turnscribe.errors import BadAudio, BadParameters
from turnscribe.inputs.decode import Audio, decode_audio, measured_seconds
from turnscribe.inputs.limits import Limits
from turnscribe.waveform import SAMPLE_RATE

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="builds its files with ffmpeg")


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
    assert measured_seconds(make(name)) == pytest.approx(audio.duration, abs=0.12)


def test_headerless_audio_is_as_long_as_its_rate_says() -> None:
    pcm = bytes(2 * 12_000)
    decoded = decode_audio(pcm, encoding="pcm_s16le", sampling_rate=8_000)
    assert measured_seconds(pcm, encoding="pcm_s16le", sampling_rate=8_000) == decoded.duration == 1.5
    with pytest.raises(BadAudio):
        measured_seconds(b"no audio")


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
    audio = decode_audio(muxed(lambda i: i * 960 + (48_000 if i >= 50 else 0), packets=100))
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


# The result


def test_mono_of_split_channels_is_their_mean() -> None:
    audio = Audio(np.array([[0.5] * 16_000, [-0.25] * 16_000], np.float32))
    assert audio.mono == pytest.approx(0.125)
    assert audio.duration == 1.0


@pytest.mark.slow
def test_an_hour_of_speech_decodes_in_seconds(make: Make) -> None:
    data = make(["-f", "lavfi", "-i", "sine=440:d=300:r=16000", "-b:a", "24k"], "mp3")
    start = time.process_time()
    assert decode_audio(data).duration == pytest.approx(300, abs=0.1)
    assert (time.process_time() - start) * 12 < 20


def test_an_ogg_file_may_end_before_its_last_packet_begins(make: Make) -> None:
    """FFmpeg gives such a packet a length of days; some encoders cut the last block off that way."""
    whole = make([*SINE, "-ar", "8000", "-ac", "1", "-c:a", "libvorbis"], "ogg")
    page = whole.rfind(b"OggS")
    end = int.from_bytes(whole[page + 6 : page + 14], "little")
    cut = whole[page : page + 6] + (end - 300).to_bytes(8, "little") + whole[page + 14 : page + 22] + bytes(4)
    cut += whole[page + 26 :]
    checksum = 0
    for byte in cut:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum & 0x80000000 else 0)) & 0xFFFFFFFF
    cut = cut[:22] + checksum.to_bytes(4, "little") + cut[26:]
    assert decode_audio(whole[:page] + cut).duration == pytest.approx((end - 300) / 8000, abs=0.04)
