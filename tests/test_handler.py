"""The request path end to end: every form of input, the answer's shape, errors, logs and threads."""

from __future__ import annotations

import base64
import json
import logging
import math
import os
import select
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from config import ModelSettings, parse_config
from handler import EndpointHandler
from turnscribe.asr.capabilities import Capabilities
from turnscribe.asr.protocol import Recognition
from turnscribe.errors import BadAudio, BadParameters, InferenceFailed, RequestError
from turnscribe.listener import SILENT, Listener
from turnscribe.request import DecodingOptions
from turnscribe.speech.speech_map import SpeechMap
from turnscribe.transcript import Chunk, Speculation, Word
from turnscribe.waveform import to_wav

SECRET = "hf_thisIsTheSecretToken"


class FakeAsr:
    """Says `hello` for every channel and keeps the options it was given."""

    capabilities = Capabilities(frozenset({"en"}), frozenset({"transcribe"}))

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.options: list[DecodingOptions] = []

    def transcribe(
        self, waveform: Any, options: DecodingOptions, listener: Listener = SILENT, speech: SpeechMap | None = None
    ) -> Recognition:
        self.options.append(options)
        if self.error:
            raise self.error
        listener.on_progress(1.0)
        start = len(self.options) / 10
        chunk = Chunk(" hello", start, start + 0.5, words=(Word(" hello", start, start + 0.5, 0.9),))
        listener.on_chunks([chunk])
        return Recognition((chunk,), "en", speculation=Speculation(4, 3))


def handler_with(asr: FakeAsr, **settings: Any) -> EndpointHandler:
    return EndpointHandler("", ModelSettings(asr_model="fake", hf_token=SECRET, **settings), asr=asr)


TONE = to_wav(np.sin(np.arange(16_000) / 5).astype(np.float32) * 0.1)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


# The request -----------------------------------------------------------------------------------------


def test_every_form_of_input_gives_the_same_answer() -> None:
    text = encoded(TONE)
    wrapped = "\n".join(text[index : index + 76] for index in range(0, len(text), 76))
    forms = (TONE, bytearray(TONE), text, text.encode(), wrapped, f"data:audio/wav;base64,{text}")
    answers = []
    for form in forms:
        answer = handler_with(FakeAsr())({"inputs": form})
        del answer["timings"]
        answers.append(answer)
    assert all(answer == answers[0] for answer in answers)


def test_headerless_pcm_is_taken_at_its_rate() -> None:
    answer = handler_with(FakeAsr())(
        {"inputs": bytes(16_000), "parameters": {"encoding": "pcm_s16le", "sampling_rate": 8000}}
    )
    assert answer["duration"] == 1.0


@pytest.mark.parametrize("data", [{}, {"inputs": None}, [], None, {"parameters": {}}])
def test_a_request_without_inputs_is_told_so(data: Any) -> None:
    with pytest.raises(BadAudio, match="inputs is missing"):
        handler_with(FakeAsr())(data)


@pytest.mark.parametrize("parameters", [None, {}])
def test_parameters_may_be_missing(parameters: Any) -> None:
    assert handler_with(FakeAsr())({"inputs": TONE, "parameters": parameters})["text"] == "hello"


def test_urls_are_refused_unless_the_operator_allows_them() -> None:
    with pytest.raises(BadAudio, match="URL"):
        handler_with(FakeAsr())({"inputs": "https://example.com/a.wav"})


def test_limits_are_the_operators() -> None:
    with pytest.raises(BadAudio):
        handler_with(FakeAsr(), max_audio_seconds=0.5)({"inputs": TONE})
    with pytest.raises(BadAudio):
        handler_with(FakeAsr(), max_input_bytes=100)({"inputs": TONE})


def test_parameters_reach_the_recogniser() -> None:
    asr = FakeAsr()
    handler_with(asr)(
        {
            "inputs": TONE,
            "parameters": {
                "task": "translate",
                "batch_size": "3",
                "language": "German",
                "chunk_length_s": "15",
                "prompt": "names",
                "timestamps": "word",
            },
        }
    )
    assert asr.options == [DecodingOptions("translate", "de", batch_size=3, chunk_length_s=15.0, prompt="names")]


# The answer ------------------------------------------------------------------------------------------


def test_the_answer_has_its_documented_shape() -> None:
    answer = handler_with(FakeAsr())({"inputs": TONE, "parameters": {"timestamps": "word"}})
    assert answer["text"] == "hello"
    assert answer["chunks"] == [{"text": " hello", "timestamp": [0.1, 0.6]}]
    assert answer["speakers"] == []
    assert answer["words"] == [{"word": " hello", "start": 0.1, "end": 0.6, "probability": 0.9}]
    assert (answer["language"], answer["duration"]) == ("en", 1.0)
    assert {"decode", "asr", "total"} <= answer["timings"].keys()
    assert answer["speculation"] == {"proposed": 4, "accepted": 3}
    assert not {"warnings", "formatted"} & answer.keys()


def test_words_are_left_out_unless_asked_for() -> None:
    assert "words" not in handler_with(FakeAsr())({"inputs": TONE})


def test_a_format_comes_beside_the_other_keys() -> None:
    answer = handler_with(FakeAsr())({"inputs": TONE, "parameters": {"response_format": "srt"}})
    assert answer["formatted"].startswith("1\n00:00:00,100 --> 00:00:00,600\nhello")
    assert answer["text"] == "hello"


def test_unknown_parameters_and_vain_speaker_counts_are_warned_of() -> None:
    answer = handler_with(FakeAsr())({"inputs": TONE, "parameters": {"beam": 3, "num_speakers": 2}})
    assert answer["warnings"] == [
        "Unknown parameters were ignored: beam.",
        "num_speakers had no effect: no diarizer is loaded.",
    ]


def test_diarize_without_a_diarizer_is_refused() -> None:
    with pytest.raises(BadParameters, match="DIARIZATION_MODEL"):
        handler_with(FakeAsr())({"inputs": TONE, "parameters": {"diarize": True}})


def test_split_channels_are_speakers_merged_by_time() -> None:
    left = np.sin(np.arange(16_000) / 5).astype(np.float32) * 0.1
    stereo = to_wav(np.stack([left, -left], axis=1))
    answer = handler_with(FakeAsr())({"inputs": stereo, "parameters": {"channels": "split", "timestamps": "word"}})
    assert [chunk["speaker"] for chunk in answer["chunks"]] == ["CHANNEL_00", "CHANNEL_01"]
    assert [word["speaker"] for word in answer["words"]] == ["CHANNEL_00", "CHANNEL_01"]
    assert [part["speaker"] for part in answer["speakers"]] == ["CHANNEL_00", "CHANNEL_01"]
    assert answer["text"] == "hello hello"
    assert answer["speculation"] == {"proposed": 8, "accepted": 6}


# Several recordings in one request -------------------------------------------------------------------


def test_instances_have_an_answer_each_in_their_order() -> None:
    asr = FakeAsr()
    short = to_wav(np.zeros(8_000, np.float32))
    wanted = {"language": "en", "timestamps": "word"}
    answer = handler_with(asr)(
        {
            "instances": [
                encoded(TONE),
                {"inputs": encoded(short), "parameters": {"timestamps": "segment", "task": "transcribe"}},
                {"b64": encoded(TONE)},
                {"inputs": {"b64": encoded(TONE)}, "parameters": None},
            ],
            "parameters": wanted,
        }
    )
    assert list(answer) == ["predictions"]
    assert [prediction["duration"] for prediction in answer["predictions"]] == [1.0, 0.5, 1.0, 1.0]
    assert ["words" in prediction for prediction in answer["predictions"]] == [True, False, True, True]
    assert [options.language for options in asr.options] == ["en"] * 4


def test_one_instance_is_answered_as_the_same_request_is_alone() -> None:
    request = {"inputs": encoded(TONE), "parameters": {"language": "en", "response_format": "srt"}}
    alone, among = handler_with(FakeAsr())(request), handler_with(FakeAsr())({"instances": [request]})
    for answer in (alone, *among["predictions"]):
        del answer["timings"]
    assert among == {"predictions": [alone]}


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        ([], "instances must be a list of one recording or more"),
        (encoded(TONE), "instances must be a list"),
        ({"inputs": encoded(TONE)}, "instances must be a list"),
        ([{}], "^inputs is missing"),
        ([encoded(TONE), {}], r"^instances\[1\]: inputs is missing"),
        ([encoded(TONE), None], r"^instances\[1\]: inputs is missing"),
        ([encoded(TONE), 5], r"^instances\[1\]: inputs must be bytes"),
        ([encoded(TONE), "!"], r"^instances\[1\]: inputs is text and not base64"),
        (
            [encoded(TONE), {"inputs": encoded(TONE), "parameters": {"task": "sing"}}],
            r"^instances\[1\]: task is 'sing'",
        ),
        ([{"inputs": encoded(TONE), "parameters": "en"}], "^parameters is a str"),
    ],
)
def test_a_wrong_instance_is_named_before_anything_is_transcribed(instances: Any, message: str) -> None:
    asr = FakeAsr()
    with pytest.raises(RequestError, match=message):
        handler_with(asr)({"instances": instances, "parameters": {"language": "en"}})
    assert not asr.options


def test_what_fails_on_the_way_names_the_instance_too() -> None:
    broken = encoded(TONE[:40])
    with pytest.raises(BadAudio, match=r"^instances\[1\]: "):
        handler_with(FakeAsr())({"instances": [encoded(TONE), broken]})
    with pytest.raises(InferenceFailed, match="log has the details"):
        handler_with(FakeAsr(RuntimeError("CUDA error")))({"instances": [encoded(TONE), encoded(TONE)]})


def test_wrong_parameters_of_all_instances_are_refused() -> None:
    with pytest.raises(BadParameters, match="parameters is a list"):
        handler_with(FakeAsr())({"instances": [{"inputs": encoded(TONE), "parameters": {}}], "parameters": ["en"]})


def test_instances_are_together_at_most_as_large_as_one_input() -> None:
    handler = handler_with(FakeAsr(), max_input_bytes=2 * len(TONE))
    assert len(handler({"instances": [encoded(TONE)] * 2})["predictions"]) == 2
    with pytest.raises(BadAudio, match="The input is over"):
        handler({"instances": [encoded(TONE)] * 3})


def test_inputs_go_before_instances() -> None:
    assert handler_with(FakeAsr())({"inputs": TONE, "instances": []})["text"] == "hello"


# Errors and logs -------------------------------------------------------------------------------------


def test_what_the_caller_cannot_mend_is_an_incident_without_detail(caplog: pytest.LogCaptureFixture) -> None:
    asr = FakeAsr(RuntimeError(f"CUDA error at /srv/models/x {SECRET}"))
    with pytest.raises(InferenceFailed) as caught, caplog.at_level(logging.DEBUG):
        handler_with(asr)({"inputs": TONE})
    assert not isinstance(caught.value, RequestError | ValueError)  # a ValueError is a 400 in hf-serve
    assert "/srv" not in str(caught.value)
    incident = str(caught.value).rsplit(" ", 1)[1].strip(".")
    assert incident in caplog.text
    assert "Traceback" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        {"inputs": "bm90IGF1ZGlv" * 20},
        {"inputs": "!!! marked payload !!!"},
        {"inputs": b"marked payload" * 100},
        {"inputs": TONE, "parameters": {"task": "marked payload" * 50}},
        {"inputs": 5},
    ],
)
def test_errors_are_value_errors_of_one_line_without_the_payload(data: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match=r"\.$") as caught, caplog.at_level(logging.DEBUG):
        handler_with(FakeAsr())(data)
    assert isinstance(caught.value, RequestError)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    for leak in ("marked payload !!!", "marked payload" * 4, "bm90IGF1ZGlv" * 4, SECRET):
        assert leak not in message + caplog.text


def test_the_token_is_in_no_representation() -> None:
    handler = handler_with(FakeAsr())
    assert SECRET not in repr(handler.settings) + str(vars(handler)) + handler.settings.model_dump_json()


def test_progress_never_falls_and_ends_at_one() -> None:
    seen: list[float] = []
    handler_with(FakeAsr()).pipeline.transcribe(TONE, parse_config({}), listener=Listener(on_progress=seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


# On the demo models ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answer(demo_handler, conversation: bytes) -> dict[str, Any]:
    return demo_handler({"inputs": encoded(conversation), "parameters": {"timestamps": "word"}})


@pytest.mark.models
def test_the_demo_conversation_is_told_apart(answer: dict[str, Any]) -> None:
    assert len({part["speaker"] for part in answer["speakers"]}) == 3
    assert all("speaker" in word for word in answer["words"])
    assert "the customer is not happy" in answer["text"]
    assert answer["language"] == "en"


@pytest.mark.models
def test_no_text_is_lost_between_chunks_words_and_speakers(answer: dict[str, Any]) -> None:
    text = answer["text"].split()
    assert " ".join(chunk["text"].strip() for chunk in answer["chunks"]).split() == text
    assert [word["word"].strip() for word in answer["words"]] == text
    assert " ".join(part["text"] for part in answer["speakers"]).split() == text


@pytest.mark.models
def test_the_answer_is_plain_json(answer: dict[str, Any]) -> None:
    def plain(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            assert all(type(key) is str for key in value)
            for item in value.values():
                yield from plain(item)
        elif isinstance(value, list):
            for item in value:
                yield from plain(item)
        else:
            yield value

    assert {type(value) for value in plain(answer)} <= {str, int, float, bool, type(None)}
    assert all(math.isfinite(value) for value in plain(answer) if isinstance(value, float))
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


@pytest.mark.models
def test_times_are_ordered_and_inside_the_recording(answer: dict[str, Any]) -> None:
    starts = [word["start"] for word in answer["words"]]
    assert starts == sorted(starts)
    assert all(0 <= word["start"] <= word["end"] <= answer["duration"] for word in answer["words"])


@pytest.mark.models
def test_the_sampling_rate_never_moves_a_timestamp(demo_handler, speech: bytes) -> None:
    def ends(rate: int) -> float:
        answer = demo_handler({"inputs": speech, "parameters": {"sampling_rate": rate, "diarize": False}})
        return answer["chunks"][-1]["timestamp"][1]

    assert ends(48_000) == pytest.approx(ends(16_000), abs=0.1)


@pytest.mark.models
@pytest.mark.parametrize("silent", [0.05, 5.0])
def test_silence_is_an_empty_transcript(demo_handler, silent: float) -> None:
    answer = demo_handler({"inputs": to_wav(np.zeros(round(silent * 16_000), np.float32))})
    assert (answer["text"], answer["chunks"], answer["speakers"]) == ("", [], [])


@pytest.mark.models
def test_assisted_works_with_the_defaults(demo_handler, speech: bytes) -> None:
    assisted = demo_handler({"inputs": speech, "parameters": {"assisted": True}})
    plain = demo_handler({"inputs": speech})
    assert assisted["text"] == plain["text"]
    assert assisted["speculation"]["accepted"] > 0


@pytest.mark.models
def test_threads_give_the_answers_of_calls_one_by_one(demo_handler, conversation_waveform) -> None:
    pieces = [to_wav(conversation_waveform[start * 16_000 : (start + 8) * 16_000]) for start in (0, 8, 16, 24)]

    def ask(piece: bytes) -> tuple[dict[str, Any], list[float]]:
        answer = demo_handler({"inputs": piece, "parameters": {"timestamps": "word"}})
        del answer["timings"]
        return answer, [word.pop("probability") for word in answer["words"]]

    one_by_one = [ask(piece) for piece in pieces]
    with ThreadPoolExecutor(4) as pool:
        for (answer, probabilities), (alone, same) in zip(pool.map(ask, pieces), one_by_one, strict=True):
            assert answer == alone
            assert probabilities == pytest.approx(same, abs=1e-5)  # how many rows share a pass moves the last bits


def test_in_a_process_that_was_forked_after_loading_it_fails_at_once() -> None:
    handler = handler_with(FakeAsr())
    assert handler({"inputs": TONE})["text"]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            handler({"inputs": TONE})
            said = "an answer"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        assert select.select([pipe], [], [], 20)[0], "it hangs"
        said = pipe.read()
    os.waitpid(child, 0)
    assert said.startswith("InferenceFailed: The models were loaded before this process was forked")
