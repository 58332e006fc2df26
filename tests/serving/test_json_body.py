"""JSON bodies: long strings stay in their file, and what is beside them is short, whatever a client sends."""

from __future__ import annotations

import base64
import io
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnscribe.serving import json_body
from turnscribe.serving.json_body import BLOCK, LONG, MOST_BESIDE, LongText, read_json_body
from turnscribe.serving.problems import Malformed

AUDIO = bytes(range(256)) * 1000
TEXT = base64.b64encode(AUDIO).decode()


def read(body: str | bytes) -> dict[str, Any]:
    return read_json_body(io.BytesIO(body if isinstance(body, bytes) else body.encode()))


def whole(body: str | bytes) -> dict[str, Any]:
    """With its long text read."""
    return {name: "".join(one.blocks()) if isinstance(one, LongText) else one for name, one in read(body).items()}


@pytest.mark.parametrize(
    "written",
    [
        json.dumps({"inputs": TEXT, "parameters": {"prompt": 'say "\\"'}}),
        json.dumps({"parameters": {"prompt": 'say "\\"'}, "inputs": TEXT}, indent=2),
        json.dumps({"inputs": TEXT, "parameters": {"prompt": 'say "\\"'}}).replace("/", "\\/"),  # PHP
        json.dumps({"inputs": TEXT, "parameters": {"prompt": 'say "\\"'}}).replace("+", "\\u002B"),  # .NET
        json.dumps({"inputs": TEXT, "parameters": {"prompt": 'say "\\"'}}).replace("=", "\\u003d"),
    ],
)
def test_long_inputs_stay_in_the_file_however_they_are_written(written: str) -> None:
    assert isinstance(read(written)["inputs"], LongText)
    assert whole(written) == {"inputs": TEXT, "parameters": {"prompt": 'say "\\"'}}


def test_wrapped_lines_are_kept_for_whoever_decodes_them() -> None:
    lines = "\n".join(TEXT[at : at + 76] for at in range(0, len(TEXT), 76))
    assert "".join(whole(json.dumps({"inputs": lines}))["inputs"].split()) == TEXT


def test_short_inputs_are_as_json_has_them() -> None:
    assert read('\ufeff{"inputs": "caf\\u00e9 / \u00e9", "parameters": null}'.encode()) == {
        "inputs": "caf\u00e9 / \u00e9",
        "parameters": None,
    }


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[1, 2]", "not a JSON object"),
        (b"", "not a JSON object"),
        (b'{"inputs": "' + b"A" * 2 * LONG, "not a JSON object"),  # cut off
        (json.dumps({"inputs": "x", "parameters": {"prompt": "y" * 2 * LONG}}).encode(), "not its inputs"),
        (json.dumps({"inputs": [TEXT]}).encode(), "not its inputs"),
        (b'{"inputs": [' + b"[]," * 100_000 + b"[]]}", "beside its inputs"),
        (b'{"a": ' + b"[" * 60_000 + b"]" * 60_000 + b"}", "not a JSON object"),
        (b'{"a": [' + b'"",' * 100_000 + b'""]}', "beside its inputs"),
        (b" " * (MOST_BESIDE + 1), "beside its inputs"),
    ],
)
def test_what_is_no_request_is_one_sentence(body: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        read(body)


@pytest.mark.parametrize("content", ["\u00e9" * LONG, "\\u0041" * LONG, '\\"' * LONG])
def test_a_long_text_that_is_no_base64_is_refused_when_it_is_read(content: str) -> None:
    inputs = read('{"inputs": "' + content + '"}')["inputs"]
    with pytest.raises(Malformed, match="not base64"):
        "".join(inputs.blocks())


@pytest.mark.property
@settings(max_examples=200, deadline=None)
@given(
    value=st.dictionaries(
        st.text(max_size=8), st.recursive(st.text(max_size=40) | st.integers() | st.none(), st.lists)
    ),
    escaped=st.booleans(),
    block=st.integers(1, 7),
)
def test_any_short_object_is_what_json_makes_of_it(value: dict[str, Any], escaped: bool, block: int) -> None:
    written = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_body, "BLOCK", block)  # every place of a body is at the edge of a block
        assert read(written) == json.loads(written)


def test_no_block_holds_the_interpreter() -> None:
    """The time of a body of 40 MiB, in the ways that take longest, by its blocks."""
    for piece in (b"A", b"\\\\", b"\\/"):
        body = b'{"inputs": "' + piece * (40 * 2**20 // len(piece)) + b'"}'
        began = time.perf_counter()
        read(body)
        assert (time.perf_counter() - began) / (len(body) / BLOCK) < 0.05
