"""Files: random, cut, with wrong bits, or lists of other files."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping

import av
from numpy.typing import NDArray

from tools.hostile.attack import Attack, Ground, post
from turnscribe.waveform import SAMPLE_RATE, to_wav

CODECS = {"mp3": ("mp3", "mp3"), "flac": ("flac", "flac"), "ogg": ("ogg", "libopus"), "m4a": ("mp4", "aac")}
MEDIA_TYPES = (
    "audio/wav",
    "audio/mpeg",
    "audio/ogg",
    "video/mp4",
    "application/octet-stream",
    "text/plain",
    "/",
    ";",
)
QUERIES = ("", "?diarize=false", "?response_format=srt", "?encoding=pcm_s16le", "?channels=split", "?audio_track=9")


def recordings(samples: NDArray) -> Mapping[str, bytes]:
    """`samples` (mono, 16 kHz) as a file of each kind."""
    return {"wav": to_wav(samples), **{suffix: _encoded(samples, *codec) for suffix, codec in CODECS.items()}}


def random_bytes(ground: Ground, chosen: random.Random) -> Attack:
    """With the first bytes of a format, or without."""
    first = chosen.choice(
        (b"", b"RIFF", b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3", b"\0\0\0\x20ftyp", b"FORM", b".snd")
    )
    return _audio(ground, chosen, first + chosen.randbytes(chosen.randrange(30_000)))


def cut(ground: Ground, chosen: random.Random) -> Attack:
    file = _some(ground, chosen)
    return _audio(ground, chosen, file[: chosen.randrange(len(file))])


def hole(ground: Ground, chosen: random.Random) -> Attack:
    file = _some(ground, chosen)
    at = chosen.randrange(len(file))
    return _audio(ground, chosen, file[:at] + file[at + chosen.randrange(1, 2000) :])


def flipped(ground: Ground, chosen: random.Random) -> Attack:
    """Some bits of the first two kilobytes, where the declarations are, or anywhere."""
    file = bytearray(_some(ground, chosen))
    within = min(len(file), chosen.choice((100, 2000, len(file))))
    for _ in range(chosen.randrange(1, 40)):
        file[chosen.randrange(within)] ^= 1 << chosen.randrange(8)
    return _audio(ground, chosen, bytes(file))


def joined(ground: Ground, chosen: random.Random) -> Attack:
    first, second = _some(ground, chosen), _some(ground, chosen)
    return _audio(ground, chosen, first[: chosen.randrange(len(first))] + second[chosen.randrange(len(second)) :])


def playlists(ground: Ground, chosen: random.Random) -> Attack:
    """Texts that some players follow to other files and addresses."""
    url = chosen.choice(ground.urls())
    text = chosen.choice(
        (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{url}\n#EXT-X-ENDLIST\n",
            f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:5,\na.ts\n',
            f"ffconcat version 1.0\nfile '{url}'\n",
            f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>{url}</BaseURL></Period></MPD>',
            f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {ground.listener} RTP/AVP 0\n",
            f"[playlist]\nFile1={url}\nNumberOfEntries=1\n",
        )
    )
    return _audio(ground, chosen, text.encode())


GENERATORS = {random_bytes: 4, cut: 5, hole: 3, flipped: 6, joined: 2, playlists: 4}


def _some(ground: Ground, chosen: random.Random) -> bytes:
    return ground.recordings[chosen.choice(sorted(ground.recordings))]


def _audio(ground: Ground, chosen: random.Random, data: bytes) -> Attack:
    path = chosen.choice(("/", "/predict")) + chosen.choice(QUERIES)
    return post(ground, chosen, path, chosen.choice(MEDIA_TYPES), data + ground.marks.audio.encode())


def _encoded(samples: NDArray, container: str, codec: str) -> bytes:
    rate = 48_000 if codec == "libopus" else SAMPLE_RATE
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate)
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype("<i2")[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:  # type: ignore[union-attr, arg-type]
            output.mux(packet)
    return buffer.getvalue()
