"""The speech map: seconds, overlaps, and the map of a recording in which nobody looked."""

from __future__ import annotations

import pytest

from turnscribe.speech.speech_map import SpeechMap, Stretch

SPEECH = SpeechMap((Stretch(1.0, 2.0), Stretch(2.5, 4.0), Stretch(8.0, 9.0)), duration=10.0)


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [(0.0, 10.0, 3.5), (1.25, 1.5, 0.25), (1.5, 3.0, 1.0), (2.0, 2.5, 0.0), (4.0, 8.0, 0.0), (9.0, 20.0, 0.0)],
)
def test_the_overlap_is_how_long_somebody_speaks(start: float, end: float, seconds: float) -> None:
    assert SPEECH.overlap(start, end) == pytest.approx(seconds)


def test_everywhere_is_one_stretch_and_none_of_an_empty_recording() -> None:
    assert SpeechMap.everywhere(3.0).stretches == (Stretch(0.0, 3.0),)
    assert SpeechMap.everywhere(0.0).stretches == ()
    assert SpeechMap.everywhere(3.0).overlap(1.0, 2.0) == 1.0
