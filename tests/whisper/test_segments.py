from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnscribe.whisper.segments import SHORTEST_REST, Segment, read_segments, split_words, token_texts

END = 50  # below: text; above, up to the timestamps: what `generate` is started with
FIRST = 61  # <|0.00|>


def at(seconds: float) -> int:
    return FIRST + round(seconds / 0.02)


def read(tokens: list[int], duration: float = 30.0) -> tuple[list[Segment], float | None]:
    return read_segments(tokens, end_token=END, first_timestamp=FIRST, duration=duration)


# --- segments -------------------------------------------------------------------------------------------------


def test_nothing_said_is_no_segment_and_finished() -> None:
    assert read([]) == ([], None)
    assert read([END]) == ([], None)
    assert read([at(0.0), END]) == ([], None)


def test_each_pair_of_timestamps_bounds_a_segment() -> None:
    segments, rest = read([at(0.5), 1, 2, at(2.0), at(2.5), 3, at(30.0), END])
    assert segments == [Segment((1, 2), 0.5, 2.0), Segment((5,), 2.5, 30.0)]
    assert rest is None


def test_a_missing_last_timestamp_is_the_end_of_the_window() -> None:
    assert read([at(1.0), 1, 2, END], 7.5) == ([Segment((1, 2), 1.0, 7.5)], None)


def test_text_before_any_timestamp_begins_with_the_window() -> None:
    assert read([1, 2, at(3.0)]) == ([Segment((0, 1), 0.0, 3.0)], None)


def test_text_without_timestamps_is_the_whole_window() -> None:
    assert read([1, 2, 3], 4.0) == ([Segment((0, 1, 2), 0.0, 4.0)], None)


def test_a_timestamp_after_the_audio_is_its_end() -> None:
    assert read([at(1.0), 1, at(29.0)], 5.0) == ([Segment((1,), 1.0, 5.0)], None)


def test_a_timestamp_that_runs_backwards_does_not_turn_time_around() -> None:
    segments, _ = read([at(5.0), 1, at(2.0), at(1.0), 2, at(6.0)])
    assert segments == [Segment((1,), 5.0, 5.0), Segment((4,), 5.0, 6.0)]


def test_special_tokens_in_between_are_neither_text_nor_time() -> None:
    assert read([at(1.0), 1, END + 3, 2, at(2.0)])[0] == [Segment((1, 3), 1.0, 2.0)]


@pytest.mark.parametrize("after", [[], [END], [END, END]])
def test_a_pair_at_the_end_asks_for_the_rest(after: list[int]) -> None:
    segments, rest = read([at(0.0), 1, at(10.0), at(10.0), *after])
    assert segments == [Segment((1,), 0.0, 10.0)]
    assert rest == 10.0


def test_decoding_goes_on_where_the_last_text_ended() -> None:
    """As in openai/whisper: the second of the pair is only a guess at where the next words begin."""
    assert read([at(0.0), 1, at(10.0), at(24.0)])[1] == 10.0


def test_a_single_timestamp_at_the_end_finishes_the_window() -> None:
    assert read([at(0.0), 1, at(10.0)])[1] is None


def test_a_pair_in_the_middle_finishes_the_window() -> None:
    assert read([at(0.0), 1, at(10.0), at(10.0), 2])[1] is None


def test_a_rest_too_short_to_hold_a_word_is_not_decoded() -> None:
    assert read([at(0.0), 1, at(9.5), at(9.5)], 10.0)[1] is None
    assert read([at(0.0), 1, at(9.0), at(9.0)], 10.0)[1] == 9.0


def test_a_pair_at_the_very_start_does_not_decode_the_same_window_for_ever() -> None:
    assert read([at(0.0), 1, at(0.0), at(0.0)]) == ([Segment((1,), 0.0, 0.0)], None)
    assert read([at(0.0), at(0.0)]) == ([], None)


TOKENS = st.lists(st.integers(0, FIRST - 1) | st.integers(FIRST, FIRST + 1500), max_size=30)


@pytest.mark.property
@given(TOKENS, st.floats(0.0, 30.0))
def test_no_text_token_is_lost_and_time_only_rises(tokens: list[int], duration: float) -> None:
    segments, rest = read(tokens, duration)
    kept = [position for segment in segments for position in segment.positions]
    assert kept == [position for position, token in enumerate(tokens) if token < END]
    assert all(segment.positions for segment in segments)
    times = [time for segment in segments for time in (segment.start, segment.end)]
    assert times == sorted(times)
    assert all(0.0 <= time <= duration for time in times)
    if rest is not None:
        assert rest == segments[-1].end
        assert 0.0 < rest <= duration - SHORTEST_REST


# --- words ----------------------------------------------------------------------------------------------------


def words(pieces: list[str], *, spaces: bool = True) -> list[str]:
    return ["".join(pieces[first:stop]) for first, stop in split_words(pieces, spaces=spaces)]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([" Hel", "lo", ",", " world", "!"], [" Hello,", " world!"]),
        (["Hel", "lo", " you"], ["Hello", " you"]),
        ([" don", "'t", " know"], [" don't", " know"]),
        ([" caf", "", "é", " au"], [" café", " au"]),
        ([" ", "x"], [" x"]),
        ([], []),
        (["", ""], [""]),
    ],
)
def test_a_word_begins_with_a_space(pieces: list[str], expected: list[str]) -> None:
    assert words(pieces) == expected


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["你好", "世界", "。"], ["你好", "世界。"]),
        (["我", "", "", "們", "!"], ["我", "們!"]),
        (["你", " ", "OK"], ["你 ", "OK"]),
    ],
)
def test_without_spaces_a_word_begins_with_every_token(pieces: list[str], expected: list[str]) -> None:
    assert words(pieces, spaces=False) == expected


def test_the_parts_of_a_character_belong_to_the_word_they_complete() -> None:
    assert split_words(["我", "", "們"], spaces=False) == [(0, 1), (1, 3)]
    assert split_words(["", "我", "", "們"], spaces=False) == [(0, 2), (2, 4)]


def test_tokens_without_text_at_the_end_stay_with_the_last_word() -> None:
    assert split_words([" a", " b", "", ""], spaces=True) == [(0, 1), (1, 4)]


@pytest.mark.property
@given(st.lists(st.text(max_size=4) | st.sampled_from(["", " ", " a", "é", "。", "!"])), st.booleans())
def test_words_are_all_tokens_in_order(pieces: list[str], spaces: bool) -> None:
    spans = split_words(pieces, spaces=spaces)
    assert [index for first, stop in spans for index in range(first, stop)] == list(range(len(pieces)))
    assert all(stop > first for first, stop in spans)
    assert "".join(words(pieces, spaces=spaces)) == "".join(pieces)
    if any(pieces):
        assert all(words(pieces, spaces=spaces))


# --- token texts ----------------------------------------------------------------------------------------------


class Bytes:
    """A byte-level tokenizer: a token is any run of bytes."""

    def __init__(self, tokens: list[bytes]) -> None:
        self.tokens = tokens

    def decode(self, ids: list[int]) -> str:
        return b"".join(self.tokens[index] for index in ids).decode(errors="replace")

    def texts(self) -> list[str]:
        return token_texts(list(range(len(self.tokens))), self.decode)


def test_the_token_that_completes_a_character_has_it() -> None:
    thumb = "👍".encode()
    assert Bytes([b" ok", b" " + thumb[:1], thumb[1:3], thumb[3:] + b"!", b" yes"]).texts() == [
        " ok",
        " ",
        "",
        "👍!",
        " yes",
    ]


def test_a_character_that_is_never_completed_stays() -> None:
    assert Bytes([b"a", "é".encode()[:1]]).texts() == ["a", "\ufffd"]
    assert "".join(Bytes(["é".encode()[:1], b"a"]).texts()) == "\ufffda"


def test_a_replacement_character_of_the_text_itself_stays() -> None:
    assert "".join(Bytes(["\ufffd".encode(), b"a"]).texts()) == "\ufffda"


def test_no_tokens_have_no_texts() -> None:
    assert Bytes([]).texts() == []


def cut_at(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[first:stop] for first, stop in itertools.pairwise(bounds)]


UNICODE = st.text(st.characters(exclude_categories=["Cs"])) | st.text("aé 你👍。 ")


@pytest.mark.property
@given(UNICODE, st.lists(st.integers(0, 1000)))
def test_tokens_share_out_any_text_and_words_put_it_together(text: str, cuts: list[int]) -> None:
    pieces = Bytes(cut_at(text.encode(), cuts)).texts()
    assert "".join(pieces) == text
    for spaces in (True, False):
        assert "".join(words(pieces, spaces=spaces)) == text


@pytest.mark.property
@given(st.lists(st.binary(max_size=5)))
def test_broken_bytes_are_shared_out_too(tokens: list[bytes]) -> None:
    pieces = Bytes(tokens).texts()
    assert len(pieces) == len(tokens)
    assert "".join(pieces) == b"".join(tokens).decode(errors="replace")


def test_at_the_limit_of_tokens_what_follows_the_last_timestamp_is_decoded_again() -> None:
    def cut_off(tokens: list[int]) -> tuple[list[Segment], float | None]:
        return read_segments(tokens, end_token=END, first_timestamp=FIRST, duration=30.0, reached_limit=True)

    said = Segment((1, 2), 0.0, 4.0)
    assert cut_off([at(0.0), 1, 2, at(4.0), at(4.0), 3, 4]) == ([said], 4.0)
    assert cut_off([at(0.0), 1, 2, at(4.0), at(5.0), 3, 4]) == ([said], 5.0)
    # without a timestamp, or where hardly anything is reached, all text is kept: to go on would have no end
    assert cut_off([at(0.0), 1, 2]) == ([Segment((1, 2), 0.0, 30.0)], None)
    assert cut_off([at(0.0), 1, at(0.2), at(0.2), 2]) == ([Segment((1,), 0.0, 0.2), Segment((4,), 0.2, 30.0)], None)
