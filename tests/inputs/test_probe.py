"""What is not audio, or claims or unpacks to too much, is refused in one sentence, soon, and reaches nothing else."""

from __future__ import annotations

import http.server
import io
import resource
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tests.inputs.media import H264, VIDEO, Make, muxed, refusal, wav
from turnscribe.inputs.limits import Limits

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="builds its files with ffmpeg")


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
    data = muxed(lambda i: 0, packets=300)
    assert "longer" in refusal(data, limits=Limits(max_seconds=2))


def test_timestamps_far_ahead_do_not_allocate() -> None:
    assert "longer" in refusal(muxed(lambda i: i * 960 * 10_000_000, packets=3))


BOMBS = ("aac_8h", "mp4_index", "mp4_fragment", "mp4_compressed_index", "wav_claim")


@pytest.mark.slow
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
    assert asked == ["/a.m4a"], "with a name and without the lists of probe.py this playlist is followed"
