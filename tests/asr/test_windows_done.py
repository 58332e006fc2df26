from __future__ import annotations

import pytest

from turnscribe.asr.windows_done import WindowsDone
from turnscribe.waveform import SAMPLE_RATE
from turnscribe.whisper.windows import Window

TEN = 10 * SAMPLE_RATE
WINDOWS = [Window(first, first + TEN) for first in (0, TEN)]


def test_what_is_encoded_and_written_counts_before_a_window_is_finished() -> None:
    done, left = WindowsDone(2 * TEN, 0.4), 2 * TEN
    done.encoded(WINDOWS[0])
    assert done.share(left) == pytest.approx(0.2)
    done.encoded(WINDOWS[1])
    assert done.share(left) == pytest.approx(0.4)
    done.wrote(WINDOWS[0], 22)  # less than half of what is said in 10 s
    assert done.share(left) == pytest.approx(0.4 + 0.3 * 22 / 60.75)
    done.wrote(WINDOWS[0], 400)
    assert done.share(left) == pytest.approx(0.2 + 0.2 + 0.3 * 0.95)
    done.finished(WINDOWS[0], 45)
    assert done.share(TEN) == pytest.approx(0.7)
    done.finished(WINDOWS[1], 45)
    assert done.share(0) == 1.0


def test_a_window_that_is_decoded_again_takes_nothing_back() -> None:
    done = WindowsDone(TEN, 0.5)
    done.wrote(WINDOWS[0], 40)
    before = done.share(TEN)
    done.wrote(WINDOWS[0], 1)
    assert done.share(TEN) == before


def test_who_writes_more_is_expected_to_write_more() -> None:
    done = WindowsDone(2 * TEN, 0.5)
    done.finished(WINDOWS[0], 200)
    done.wrote(WINDOWS[1], 45)
    assert done.share(TEN) < 0.9


def test_only_a_rise_that_is_worth_it_is_told() -> None:
    done = WindowsDone(2 * TEN, 0.5)
    done.encoded(WINDOWS[0])
    assert done.risen(2 * TEN) == pytest.approx(0.25)
    done.wrote(WINDOWS[0], 1)
    assert done.risen(2 * TEN) is None
    done.wrote(WINDOWS[0], 3)
    assert done.risen(2 * TEN) == pytest.approx(0.25 + 0.25 * 3 / 60.75)
