"""Times count from the start of the file, and each sound comes out where the file's timestamps have it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.inputs.media import FILES, SECONDS, Make, muxed, tone, wav
from turnscribe.inputs.decode import Audio, decode_audio
from turnscribe.inputs.limits import Limits
from turnscribe.inputs.timeline import Clock, Timeline
from turnscribe.waveform import SAMPLE_RATE

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="builds its files with ffmpeg")

PICTURE = ["-f", "lavfi", "-i", "testsrc=d=2:r=5:s=64x48"]
BEEP = ["-f", "lavfi", "-i", "aevalsrc=0.5*sin(6283*t)*gt(t\\,1):d=2:s=48000"]  # from 1 s on
H264 = ("libx264", "-preset", "ultrafast", "-threads", "1")
VIDEOS: dict[str, tuple[str, tuple[str, ...], str]] = {  # name: (suffix, codec of the picture, codec of the audio)
    "mkv aac": ("mkv", H264, "aac"),
    "mkv pcm": ("mkv", H264, "pcm_s16le"),
    "webm opus": ("webm", ("libvpx",), "libopus"),
    "webm vorbis": ("webm", ("libvpx",), "libvorbis"),
    "mp4 aac": ("mp4", H264, "aac"),
    "mp4 mp3": ("mp4", H264, "libmp3lame"),
    "mov pcm": ("mov", H264, "pcm_s16le"),
    "ts aac": ("ts", H264, "aac"),
    "flv aac": ("flv", H264, "aac"),
    "ogg vorbis": ("ogg", ("libtheora",), "libvorbis"),
    "ogg opus": ("ogg", ("libtheora",), "libopus"),
}
MUXER = 0.008  # FFmpeg 5.1 writes Opus into Matroska earlier by its pre-skip
PRIMING = 0.025  # and what else an encoder takes in first, into a clock that begins late, as sound


def onset(audio: Audio, after: float = 0.0) -> float:
    """Seconds at which the beep, amplitude 0.5, is first heard behind `after`."""
    start = round(after * SAMPLE_RATE)
    return (start + int(np.argmax(np.abs(audio.mono[start:]) > 0.1))) / SAMPLE_RATE


def quiet_seconds(audio: Audio) -> float:
    """How long a tone is silent, in steps of 3 ms, which is longer than its period."""
    inner = audio.mono[1600:][: (len(audio.mono) - 3200) // 48 * 48].reshape(-1, 48)
    return float((np.abs(inner).max(axis=1) < 0.02).sum()) * 0.003


@pytest.mark.parametrize("late", [0.2, 4.0])
@pytest.mark.parametrize("name", VIDEOS)
def test_audio_that_begins_late_keeps_its_place_beside_the_picture(make: Make, name: str, late: float) -> None:
    suffix, picture, codec = VIDEOS[name]
    delayed = ["-itsoffset", str(late), *BEEP]
    audio = decode_audio(make([*PICTURE, *delayed, "-c:v", *picture, "-c:a", codec], suffix))
    assert onset(audio) == pytest.approx(late + 1, abs=MUXER if codec == "libopus" and suffix == "webm" else 0.003)
    assert audio.duration == pytest.approx(late + 2, abs=0.03)
    assert audio.warnings == ()
    assert not audio.mono[: round((late - 0.03) * SAMPLE_RATE)].any()


def test_a_picture_that_begins_late_moves_nothing(make: Make) -> None:
    data = make([*BEEP, "-itsoffset", "1", *PICTURE, "-c:v", *H264, "-c:a", "aac"], "mp4")
    assert onset(decode_audio(data)) == pytest.approx(1, abs=0.003)


@pytest.mark.parametrize("starts", [100, 20_000])
@pytest.mark.parametrize("name", [*VIDEOS, "mka flac", "webm audio", "ogg audio", "m4a"])
def test_a_clock_that_begins_late_is_the_start_of_the_file(make: Make, name: str, starts: int) -> None:
    alone = {"mka flac": ("mka", "flac"), "webm audio": ("webm", "libopus"), "ogg audio": ("ogg", "libopus")}
    if name in VIDEOS:
        suffix, picture, codec = VIDEOS[name]
        arguments = [*PICTURE, *BEEP, "-c:v", *picture, "-c:a", codec]
    else:
        suffix, codec = alone.get(name, ("m4a", "aac"))
        arguments = [*BEEP, "-c:a", codec]
    audio = decode_audio(make([*arguments, "-output_ts_offset", str(starts)], suffix))
    assert onset(audio) == pytest.approx(1, abs=PRIMING)
    assert audio.duration == pytest.approx(2, abs=2 * PRIMING)
    assert audio.warnings == ()


@pytest.mark.parametrize("name", ["mp4 aac", "mp4 mp3"])
def test_times_of_joined_videos_do_not_drift(make: Make, tmp_path: Path, name: str) -> None:
    suffix, picture, codec = VIDEOS[name]
    hiss = ["-f", "lavfi", "-i", "aevalsrc=0.05*random(0):d=2:s=48000"]
    for file, sound in (("hiss", hiss), ("beep", BEEP)):
        data = make([*PICTURE, *sound, "-c:v", *picture, "-c:a", codec], suffix)
        (tmp_path / f"{file}.{suffix}").write_bytes(data)
    (tmp_path / "list").write_text(f"file hiss.{suffix}\n" * 30 + f"file beep.{suffix}\n")
    joined = tmp_path / f"joined.{suffix}"
    command = ["ffmpeg", "-v", "quiet", "-f", "concat", "-i", str(tmp_path / "list"), "-c", "copy", str(joined)]
    subprocess.run(command, check=True)
    audio = decode_audio(joined.read_bytes())
    assert onset(audio, after=50) == pytest.approx(61.023, abs=0.006)  # the first clip's priming is in all of them
    assert audio.duration == pytest.approx(62.023, abs=0.01)
    assert audio.warnings == ()


@pytest.mark.parametrize(
    "ticks",
    [
        lambda i: i * 960 + (i % 3) * 96,  # up to 4 ms, as clocks are rounded
        lambda i: i * 960 + (480 if i % 7 == 3 else 0),  # single packets are 10 ms late
        lambda i: i * 960 + (720 if 20 <= i < 27 else 0),  # some packets in a row are, which then make up for it
        lambda i: 0,  # a clock that stands still
    ],
    ids="rounded single some still".split(),
)
def test_a_clock_that_cannot_be_believed_leaves_the_sound_whole(ticks: object) -> None:
    audio = decode_audio(muxed(ticks, packets=300))  # type: ignore[arg-type]
    assert audio.duration == pytest.approx(6.0, abs=0.05)
    assert quiet_seconds(audio) == 0


@pytest.mark.parametrize("shift", [-0.1, -0.02, 0.02, 0.1])
def test_a_small_shift_that_lasts_is_followed(shift: float) -> None:
    def ticks(i: int) -> int:  # a muxer squeezes packets that overlap, since timestamps may not run backwards
        return i * 960 if i < 150 else max(149 * 960 + (i - 149) * 48, i * 960 + round(shift * 48_000))

    audio = decode_audio(muxed(ticks, packets=300))
    assert audio.duration == pytest.approx(6.0 + shift, abs=0.015)
    assert quiet_seconds(audio) == pytest.approx(max(0.0, shift), abs=0.01)


def test_a_clock_that_begins_anew_leaves_the_sound_whole() -> None:
    frames = [SimpleNamespace(time=(i % 5) * 0.02, samples=960, sample_rate=48_000) for i in range(300)]
    timeline = Timeline(Clock())
    placed = [one for frame in frames for one in timeline.add(frame)] + timeline.release()  # type: ignore[arg-type]
    assert [one.frame for one in placed] == frames
    assert [one.at for one in placed] == [0.0] + [None] * 299


def test_a_clock_that_drifts_is_followed() -> None:
    audio = decode_audio(muxed(lambda i: i * 961, packets=3000))  # 0.1 %
    assert audio.duration == pytest.approx(3000 * 961 / 48_000, abs=0.015)


def test_joined_mp3_files_are_not_damaged(make: Make) -> None:
    tags = ["-metadata", "title=one", "-id3v2_version", "3", "-write_id3v1", "1"]
    beep = [*BEEP, "-ac", "1"]
    for arguments in (beep, [*beep, *tags], [*beep, *tags, "-q:a", "5"], [*beep, *tags, "-write_xing", "0"]):
        audio = decode_audio(make(arguments, "mp3") * 3)
        assert audio.duration == pytest.approx(6, abs=0.2)
        assert audio.warnings == ()


@pytest.mark.parametrize("name", [name for name in FILES if "video" not in name])
def test_a_clip_of_some_milliseconds_is_decoded(make: Make, name: str) -> None:
    arguments, suffix, _ = FILES[name]
    for milliseconds in (1, 10) if name != "wav_mulaw_8k" else (10,):  # ffmpeg resamples 1 ms to nothing
        short = [a.replace(f"d={SECONDS:g}", f"d={milliseconds / 1000}") for a in arguments]
        audio = decode_audio(make(short, suffix))
        assert 0 < audio.duration <= milliseconds / 1000 + 0.12, milliseconds
        assert audio.warnings == ()


def test_one_sample_is_audio() -> None:
    for rate in (8_000, 16_000):
        assert 0 < decode_audio(wav(tone(1, rate)[:1].tobytes(), rate)).duration < 0.001


def test_a_late_start_passes_no_limit_by(make: Make) -> None:
    suffix, picture, codec = VIDEOS["mkv aac"]
    data = make([*PICTURE, "-itsoffset", "4", *BEEP, "-c:v", *picture, "-c:a", codec], suffix)
    with pytest.raises(ValueError, match="longer than the 5 s accepted"):
        decode_audio(data, limits=Limits(max_seconds=5))
