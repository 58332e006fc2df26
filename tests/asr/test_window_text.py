"""A decoded window's text: on the recording's clock, without what nobody said, and what is left to decode."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.asr.test_transformers_backend import END, FIRST, LetterTokenizer, at, letters
from turnscribe.asr.window_text import WindowText, passed_over_from, read_window, windows_to_decode
from turnscribe.request import DecodingOptions
from turnscribe.speech.speech_map import SpeechMap, Stretch
from turnscribe.waveform import SAMPLE_RATE
from turnscribe.whisper.alignment import TokenAlignment
from turnscribe.whisper.reading import DecodedWindow, Reader
from turnscribe.whisper.windows import Window

READER = Reader(LetterTokenizer(), END, FIRST)
SPEECH = SpeechMap((Stretch(10.0, 14.0), Stretch(20.0, 26.0)), 40.0)
WINDOW = Window(
    round(9.8 * SAMPLE_RATE), round(26.2 * SAMPLE_RATE), ((round(14.2 * SAMPLE_RATE), round(19.8 * SAMPLE_RATE)),)
)


def read(
    tokens: list[int], starts: list[float], *, speech: SpeechMap | None = SPEECH, **decoded: object
) -> WindowText:
    """`starts` of each token and of what follows the last one, in seconds of `WINDOW`."""
    alignment = TokenAlignment(np.array(starts[:-1]), np.array(starts[1:]), np.zeros(len(tokens)))
    window = DecodedWindow(WINDOW, tokens, np.zeros(len(tokens)), alignment, **decoded)  # type: ignore[arg-type]
    return read_window(READER, window, spoken="en", task="transcribe", speech=speech)


def test_words_are_on_the_recordings_clock_and_chunks_run_from_word_to_word() -> None:
    tokens = [at(0.0), *letters(" a b"), at(4.4), at(4.4), *letters(" c"), at(10.8)]
    text = read(tokens, [0.0, 0.2, 2.0, 2.2, 4.0, 4.3, 4.3, 5.0, 9.0, 10.6, 10.8])
    assert [(c.text, c.start, c.end) for c in text.chunks] == [
        (" a b", 10.0, pytest.approx(14.0)),
        (" c", pytest.approx(20.0), pytest.approx(26.0)),
    ]
    assert (text.rest, text.warnings) == (None, ())
    assert [word.start for word in text.chunks[0].words] == [10.0, pytest.approx(12.0)]


def test_what_nobody_had_time_to_say_is_left_out_and_warned_of() -> None:
    tokens = [at(0.0), *letters(" a"), *letters(" x y z"), at(10.8)]
    text = read(tokens, [0.0, 0.2, 4.2, *[10.6] * 7])
    assert [chunk.text for chunk in text.chunks] == [" a"]
    assert text.warnings == ("Text at 26.0 s was left out: nobody had time to say its 3 words.",)


def test_at_the_limit_of_tokens_decoding_goes_on_from_the_last_timestamp() -> None:
    tokens = [at(0.0), *letters(" a"), at(4.4), at(4.4), *letters(" b")]
    text = read(tokens, [0.0, 0.2, 4.2, 4.4, 4.4, 4.6, 9.0, 10.0], reached_limit=True)
    assert [chunk.text for chunk in text.chunks] == [" a"]
    assert text.rest is not None
    assert text.rest.offset == pytest.approx(19.8)
    assert text.rest.stop == WINDOW.stop


def test_at_the_limit_without_a_timestamp_it_goes_on_after_the_last_word() -> None:
    text = read([at(0.0), *letters(" a")], [0.0, 0.2, 3.0, 4.0], reached_limit=True)
    assert [chunk.text for chunk in text.chunks] == [" a"]
    assert text.rest is not None
    assert text.rest.offset == pytest.approx(13.8)


def test_a_word_ends_where_decoding_goes_on() -> None:
    """The last word is aligned to all that is not yet written down, and would be in the next stretch."""
    tokens = [at(0.0), *letters(" a"), at(4.2), at(4.2)]
    text = read(tokens, [0.0, 3.6, 3.8, 16.0, 16.4, 16.4])
    assert text.rest is not None
    assert [(word.start, word.end) for word in text.chunks[0].words] == [(pytest.approx(13.4), 14.0)]


def test_words_aligned_to_what_is_not_written_down_yet_are_not_taken_for_made_up() -> None:
    tokens = [at(0.0), *letters(" a b c d e"), at(3.0), at(3.0)]
    starts = [0.0, 0.5, 0.6, 1.0, 1.2, 3.2, 3.3, 3.4, 3.6, 3.8, 3.9, 4.0, 4.0]
    text = read(tokens, starts)
    assert [chunk.text for chunk in text.chunks] == [" a b c d e"]
    assert text.rest is not None
    assert text.chunks[-1].end <= text.rest.offset
    assert text.warnings == ()


def test_a_rest_without_speech_is_not_decoded() -> None:
    tokens = [at(0.0), *letters(" a"), at(4.4), at(4.4)]
    starts = [0.0, 0.2, 4.2, 4.4, 4.4, 4.4]
    assert read(tokens, starts).rest is not None
    nobody_after = SpeechMap(SPEECH.stretches[:1], 40.0)
    assert read(tokens, starts, speech=nobody_after).rest is None


def test_whole_stretches_after_a_text_that_is_finished_are_decoded_on_their_own() -> None:
    """Whisper closes a text with a timestamp, and has left out what is said after a pause."""
    tokens, starts = [at(0.0), *letters(" a b"), at(4.2)], [0.0, 0.2, 2.0, 2.2, 4.0, 4.3]
    text = read(tokens, starts)
    assert [chunk.text for chunk in text.chunks] == [" a b"]
    assert text.rest is not None
    assert (text.rest.offset, text.rest.stop) == (pytest.approx(19.8), WINDOW.stop)
    short = SpeechMap((Stretch(10.0, 14.0), Stretch(20.0, 20.8)), 40.0)
    assert read(tokens, starts, speech=short).rest is None, "too short to be more than a breath"
    going_on = SpeechMap((Stretch(10.0, 20.0),), 40.0)
    assert read(tokens, starts, speech=going_on).rest is None, "the text's own stretch may last longer than its words"
    assert read(tokens, starts, speech=None).rest is None
    assert read([*tokens[:-1], at(9.0)], starts).rest is None, "its last words may be in the last stretch"


def test_what_a_text_passed_over_begins_in_its_window_where_it_would_begin_on_its_own() -> None:
    tokens, starts = [at(0.0), *letters(" a b"), at(4.2)], [0.0, 0.2, 2.0, 2.2, 4.0, 4.3]

    def passed_over(tokens: list[int], speech: SpeechMap | None = SPEECH) -> float | None:
        alignment = TokenAlignment(np.array(starts[:-1]), np.array(starts[1:]), np.zeros(len(tokens)))
        decoded = DecodedWindow(WINDOW, tokens, np.zeros(len(tokens)), alignment)
        return passed_over_from(
            READER, WINDOW, tokens, lambda: decoded, spoken="en", task="transcribe", speech=speech
        )

    rest = read(tokens, starts).rest
    assert rest is not None
    begins = passed_over(tokens)
    assert begins is not None
    assert WINDOW.time(begins) == pytest.approx(rest.offset)
    assert passed_over(tokens, None) is None
    assert passed_over([*tokens[:-1], at(9.0)]) is None, "its last words may be in the last stretch"
    assert passed_over([*tokens[:-2], at(4.2), at(4.2)]) is None, "a pair says that it is not finished"
    assert passed_over([*tokens[:-1], *letters("c")]) is None, "it is not closed"


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_chunks_and_words_are_in_speech_in_order_and_apart(data: st.DataObject) -> None:
    tokens = data.draw(
        st.lists(st.one_of(st.integers(0, 99), st.integers(FIRST, FIRST + 540)), min_size=1, max_size=60)
    )
    starts = sorted(data.draw(st.lists(st.floats(0, 11), min_size=len(tokens) + 1, max_size=len(tokens) + 1)))
    text = read(tokens, starts, reached_limit=data.draw(st.booleans()))
    words = [word for chunk in text.chunks for word in chunk.words]
    assert all(chunk.text == "".join(word.text for word in chunk.words) for chunk in text.chunks)
    assert all((chunk.start, chunk.end) == (chunk.words[0].start, chunk.words[-1].end) for chunk in text.chunks)
    for word in words:
        assert any(s.start - 1e-6 <= word.start <= word.end <= s.end + 1e-6 for s in SPEECH.stretches)
    assert all(before.end <= after.start + 1e-9 for before, after in pairwise(words))
    assert text.rest is None or text.rest.start >= WINDOW.start + 0.1 * SAMPLE_RATE, "every rest is shorter"


def test_without_a_map_all_that_is_not_silent_is_heard() -> None:
    waveform = np.zeros(40 * SAMPLE_RATE, np.float32)
    waveform[35 * SAMPLE_RATE :] = 0.1
    windows = windows_to_decode(waveform, None, DecodingOptions())
    assert [window.stop for window in windows] == [40 * SAMPLE_RATE]
    assert windows_to_decode(waveform, SpeechMap((), 40.0), DecodingOptions()) == []
