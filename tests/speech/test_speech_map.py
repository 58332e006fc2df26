"""The speech map: how it is made of times, and its parts."""

from __future__ import annotations

import pytest

from turnscribe.speech.speech_map import SpeechMap, Stretch


@pytest.mark.parametrize(
    ("spans", "stretches"),
    [
        ([], ()),
        ([(1.0, 2.0), (2.5, 4.0)], (Stretch(1.0, 2.0), Stretch(2.5, 4.0))),
        ([(1.0, 2.0), (2.0, 2.0), (2.0, 3.0), (4.0, 4.0)], (Stretch(1.0, 3.0),)),
        ([(at / 1000, (2 * at + 1) / 2000) for at in range(8000)], (Stretch(0.0, 7.9995),)),
        ([(1.0, 4.0), (2.0, 3.0)], (Stretch(1.0, 4.0),)),
        ([(-1.0, 1.0), (8.0, 12.0), (13.0, 14.0)], (Stretch(0.0, 1.0), Stretch(8.0, 10.0))),
    ],
)
def test_stretches_are_apart_and_in_the_recording(
    spans: list[tuple[float, float]], stretches: tuple[Stretch, ...]
) -> None:
    assert SpeechMap.of(spans, 10.0) == SpeechMap(stretches, 10.0)


def test_a_part_has_its_own_clock() -> None:
    speech = SpeechMap.of([(1.0, 2.0), (2.5, 4.0), (8.0, 9.0)], 10.0)
    assert speech.part(0.0, 10.0) == speech
    assert speech.part(3.0, 8.5) == SpeechMap((Stretch(0.0, 1.0), Stretch(5.0, 5.5)), 5.5)
    assert speech.part(4.0, 8.0).stretches == ()
