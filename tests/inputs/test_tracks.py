"""Several audio tracks in one file: which is taken, which can be chosen, and what is said of it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.inputs.media import Make, wav
from turnscribe.errors import BadAudio, BadParameters
from turnscribe.inputs.decode import Audio, decode_audio

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="builds its files with ffmpeg")


def source(frequency: int) -> list[str]:
    return ["-f", "lavfi", "-i", f"aevalsrc=0.25*sin({frequency}*2*PI*t)|0.125*sin({frequency}*2*PI*t):d=1:s=48000"]


def both(*extra: str, silent: bool = False) -> list[str]:
    first = ["-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo:d=1"] if silent else source(500)
    return [*first, *source(2000), "-map", "0", "-map", "1", "-c:a", "flac", *extra]


def pitch(audio: Audio) -> float:
    """The loudest frequency in Hz."""
    spectrum = np.abs(np.fft.rfft(audio.channels[0]))
    return float(np.argmax(spectrum) / audio.duration)


@pytest.mark.parametrize("split", [False, True])
def test_a_track_can_be_chosen_by_its_number(make: Make, split: bool) -> None:
    data = make(both(), "mkv")
    for number, frequency in ((1, 500), (2, 2000)):
        audio = decode_audio(data, audio_track=number, split_channels=split)
        assert pitch(audio) == pytest.approx(frequency, abs=2)
        assert len(audio.channels) == (2 if split else 1)
        assert audio.warnings == ()


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_without_a_choice_the_first_is_taken_and_the_answer_says_so(make: Make, suffix: str) -> None:
    data = make(both("-strict", "-2", "-disposition:a:0", "0", "-disposition:a:1", "default"), suffix)
    audio = decode_audio(data)
    assert pitch(audio) == pytest.approx(500, abs=2)
    (warning,) = audio.warnings
    assert warning.startswith("The file has 2 audio tracks; only the first was used: audio_track, from 1 to 2,")
    assert "marks 2 as its default" in warning


def test_a_silent_track_is_passed_over(make: Make) -> None:
    audio = decode_audio(make(both(silent=True), "mkv"))
    assert pitch(audio) == pytest.approx(2000, abs=2)
    (warning,) = audio.warnings
    assert "only the second was used, since none before it has sound" in warning
    assert not decode_audio(make(both(silent=True), "mkv"), audio_track=1).channels.any()


def test_a_track_that_cannot_be_decoded_is_passed_over(make: Make) -> None:
    data = make([*source(500), *source(2000), "-map", "0", "-map", "1", "-c:a:0", "wavpack", "-c:a:1", "flac"], "mkv")
    assert pitch(decode_audio(data)) == pytest.approx(2000, abs=2)
    with pytest.raises(BadAudio, match="codec of the audio is not accepted"):
        decode_audio(data, audio_track=1)


def test_where_all_tracks_are_silent_the_first_is_taken(make: Make) -> None:
    silence = ["-f", "lavfi", "-i", "anullsrc=r=48000:cl=mono:d=1"]
    audio = decode_audio(make([*silence, *silence, "-map", "0", "-map", "1", "-c:a", "flac"], "mkv"))
    assert audio.duration == pytest.approx(1.0, abs=0.01)
    assert "only the first was used:" in audio.warnings[0]


def test_no_such_track_is_one_sentence(make: Make) -> None:
    with pytest.raises(BadParameters) as e:
        decode_audio(make(both(), "mkv"), audio_track=3)
    assert str(e.value) == "audio_track is 3 and the input has 2 audio tracks: send a number from 1 to 2."
    one = "audio_track is 2 and the input has 1 audio track: leave it out."
    for data, encoding in ((wav(bytes(3200)), None), (bytes(3200), "pcm_s16le")):
        with pytest.raises(BadParameters) as e:
            decode_audio(data, encoding=encoding, audio_track=2)
        assert str(e.value) == one
    assert decode_audio(wav(bytes(3200)), audio_track=1).duration == 0.1
