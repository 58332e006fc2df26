"""Words lie where somebody speaks, in order and apart, whatever the alignment says."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnscribe.speech.evidence import takes_time, without_time
from turnscribe.speech.placement import place, stretches_in
from turnscribe.speech.speech_map import SpeechMap, Stretch
from turnscribe.transcript import Word
from turnscribe.waveform import SAMPLE_RATE
from turnscribe.whisper.windows import Window


def words(*times: tuple[float, float]) -> list[Word]:
    return [Word(f" w{index}", start, end) for index, (start, end) in enumerate(times)]


def placed(stretches: list[Stretch], *times: tuple[float, float], exact: bool = True) -> list[tuple[float, float]]:
    return [(word.start, word.end) for word in place(words(*times), stretches, exact=exact)]


FIRST, SECOND = Stretch(0.5, 2.5), Stretch(10.9, 13.0)


def test_a_word_before_a_pause_ends_with_the_speech_and_the_next_begins_with_it() -> None:
    times = placed([FIRST, SECOND], (0.5, 1.0), (1.0, 2.0), (2.0, 9.7), (9.7, 11.4), (11.4, 13.2))
    assert times == [(0.5, 1.0), (1.0, 2.0), (2.0, 2.5), (10.9, 11.4), (11.4, 13.0)]


def test_a_word_that_begins_a_little_late_begins_with_the_speech() -> None:
    times = placed([FIRST, SECOND], (0.6, 2.1), (2.1, 11.0), (11.0, 12.8))
    assert times == [(0.5, 2.1), (2.1, 2.5), (10.9, 12.8 + 0.2)]


def test_what_is_far_from_the_edge_stays_there() -> None:
    assert placed([Stretch(0.0, 10.0)], (2.0, 3.0), (3.0, 4.0)) == [(2.0, 3.0), (3.0, 4.0)]


def test_a_word_in_a_pause_goes_to_the_nearest_speech() -> None:
    (first, second) = placed([FIRST, SECOND], (3.0, 3.5), (10.0, 10.2))
    assert FIRST.start <= first[0] < first[1] == FIRST.end
    assert second[0] == SECOND.start


def test_where_nothing_is_known_of_speech_only_the_order_is_mended() -> None:
    assert placed([Stretch(0.0, 30.0)], (0.2, 1.0), (0.8, 2.0), exact=False) == [(0.2, 1.0), (1.0, 2.0)]


stretches_strategy = st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.01, 6.0)), min_size=1, max_size=6)
times_strategy = st.lists(st.tuples(st.floats(0, 40), st.floats(0, 12)), max_size=40)


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(gaps=stretches_strategy, times=times_strategy, exact=st.booleans())
def test_any_words_and_any_map(
    gaps: list[tuple[float, float]], times: list[tuple[float, float]], exact: bool
) -> None:
    stretches, end = [], 0.0
    for gap, length in gaps:
        stretches.append(Stretch(end + gap + 0.001, end + gap + 0.001 + length))
        end = stretches[-1].end
    given_words = words(*((start, start + length) for start, length in times))
    result = place(given_words, stretches, exact=exact)
    assert [word.text for word in result] == [word.text for word in given_words]
    for word in result:
        assert word.start <= word.end
        assert any(s.start - 1e-9 <= word.start and word.end <= s.end + 1e-9 for s in stretches)
    assert all(before.end <= after.start + 1e-9 for before, after in pairwise(result))


def test_short_pauses_are_bridged_and_pieces_are_kept_apart() -> None:
    speech = SpeechMap((Stretch(1.0, 2.0), Stretch(2.2, 3.0), Stretch(4.0, 6.0)), 10.0)
    window = Window(0, 5 * SAMPLE_RATE)
    assert stretches_in(window, speech) == [(1.0, 3.0), (4.0, 5.0)]
    cut = Window(0, 5 * SAMPLE_RATE, ((round(2.5 * SAMPLE_RATE), round(2.8 * SAMPLE_RATE)),))
    assert stretches_in(cut, speech) == [(1.0, 2.5), (2.8, 3.0), (4.0, 5.0)]
    assert stretches_in(Window(7 * SAMPLE_RATE, 9 * SAMPLE_RATE), speech) == []
    assert stretches_in(cut, None) == [(0.0, 2.5), (2.8, 5.0)]


# Evidence --------------------------------------------------------------------------------------------


def test_many_words_at_one_instant_were_not_said_and_one_was() -> None:
    told_twice = words((0, 1), (1, 1), (1, 2), *[(29.98, 29.98)] * 20)
    assert without_time(told_twice) == [(3, 23)]
    assert not takes_time(told_twice)


def test_repetition_that_takes_its_time_was_said() -> None:
    assert takes_time(words(*((index / 3, (index + 1) / 3) for index in range(80))))
    assert not takes_time([])
    assert not takes_time(words(*[(1.0, 1.0), (1.0, 1.5)] * 10))
