"""What a long session keeps in memory: what it told, and no audio."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.live.fakes import new_spool, says_time
from turnscribe.live.ear import Known
from turnscribe.live.events import LiveEvent
from turnscribe.live.session import LiveOptions, LiveSession
from turnscribe.live.utterance import Style
from turnscribe.pipeline import Voices
from turnscribe.request import Request
from turnscribe.transcript import Transcript, Turn
from turnscribe.waveform import SAMPLE_RATE, Waveform

PIECE = SAMPLE_RATE // 10
FRAME = 512


class Ear:
    """A word for every 0.4 s, and two people by halves."""

    def hear(self, samples: Waveform, request: Request, known: Known) -> Transcript:
        return says_time(len(samples) / SAMPLE_RATE)

    def voices(self, samples: Waveform) -> Voices:
        end = len(samples) / SAMPLE_RATE
        embeddings = {"A": np.array([1, 0], np.float32), "B": np.array([0, 1], np.float32)}
        return Voices((Turn("A", 0, end / 2), Turn("B", end / 2, end)), embeddings, {"A": end / 2, "B": end / 2})


class Detector:
    """Somebody speaks for 12 s of every 15."""

    def __init__(self) -> None:
        self._frames = self._rest = 0

    def hear(self, samples: Waveform) -> NDArray[np.float32]:
        frames, self._rest = divmod(self._rest + len(samples), FRAME)
        times = (self._frames + np.arange(frames)) * FRAME / SAMPLE_RATE
        self._frames += frames
        return np.where(times % 15 < 12, 0.9, 0.0).astype(np.float32)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
def test_ten_minutes_more_take_no_more_than_their_text() -> None:
    """Their samples alone would take 37 MiB."""
    events = 0

    def count(event: LiveEvent) -> None:
        nonlocal events
        events += 1

    session = LiveSession(Ear(), Detector(), LiveOptions(Style(Request())), count, spool=new_spool())
    piece, kept = np.full(PIECE, 0.01, np.float32), []
    for number in range(1, 15 * 600 + 1):
        session.append(piece)
        while session.work():
            pass
        if number % 3000 == 0:
            kept.append(tracemalloc.get_traced_memory()[0] / 2**20)
    assert events > 1000
    assert kept[2] - kept[0] < 1.0, "MiB, from the fifth minute to the fifteenth"
    session.spool.close()
