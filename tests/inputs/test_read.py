"""What a request's inputs mean."""

from __future__ import annotations

import base64
import textwrap
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnscribe.errors import BadAudio
from turnscribe.inputs.limits import Limits
from turnscribe.inputs.read import read_input, read_text, replaced

WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\0\0\0" + bytes(
    range(256)
)


# Bytes and base64


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_any_kind_pass_unchanged(kind: type) -> None:
    assert read_input(kind(WAV)) == WAV


BASE64 = base64.b64encode(WAV).decode()
SPELLINGS = {
    "plain": BASE64,
    "wrapped": textwrap.fill(BASE64, 64) + "\n",
    "wrapped_crlf": textwrap.fill(BASE64, 76).replace("\n", "\r\n"),
    "url_safe": base64.urlsafe_b64encode(WAV).decode(),
    "unpadded": BASE64.rstrip("="),
    "data_url": "data:audio/wav;base64," + BASE64,
    "data_url_with_codec": "data:audio/webm;codecs=opus;base64," + BASE64,
    "data_url_escaped": "data:;base64," + BASE64.replace("+", "%2B").replace("=", "%3D").replace("/", "%2F"),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_base64_is_read(name: str) -> None:
    assert read_input(SPELLINGS[name]) == WAV


@pytest.mark.parametrize("name", SPELLINGS)
def test_base64_that_a_container_passes_on_as_bytes_is_read(name: str) -> None:
    assert read_input(SPELLINGS[name].encode()) == WAV


@pytest.mark.property
@given(st.binary(min_size=1, max_size=400), st.integers(1, 90))
def test_any_bytes_survive_base64_in_lines_of_any_length(data: bytes, width: int) -> None:
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[i : i + width] for i in range(0, len(text), width))
    assert read_input(lines) == data
    assert read_input(lines.encode()) == data


@pytest.mark.parametrize(
    "inputs",
    ["not base64!", "AAAAA", "AAAA=AAA", "aé", "/tmp/x.wav", "data:audio/wav,abc", "data:audio/ogg;base64", "\0"],
)
def test_other_text_is_refused_in_one_sentence(inputs: str) -> None:
    with pytest.raises(BadAudio, match="base64") as e:
        read_input(inputs)
    assert inputs not in str(e.value)


@pytest.mark.property
@pytest.mark.parametrize("name", SPELLINGS)
@given(cuts=st.lists(st.integers(40, 600), max_size=8))
def test_text_in_blocks_of_any_length_is_read_as_in_one(name: str, cuts: list[int]) -> None:
    text, edges = SPELLINGS[name], [0, *sorted(cuts), 10_000]
    assert read_text(text[start:stop] for start, stop in pairwise(edges)) == WAV


@pytest.mark.parametrize("text", ["QQ==QUJD", "QQ=QUJDQQ", "QQ%3D%3DQUJD", "Q", "QUJDQ"])
@pytest.mark.parametrize("cut", range(1, 8))
def test_what_is_wrong_is_wrong_in_blocks_too(text: str, cut: int) -> None:
    with pytest.raises(BadAudio, match="not base64"):
        read_text(iter([text[:cut], text[cut:]]))


@pytest.mark.property
@given(text=st.text(alphabet="a%2Bb\\/u0", max_size=60), cuts=st.lists(st.integers(0, 60), max_size=6))
def test_what_is_replaced_may_lie_in_two_blocks(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 60]
    blocks = [text[start:stop] for start, stop in pairwise(edges)]
    for pairs in ({"%2B": "+", "%2F": "/"}, {"\\/": "/", "\\u002B": "+"}):
        expected = text
        for key, value in pairs.items():
            expected = expected.replace(key, value)
        assert "".join(replaced(blocks, pairs)) == expected


@pytest.mark.parametrize("inputs", [None, 3, {"array": [0.0]}, ["a"]])
def test_other_kinds_of_inputs_are_refused(inputs: object) -> None:
    with pytest.raises(BadAudio, match="inputs must be bytes"):
        read_input(inputs)


def test_too_much_is_refused_in_bytes_and_in_base64() -> None:
    limits = Limits(max_bytes=300)
    for size, fits in ((300, True), (301, False), (5000, False)):
        data = bytes(size)
        for inputs in (data, bytearray(data), base64.b64encode(data), base64.encodebytes(data).decode()):
            if fits:
                assert read_input(inputs, limits=limits) == data
            else:
                with pytest.raises(BadAudio, match="MiB"):
                    read_input(inputs, limits=limits)


# URLs


@pytest.mark.parametrize(
    "url", ["https://a.example/x.wav", "http://a.example/x.wav", b"https://a.example/x", " HTTPS://a"]
)
def test_urls_are_refused_unless_allowed(url: str | bytes) -> None:
    def never(url: str, max_bytes: int) -> bytes:
        raise AssertionError("fetched")

    with pytest.raises(BadAudio, match="not fetched here"):
        read_input(url, fetch_url=never)


def test_an_allowed_url_is_fetched_up_to_the_limit() -> None:
    seen = []

    def fake(url: str, max_bytes: int) -> bytes:
        seen.append((url, max_bytes))
        return WAV

    limits = Limits(max_bytes=1000)
    assert read_input("https://a.example/x.wav\n", limits=limits, allow_urls=True, fetch_url=fake) == WAV
    assert seen == [("https://a.example/x.wav", 1000)]
