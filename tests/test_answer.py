from __future__ import annotations

import base64
import io
import json
import sys
from typing import Any

import mammoth
import numpy as np
import pytest

from turnscribe.answer import to_answer
from turnscribe.errors import BadParameters
from turnscribe.formats import FORMATS
from turnscribe.parameters import parse_parameters
from turnscribe.request import Request
from turnscribe.transcript import Chunk, SpeakerText, Speculation, Transcript, Turn, Word

WORDS = (
    Word(" Hello", 0.5, 0.9, probability=0.75, speaker="SPEAKER_00"),
    Word(" there.", 0.9, 1.25, probability=0.5, speaker="SPEAKER_00"),
)
CALL = Transcript(
    text=" Hello there. Hi.",
    chunks=(
        Chunk(" Hello there.", 0.5, 1.25, words=WORDS, speaker="SPEAKER_00"),
        Chunk(" Hi.", 1.5, 1.75, words=(Word(" Hi.", 1.5, 1.75),)),
    ),
    duration=2.0,
    language="en",
    speakers=(SpeakerText("SPEAKER_00", " Hello there.", 0.5, 1.25),),
    turns=(Turn("SPEAKER_00", 0.4, 1.3),),
    timings={"decode": 0.01, "asr": 0.2, "total": 0.21},
)

SEGMENTS, WORD_TIMES = Request(), Request(timestamps="word")


def answer_of(**changes: Any) -> dict[str, Any]:
    given = {name: getattr(CALL, name) for name in CALL.__dataclass_fields__} | changes
    return to_answer(Transcript(**given), SEGMENTS)


def test_the_answer_is_the_documented_json() -> None:
    assert to_answer(CALL, WORD_TIMES) == {
        "text": " Hello there. Hi.",
        "chunks": [
            {"text": " Hello there.", "timestamp": [0.5, 1.25], "speaker": "SPEAKER_00"},
            {"text": " Hi.", "timestamp": [1.5, 1.75]},
        ],
        "speakers": [{"speaker": "SPEAKER_00", "text": " Hello there.", "timestamp": [0.5, 1.25]}],
        "words": [
            {"word": " Hello", "start": 0.5, "end": 0.9, "probability": 0.75, "speaker": "SPEAKER_00"},
            {"word": " there.", "start": 0.9, "end": 1.25, "probability": 0.5, "speaker": "SPEAKER_00"},
            {"word": " Hi.", "start": 1.5, "end": 1.75},
        ],
        "language": "en",
        "duration": 2.0,
        "timings": {"decode": 0.01, "asr": 0.2, "total": 0.21},
    }


def test_words_are_there_only_when_asked_for() -> None:
    assert "words" not in to_answer(CALL, SEGMENTS)
    assert to_answer(Transcript("", (), 1.0), WORD_TIMES)["words"] == []


def test_silence_has_every_key_that_is_always_there() -> None:
    assert to_answer(Transcript("", (), 3.0), SEGMENTS) == {
        "text": "",
        "chunks": [],
        "speakers": [],
        "language": None,
        "duration": 3.0,
        "timings": {},
    }


def test_warnings_and_speculation_appear_when_there_are_some() -> None:
    answer = answer_of(warnings=("The file ends early.",), speculation=Speculation(proposed=8, accepted=5))
    assert answer["warnings"] == ["The file ends early."]
    assert answer["speculation"] == {"proposed": 8, "accepted": 5}
    assert not {"warnings", "speculation", "formatted"} & answer_of().keys()


def test_formatted_stands_beside_the_other_keys() -> None:
    answer = to_answer(CALL, Request(response_format="srt"))
    assert answer["formatted"].startswith("1\n00:00:00,500 --> 00:00:01,250\nSPEAKER_00: Hello there.")
    assert answer["text"] == CALL.text
    verbose = to_answer(CALL, Request(response_format="verbose_json"))["formatted"]
    assert verbose["language"] == "english"
    assert "words" not in verbose
    assert len(to_answer(CALL, Request(timestamps="word", response_format="verbose_json"))["formatted"]["words"]) == 3


def test_a_binary_format_is_base64() -> None:
    formatted = to_answer(CALL, Request(response_format="docx"))["formatted"]
    assert CALL.chunks[0].text.strip() in mammoth.extract_raw_text(io.BytesIO(base64.b64decode(formatted))).value


@pytest.mark.parametrize(
    ("name", "module", "package"), [("docx", "docx", "python-docx"), ("ass", "pysubs2", "pysubs2")]
)
def test_a_format_whose_library_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    sentence = (
        f"^response_format is '{name}', and {package} is not installed here: pip install {package}, "
        r"or choose another format\.$"
    )
    with pytest.raises(BadParameters, match=sentence):
        to_answer(CALL, Request(response_format=name))
    with pytest.raises(BadParameters, match=sentence):  # before anything is transcribed
        parse_parameters({"response_format": name})


def test_formatted_subtitles_keep_to_the_requests_limits() -> None:
    request = parse_parameters({"response_format": "vtt", "max_line_width": 10, "max_line_count": 1})
    cues = to_answer(CALL, request)["formatted"].split("\n\n")[1:]
    assert all(len(cue.splitlines()) == 2 for cue in cues)
    assert len(cues) > len(CALL.chunks)


def test_an_unknown_format_is_one_sentence() -> None:
    with pytest.raises(BadParameters, match=f"^response_format is 'pdf': give one of {', '.join(FORMATS)}.$"):
        to_answer(CALL, Request(response_format="pdf"))


def test_numpy_and_nan_do_not_reach_the_answer() -> None:
    word = Word(" hm", np.float32(0.1), np.float64(0.3), probability=float("nan"))  # type: ignore[arg-type]
    chunk = Chunk(" hm", np.float32(0.1), np.float32(0.3), words=(word,))  # type: ignore[arg-type]
    timings = {"asr": np.float64(0.5), "total": float("inf")}
    transcript = Transcript(
        " hm",
        (chunk,),
        np.float32(1.1),
        timings=timings,
        speculation=Speculation(np.int64(3), np.int64(2)),
    )
    answer = to_answer(transcript, Request(timestamps="word", response_format="verbose_json"))
    assert answer["words"] == [{"word": " hm", "start": 0.1, "end": 0.3}]
    assert answer["chunks"] == [{"text": " hm", "timestamp": [0.1, 0.3]}]
    assert answer["timings"] == {"asr": 0.5}
    assert answer["duration"] == 1.1
    assert_plain(answer)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def assert_plain(value: object) -> None:
    assert type(value) in (str, int, float, bool, type(None), list, dict)
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            assert_plain(item)
