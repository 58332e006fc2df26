"""Pieces of a file that a browser records, however they are cut, are the samples of the file."""

from __future__ import annotations

import io
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.live.test_intake import pieces, tone
from tests.serving.live import until
from turnscribe.errors import BadAudio
from turnscribe.inputs.decode import decode_audio
from turnscribe.live.container import OGG, WEBM, ContainerFormat, ContainerIntake
from turnscribe.waveform import SAMPLE_RATE

RATE, PACKET = 48_000, 960  # Opus: hertz, and samples of 20 ms


class Growing(io.RawIOBase):
    """A file that cannot be gone back in, as MediaRecorder's cannot."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.content += bytes(data)  # type: ignore[call-overload]
        return len(bytes(data))  # type: ignore[call-overload]


def recorded(format: str, samples: np.ndarray, *, codec: str = "libopus") -> bytes:
    """As a browser records 48 kHz: clusters of a tenth of a second in webm."""
    file = Growing()
    options = {"cluster_time_limit": "100"} if format == "webm" else {}
    with av.open(file, "w", format=format, options=options) as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.layout = "mono"  # type: ignore[union-attr]
        for start in range(0, len(samples), PACKET):
            frame = av.AudioFrame.from_ndarray(
                samples[None, start : start + PACKET].astype(np.float32), "flt", "mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            container.mux(stream.encode(frame))  # type: ignore[arg-type, union-attr]
        container.mux(stream.encode(None))  # type: ignore[arg-type, union-attr]
    return file.content


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("format", [WEBM, OGG], ids=lambda format: format.name)
def test_pieces_of_any_length_are_the_files_samples(format: ContainerFormat, seed: int) -> None:
    data = recorded(format.name, tone(3.0, RATE))
    intake = ContainerIntake(format)
    heard = np.concatenate([*(intake.take(part) for part in pieces(data, seed)), intake.end()])
    whole = decode_audio(data).mono
    assert len(heard) == pytest.approx(3 * SAMPLE_RATE, abs=SAMPLE_RATE // 50)
    count = min(len(whole), len(heard))
    assert abs(len(whole) - len(heard)) < SAMPLE_RATE // 100
    assert np.abs(heard[:count] - whole[:count]).max() < 1e-3


def test_what_has_come_is_there_at_once() -> None:
    data = recorded("webm", tone(4.0, RATE))
    intake, share = ContainerIntake(WEBM), 0.0
    for start in range(0, len(data), 1000):
        share += len(intake.take(data[start : start + 1000])) / SAMPLE_RATE
        there = min(start + 1000, len(data)) / len(data) * 4
        assert there - 0.4 < share <= there + 0.1
    intake.end()


@pytest.mark.parametrize(
    "data",
    [b"RIFF" + bytes(5000), recorded("webm", tone(1.0, RATE))[3000:], recorded("ogg", tone(1.0, RATE))],
    ids=["no file", "without its header", "another format"],
)
def test_what_is_no_such_file_is_said_each_time(data: bytes) -> None:
    intake = ContainerIntake(WEBM)
    said = r"^The audio cannot be read as webm with Opus: send the pieces of one file in their order, the first one"
    with pytest.raises(BadAudio, match=said):
        intake.take(data * 100)
    with pytest.raises(BadAudio, match=said):
        intake.take(b"more")
    assert len(intake.end()) == 0


def test_a_codec_that_browsers_do_not_record_is_refused() -> None:
    data = recorded("matroska", tone(1.0, RATE), codec="pcm_s16le")
    intake = ContainerIntake(WEBM)
    with pytest.raises(BadAudio, match="with Opus"):
        intake.take(data)


def test_a_file_that_breaks_off_is_heard_as_far_as_it_goes() -> None:
    data = recorded("webm", tone(2.0, RATE))
    intake = ContainerIntake(WEBM)
    heard = [intake.take(data[: len(data) // 2]), intake.end()]
    assert sum(map(len, heard)) / SAMPLE_RATE == pytest.approx(1.0, abs=0.2)


def test_nothing_is_left_running() -> None:
    def running() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "live webm"]

    until(lambda: not running())  # of other tests
    data = recorded("webm", tone(1.0, RATE))
    left, ended, unused = ContainerIntake(WEBM), ContainerIntake(WEBM), ContainerIntake(WEBM)
    left.take(data[:2000])
    ended.take(data)
    assert running()
    left.close()
    ended.end()
    assert len(unused.end()) == 0
    unused.close()
    until(lambda: not running())
