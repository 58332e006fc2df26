"""Headers that claim less or more than is there: what is there is taken, and no limit is passed by."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pytest

from tests.inputs.media import Make, refusal, tone, wav
from turnscribe.inputs.decode import decode_audio
from turnscribe.inputs.limits import Limits
from turnscribe.inputs.sizes import Patch, PatchedFile
from turnscribe.waveform import SAMPLE_RATE

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="builds its files with ffmpeg")

SAMPLES = tone(2, SAMPLE_RATE)
LITTLE, BIG = SAMPLES.tobytes(), SAMPLES.astype(">i2").tobytes()
SIZE = len(LITTLE)
STREAMED = (0, 2_000_000_000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
STREAMED_64 = (0, 10**12, 2**63 - 1, 2**64 - 1)
FORMAT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)


def rf64(tag: bytes, size: int) -> bytes:
    sizes = struct.pack("<IQQQI", 28, size, size, size // 2, 0)
    return tag + b"\xff" * 4 + b"WAVEds64" + sizes + FORMAT + b"data" + b"\xff" * 4 + LITTLE


def wave64(make: Make, size: int) -> bytes:
    whole = make(["-f", "lavfi", "-i", "sine=440:d=2:r=16000", "-c:a", "pcm_s16le"], "w64")
    at = whole.find(b"data\xf3\xac") + 16
    return whole[:16] + struct.pack("<Q", size) + whole[24:at] + struct.pack("<Q", size) + whole[at + 8 :]


def aiff(size: int, frames: int, kind: bytes = b"AIFF") -> bytes:
    rate = bytes.fromhex("400CFA00000000000000")  # 16000 in 80 bits
    common = struct.pack(">hIh", 1, frames, 16) + rate + (b"NONE\0\0" if kind == b"AIFC" else b"")
    head = b"FORM" + struct.pack(">I", size) + kind + b"COMM" + struct.pack(">I", len(common)) + common
    return head + b"SSND" + struct.pack(">III", size, 0, 0) + BIG


def au(size: int) -> bytes:
    return b".snd" + struct.pack(">IIIII", 24, size, 3, SAMPLE_RATE, 1) + BIG


def caf(size: int) -> bytes:
    form = b"desc" + struct.pack(">qd", 32, SAMPLE_RATE) + b"lpcm" + struct.pack(">IIIII", 0, 2, 1, 1, 16)
    return b"caff\0\1\0\0" + form + b"data" + struct.pack(">QI", size, 0) + BIG


def assert_whole(data: bytes, name: object) -> None:
    audio = decode_audio(data)
    assert audio.duration == pytest.approx(2.0, abs=0.001), name
    assert audio.warnings == (), name
    assert np.abs(audio.mono[100:-100]).max() > 0.1, name


def test_a_placeholder_for_the_size_means_what_is_there(make: Make) -> None:
    for size in STREAMED:
        assert_whole(wav(LITTLE, claimed_bytes=size), ("wav", size))
        assert_whole(au(size), ("au", size))
        for frames in (0, size, SIZE // 2):
            for kind in (b"AIFF", b"AIFC"):
                assert_whole(aiff(size, frames, kind), (kind, size, frames))
    for size in STREAMED_64:
        for tag in (b"RF64", b"BW64"):
            assert_whole(rf64(tag, size), (tag, size))
        assert_whole(wave64(make, size), ("w64", size))
        assert_whole(caf(size), ("caf", size))


def test_an_outer_size_of_zero_does_not_matter() -> None:
    data = wav(LITTLE, claimed_bytes=0)
    assert_whole(data[:4] + bytes(4) + data[8:], "RIFF")


@pytest.mark.parametrize("text", [b"data", b"my data of 1999", b"datadata\xff\xff\xff\x7f", b"odd data!"])
def test_the_word_data_in_a_text_is_not_the_audio(text: bytes) -> None:
    whole = wav(LITTLE)
    pad = bytes(len(text) % 2)
    title = b"INAM" + struct.pack("<I", len(text)) + text + pad
    listed = b"LIST" + struct.pack("<I", 4 + len(title)) + b"INFO" + title
    comment = b"bext" + struct.pack("<I", len(text)) + text + pad
    for chunk in (listed, comment):
        assert_whole(whole[:12] + chunk + whole[12:], chunk)
        assert_whole(whole[:36] + chunk + whole[36:], chunk)


def test_what_lies_behind_the_audio_is_no_audio() -> None:
    assert_whole(wav(LITTLE) + b"LIST" + struct.pack("<I", 4) + b"INFO" + b"junk" * 1000, "wav")


@pytest.mark.parametrize(
    "whole", [wav(LITTLE), rf64(b"RF64", SIZE), au(SIZE), caf(SIZE + 4)], ids="wav rf64 au caf".split()
)
def test_a_true_size_still_shows_that_the_file_is_cut_off(whole: bytes) -> None:
    audio = decode_audio(whole[: len(whole) // 2])
    assert audio.duration == pytest.approx(1.0, abs=0.01)
    (warning,) = audio.warnings
    assert warning.startswith("The file declares 2.0 s and ends after 1.0 s")


def test_sizes_that_are_cut_off_are_a_sentence() -> None:
    header = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 0)
    for data in (header, header + b"data", header + b"data" + struct.pack("<I", 0)):
        assert "not audio that can be read" in refusal(data)


def test_a_recording_that_is_as_long_as_it_may_be_is_taken() -> None:
    """Its length is summed up packet by packet, and the sum is a little over."""
    for seconds in (2, 10, 60):
        data = wav(tone(seconds, SAMPLE_RATE).tobytes())
        assert decode_audio(data, limits=Limits(max_seconds=seconds)).duration == seconds
        assert "longer than the" in refusal(data, limits=Limits(max_seconds=seconds - 0.01))


def test_a_placeholder_passes_no_limit_by() -> None:
    short = Limits(max_seconds=1.5)
    for data in (wav(LITTLE, claimed_bytes=0), wav(LITTLE, claimed_bytes=2), au(0), caf(0), rf64(b"RF64", 2**63 - 1)):
        if data == wav(LITTLE, claimed_bytes=2):
            assert decode_audio(data, limits=short).duration < 0.001, "so much the header claims"
        else:
            assert "longer than the 1.5 s" in refusal(data, limits=short)


def test_a_size_beyond_every_limit_is_a_placeholder_whatever_it_is() -> None:
    limits = Limits(max_seconds=60, max_bytes=2**20)
    assert decode_audio(wav(LITTLE, claimed_bytes=1_500_000), limits=limits).warnings == ()


def test_a_patched_file_reads_as_if_it_had_been_written() -> None:
    file = PatchedFile(b"0123456789", (Patch(2, b"ab"), Patch(8, b"xy")))
    assert file.read() == b"01ab4567xy"
    for start in range(10):
        for size in range(11 - start):
            file.seek(start)
            assert file.read(size) == b"01ab4567xy"[start : start + size]
