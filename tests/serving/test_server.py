"""The server's routes, limits and queue, with a pipeline that runs no model."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import io
import json
import socket
import sys
import tempfile
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import mammoth
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import AUDIO, CHUNKS, TRANSCRIPT, FakePipeline
from tests.manual import block
from tests.serving.live import serving, until
from turnscribe.devices import Running
from turnscribe.errors import BadAudio, Cancelled, InferenceFailed, OutOfMemory, SettingsError
from turnscribe.listener import Listener
from turnscribe.request import Request
from turnscribe.serving.middleware.body_limit import BodyLimit
from turnscribe.serving.problems import TooSlow
from turnscribe.serving.workers import Work, Workers
from turnscribe.settings import ServerSettings, load_settings
from turnscribe.transcript import Token, Transcript

USAGE = {"type": "duration", "seconds": TRANSCRIPT.duration}

pytestmark = pytest.mark.slow


def transcribe(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/v1/audio/transcriptions", files={"file": ("a.wav", AUDIO)}, data={"model": "any", **fields})


def events(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]


class Gate:
    """Requests wait in the pipeline until it is opened, and say when they are there and when they were stopped."""

    def __init__(self, pipeline: FakePipeline) -> None:
        self.opened, self.inside, self.stopped = threading.Event(), 0, threading.Event()
        pipeline.behave = self

    def __call__(self, audio: bytes, request: Request, listener: Listener) -> None:
        self.inside += 1
        while not self.opened.wait(0.01):
            if listener.should_stop():
                self.stopped.set()
                raise Cancelled("The request was cancelled.")


# The endpoint's own contract ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/predict"])
def test_json_as_the_serving_containers_take_it(client: httpx.Client, pipeline: FakePipeline, path: str) -> None:
    body = {"inputs": base64.b64encode(AUDIO).decode(), "parameters": {"timestamps": "word", "language": "en"}}
    answer = client.post(path, json=body)
    assert answer.status_code == 200
    assert answer.json()["text"] == TRANSCRIPT.text
    assert len(answer.json()["words"]) == 4
    ((audio, request, _),) = pipeline.calls
    assert audio == AUDIO
    assert request.decoding.language == "en"


@pytest.mark.parametrize("kind", ["audio/flac", "video/mp4", "application/octet-stream", "", "anything/at-all"])
def test_the_audio_itself_with_parameters_in_the_query(
    client: httpx.Client, pipeline: FakePipeline, kind: str
) -> None:
    answer = client.post("/?batch_size=3&language=de", content=AUDIO, headers={"Content-Type": kind} if kind else {})
    assert answer.status_code == 200
    ((audio, request, _),) = pipeline.calls
    assert audio == AUDIO
    assert (request.decoding.batch_size, request.decoding.language) == (3, "de")


def test_a_form_with_a_file_and_parameters(client: httpx.Client, pipeline: FakePipeline) -> None:
    files = {"file": ("a.mp3", AUDIO, "audio/mpeg")}
    data = {"parameters": json.dumps({"batch_size": 5}), "language": "en"}
    assert client.post("/predict", files=files, data=data).status_code == 200
    ((audio, request, _),) = pipeline.calls
    assert audio == AUDIO
    assert (request.decoding.batch_size, request.decoding.language) == (5, "en")


def test_audio_that_looks_like_base64_is_not_taken_for_it_when_it_is_a_file(
    client: httpx.Client, pipeline: FakePipeline
) -> None:
    assert client.post("/", content=b"AAAA" * 10, headers={"Content-Type": "audio/x-raw"}).status_code == 200
    assert pipeline.calls[0].audio == b"AAAA" * 10


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, "not a JSON object"),
        ({"json": [1]}, "not a JSON object"),
        ({"json": {"parameters": {}}}, "inputs is missing"),
        ({"json": {"inputs": None}}, "inputs is missing"),
        ({"json": {"inputs": 5}}, "inputs must be"),
        ({"json": {"inputs": "*"}}, "not base64"),
        ({"json": {"inputs": "https://example.com/a.wav"}}, "not fetched here"),
        ({"json": {"inputs": "AAAA", "parameters": [1]}}, "parameters is not an object"),
        ({"json": {"inputs": "AAAA", "parameters": {"batch_size": 0}}}, "batch_size"),
        ({"content": b""}, "inputs is missing"),
        ({"content": AUDIO, "params": {"task": "sing"}}, "task is 'sing'"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, "form cannot be read"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=q"}}, "form"),
        ({"files": {"audio": ("a", AUDIO)}}, "has no file"),
        ({"files": {"file": ("a", AUDIO)}, "data": {"parameters": "[1]"}}, "parameters is not a JSON object"),
    ],
)
def test_a_wrong_request_gets_one_sentence(client: httpx.Client, request_: dict[str, Any], said: str) -> None:
    answer = client.post("/", **request_)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert client.post("/", content=AUDIO).status_code == 200


# OpenAI's routes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
def test_every_format(client: httpx.Client, prefix: str) -> None:
    def ask(wanted: str) -> httpx.Response:
        form: dict[str, Any] = {"model": "whisper-1", "response_format": wanted}
        if wanted == "verbose_json":
            form["timestamp_granularities[]"] = ["word", "segment"]
        return client.post(f"{prefix}/audio/transcriptions", files={"file": ("talk.wav", AUDIO)}, data=form)

    assert ask("json").json() == {"text": TRANSCRIPT.text, "usage": USAGE}
    verbose = ask("verbose_json").json()
    assert verbose["segments"][0]["avg_logprob"] == -0.2
    assert verbose["segments"][0]["compression_ratio"] == 1.1
    assert verbose["segments"][0]["no_speech_prob"] == 0.01
    assert [word["word"] for word in verbose["words"]] == ["hello", "there", "good", "morning"]
    assert [segment["speaker"] for segment in ask("diarized_json").json()["segments"]] == ["SPEAKER_00", "SPEAKER_01"]
    for wanted, kind, begins in (
        ("text", "text/plain", "SPEAKER_00: hello"),
        ("srt", "application/x-subrip", "1\n00:00:00,500"),
        ("vtt", "text/vtt", "WEBVTT"),
        ("tsv", "text/tab-separated-values", "start\tend"),
        ("rttm", "text/plain", "SPEAKER talk 1"),
        ("ass", "text/x-ssa", "[Script Info]"),
        ("lrc", "text/plain", "[ti:talk]"),
        ("md", "text/markdown", "# talk"),
        ("ctm", "text/plain", ";; speaker SPEAKER_00\ntalk 1 "),
        ("stm", "text/plain", "talk 1 SPEAKER_00 "),
        ("textgrid", "text/praat-textgrid", 'File type = "ooTextFile"'),
        ("eaf", "text/x-eaf+xml", "<?xml"),
    ):
        answer = ask(wanted)
        assert answer.headers["content-type"].startswith(kind)
        assert answer.text.startswith(begins)


def test_a_word_document_is_sent_as_a_file(client: httpx.Client) -> None:
    answer = transcribe(client, response_format="docx")
    assert answer.headers["content-type"].startswith("application/vnd.openxmlformats-officedocument")
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''a.docx"
    assert "good morning" in mammoth.extract_raw_text(io.BytesIO(answer.content)).value
    own = client.post("/?response_format=docx", content=AUDIO).json()["formatted"]
    assert "good morning" in mammoth.extract_raw_text(io.BytesIO(base64.b64decode(own))).value


def test_subtitles_keep_to_the_limits_of_the_form(client: httpx.Client) -> None:
    narrow = transcribe(client, response_format="vtt", max_line_width="10", max_line_count="1").text
    assert [cue.splitlines()[1] for cue in narrow.split("\n\n")[1:]] == [
        *("<v SPEAKER_00>hello", "<v SPEAKER_00>there", "<v SPEAKER_01>good", "<v SPEAKER_01>morning")
    ]


def test_a_format_whose_library_is_missing_is_refused_at_once(
    client: httpx.Client, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    answer = transcribe(client, response_format="docx")
    assert answer.status_code == 400
    assert "pip install python-docx" in answer.json()["error"]["message"]
    assert not pipeline.calls
    assert "docx" not in [each["name"] for each in client.get("/ui/formats.json").json()]


def test_segments_have_every_field_of_openais_types(client: httpx.Client, pipeline: FakePipeline) -> None:
    nobody = replace(
        TRANSCRIPT, chunks=tuple(replace(chunk, speaker=None) for chunk in CHUNKS), speakers=(), turns=()
    )
    pipeline.behave = lambda *_: nobody
    first = transcribe(client, response_format="verbose_json").json()["segments"][0]
    assert (first["seek"], first["tokens"]) == (50, [])
    assert transcribe(client, response_format="diarized_json").json()["segments"][0]["speaker"] == ""
    streamed = events(transcribe(client, response_format="diarized_json", stream="true"))
    assert [event["speaker"] for event in streamed if "speaker" in event] == ["", ""]


def test_people_are_told_apart_where_it_shows_or_was_asked_for(client: httpx.Client, pipeline: FakePipeline) -> None:
    for fields in ({}, {"response_format": "srt"}, {"response_format": "diarized_json"}, {"num_speakers": "2"}):
        assert transcribe(client, **fields).status_code == 200
    assert transcribe(client, diarize="true").status_code == 200
    assert [call.request.diarize for call in pipeline.calls] == [False, False, True, True, True]
    assert transcribe(client, response_format="diarized_json", channels="split").status_code == 200


def test_translations_translate(client: httpx.Client, pipeline: FakePipeline) -> None:
    answer = client.post("/v1/audio/translations", files={"file": ("a", AUDIO)}, data={"model": "m", "prompt": "Mr."})
    assert answer.json() == {"text": TRANSCRIPT.text, "usage": USAGE}
    assert pipeline.calls[0].request.decoding.task == "translate"
    assert pipeline.calls[0].request.decoding.prompt == "Mr."


def test_keywords_and_languages_reach_the_models_all_of_them(client: httpx.Client, pipeline: FakePipeline) -> None:
    """As OpenAI's SDK 3.57 sends lists; without brackets too."""
    lists = {"keywords[]": ["Ada  Lovelace", "", "Zoë"], "languages[]": ["en", "nb-NO"]}
    assert transcribe(client, prompt="Dear Sir,", **lists).status_code == 200
    assert transcribe(client, keywords="Ada", languages="de,fr").status_code == 200
    first, second = (call.request for call in pipeline.calls)
    assert (first.decoding.prompt, first.decoding.languages) == ("Dear Sir,", ("en", "no"))
    assert first.decoding.keywords == ("Ada Lovelace", "Zoë")
    assert (second.decoding.keywords, second.decoding.languages) == (("Ada",), ("de", "fr"))
    assert first.ignored == second.ignored == ()


def test_objects_come_as_the_sdk_sends_them(client: httpx.Client, pipeline: FakePipeline) -> None:
    transcribe(
        client, vad_filter="true", **{"vad_parameters[threshold]": "0.4", "vad_parameters[speech_pad_ms]": "90"}
    )
    decoding = pipeline.calls[0].request.decoding
    assert (decoding.vad_threshold, decoding.vad_speech_pad_ms) == (0.4, 90)


def test_the_endpoints_own_routes_take_lists_too(client: httpx.Client, pipeline: FakePipeline) -> None:
    data = {"languages[]": ["en", "de"]}
    assert client.post("/predict", files={"file": ("a.mp3", AUDIO)}, data=data).status_code == 200
    assert client.post("/?languages=en&languages=de", content=AUDIO).status_code == 200
    json_ = {"inputs": base64.b64encode(AUDIO).decode(), "parameters": {"languages": ["en", "de"]}}
    assert client.post("/", json=json_).status_code == 200
    assert [call.request.decoding.languages for call in pipeline.calls] == [("en", "de")] * 3


@pytest.mark.parametrize("wanted", ["text", "srt", "vtt", "tsv", "rttm"])
def test_text_says_in_a_header_what_there_was_to_say(
    client: httpx.Client, pipeline: FakePipeline, wanted: str
) -> None:
    assert "x-turnscribe-warning" not in transcribe(client, response_format=wanted).headers
    pipeline.behave = lambda *_: replace(TRANSCRIPT, warnings=("One.", "Not\r\nX-Other: é.", "x" * 2000))
    answer = transcribe(client, response_format=wanted, **{"include[]": "logprobs"})
    header = answer.headers["x-turnscribe-warning"]
    assert header.startswith(
        rf"include had no effect: {wanted} has no place for probabilities. One. Not  X-Other: \xe9. x"
    )
    assert "x-other" not in answer.headers
    assert len(header) == 1000
    assert "x-turnscribe-warning" not in transcribe(client).headers
    assert transcribe(client).json()["warnings"][0] == "One."


def test_a_recording_in_which_nobody_speaks_has_no_language(client: httpx.Client, pipeline: FakePipeline) -> None:
    """OpenAI's type for verbose_json has text there: what is null fails in clients that check their types."""
    silence = Transcript("", (), duration=3.0)
    pipeline.behave = lambda *_: silence
    verbose = transcribe(client, response_format="verbose_json").json()
    assert (verbose["language"], verbose["segments"]) == ("", [])
    own = client.post("/?response_format=verbose_json", content=AUDIO).json()
    assert own["language"] is None
    assert own["formatted"]["language"] is None
    assert transcribe(client, response_format="srt").text == ""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"keywords[]": ["x" * 101, "y"]}, "give at most 200 names or terms of at most 100 characters"),
        ({"keywords": ",".join(map(str, range(201)))}, "give at most 200 names or terms"),
        ({"languages[]": ["en", "klingon"]}, "languages is 'klingon'"),
        ({"language": "de", "languages[]": ["en", "fr"]}, "language is 'de' and languages are 'en', 'fr'"),
        ({"response_format": "pdf"}, "response_format is 'pdf'"),
        ({"temperature": "9"}, "temperature is '9'"),
        ({"language": "klingon"}, "language is 'klingon'"),
        ({"stream": "maybe"}, "stream is 'maybe'"),
        ({"chunking_strategy": "never"}, "chunking_strategy is 'never': give 'auto', or an object"),
        ({"chunking_strategy": "{"}, "chunking_strategy is no JSON"),
        ({"chunking_strategy[type]": "other"}, "chunking_strategy is not of the type server_vad"),
        ({"timestamp_granularities[]": "syllable"}, "timestamp_granularities"),
        ({"known_speaker_names[]": "Ann"}, "one reference for each name"),
        ({"known_speaker_names[]": "Ann", "known_speaker_references[]": "https://x"}, "data: URL"),
        ({"known_speaker_names[]": "Ann", "known_speaker_references[]": "data:audio/wav;base64,é"}, "data: URL"),
    ],
)
def test_errors_have_openais_shape(client: httpx.Client, fields: dict[str, str], said: str) -> None:
    answer = transcribe(client, **fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert said in error["message"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_request", None)


def test_unknown_fields_are_named_and_ignored(client: httpx.Client, pipeline: FakePipeline) -> None:
    transcribe(client, colour="red", **{"chunking_strategy[type]": "server_vad"})
    assert pipeline.calls[0].request.ignored == ("colour",)


@pytest.mark.parametrize("wanted", ["json", "verbose_json", "diarized_json"])
def test_probabilities_of_tokens_come_where_they_are_asked_for(
    client: httpx.Client, pipeline: FakePipeline, wanted: str
) -> None:
    said = tuple(replace(word, tokens=(Token(word.text, -0.25),)) for word in TRANSCRIPT.words)
    pipeline.behave = lambda *_: replace(TRANSCRIPT, chunks=(replace(TRANSCRIPT.chunks[0], words=said),))
    answer = transcribe(client, response_format=wanted, **{"include[]": "logprobs"}).json()
    assert pipeline.calls[-1].request.decoding.token_logprobs
    assert [one["token"] for one in answer["logprobs"]] == [word.text for word in TRANSCRIPT.words]
    assert answer["logprobs"][0] == {"token": " hello", "bytes": list(b" hello"), "logprob": -0.25}
    assert answer["usage"] == USAGE
    assert "warnings" not in answer
    plain = transcribe(client, response_format=wanted).json()
    assert not pipeline.calls[-1].request.decoding.token_logprobs
    assert "logprobs" not in plain


def test_what_is_asked_to_be_included_and_is_not_there_is_said(client: httpx.Client, pipeline: FakePipeline) -> None:
    asked = transcribe(client, **{"include[]": ["logprobs", "colours"]}).json()
    assert asked["warnings"] == [
        "include has logprobs, and nothing else: the rest had no effect.",
        "include had no effect: this backend reports no probabilities of tokens.",
    ]
    pipeline.behave = lambda *_: Transcript("", (), duration=3.0)
    assert "warnings" not in transcribe(client, **{"include[]": "logprobs"}).json(), "nobody speaks"


@pytest.mark.parametrize(
    ("fields", "threshold", "warning"),
    [
        ({"chunking_strategy": "auto"}, 0.5, None),
        ({"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "0.7"}, 0.7, None),
        ({"chunking_strategy": '{"type": "server_vad", "threshold": 0.3}'}, 0.3, None),
        (
            {"chunking_strategy[type]": "server_vad", "chunking_strategy[silence_duration_ms]": "200"},
            0.5,
            "chunking_strategy had no effect with silence_duration_ms: recordings are cut in their pauses.",
        ),
        (
            {"timestamp_granularities[]": "word"},
            0.5,
            "timestamp_granularities had no effect: json has its own.",
        ),
    ],
)
def test_what_is_not_honoured_is_said(
    client: httpx.Client, pipeline: FakePipeline, fields: dict[str, str], threshold: float, warning: str | None
) -> None:
    answer = transcribe(client, **fields).json()
    assert answer.get("warnings") == (None if warning is None else [warning])
    assert pipeline.calls[-1].request.decoding.vad_threshold == threshold


def test_known_speakers_reach_the_pipeline(client: httpx.Client, pipeline: FakePipeline) -> None:
    clips = [f"data:audio/wav;base64,{base64.b64encode(clip).decode()}" for clip in (b"ann", b"bob")]
    fields = {"known_speaker_names[]": ["Ann", "Bob"], "known_speaker_references[]": clips}
    assert transcribe(client, response_format="diarized_json", **fields).status_code == 200
    assert pipeline.calls[0].request.known_speakers == {"Ann": b"ann", "Bob": b"bob"}


def test_models(client: httpx.Client) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == "fake/whisper"
    assert model["turnscribe"] == {
        "diarization": True,
        "assistant": False,
        "multilingual": True,
        "languages": ["de", "en"],
    }
    assert client.get("/v1/models/openai/whisper-1").json() == model


# Streams ---------------------------------------------------------------------------------------------


def test_a_stream_says_words_as_they_come(client: httpx.Client, pipeline: FakePipeline) -> None:
    heard = threading.Event()

    def behave(audio: bytes, request: Request, listener: Listener) -> None:
        listener.on_chunks(CHUNKS[:1])
        assert heard.wait(10)
        listener.on_chunks(CHUNKS[1:])

    pipeline.behave = behave
    form = {"model": "m", "stream": "true"}
    with client.stream("POST", "/v1/audio/transcriptions", files={"file": ("a", AUDIO)}, data=form) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in answer.iter_lines() if line)
        assert json.loads(next(lines)[6:]) == {"type": "transcript.text.delta", "delta": "hello there"}
        heard.set()  # the second chunk is decoded after the first was read
        assert json.loads(next(lines)[6:]) == {"type": "transcript.text.delta", "delta": " good morning"}
        assert json.loads(next(lines)[6:]) == {"type": "transcript.text.done", "text": TRANSCRIPT.text}


def test_a_stream_of_segments_names_the_speakers(client: httpx.Client) -> None:
    said = events(transcribe(client, stream="true", response_format="diarized_json"))
    assert [event["type"] for event in said] == [
        "transcript.text.delta",
        "transcript.text.segment",
        "transcript.text.segment",
        "transcript.text.done",
    ]
    assert said[1]["speaker"] == "SPEAKER_00"
    assert said[1]["start"] == 0.5
    assert "".join(event["delta"] for event in said if "delta" in event) == said[-1]["text"]


def test_a_stream_that_fails_at_once_has_a_status(client: httpx.Client, pipeline: FakePipeline) -> None:
    def behave(*_: Any) -> None:
        raise BadAudio("The audio cannot be read: send wav.")

    pipeline.behave = behave
    answer = transcribe(client, stream="true")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "The audio cannot be read: send wav."


def test_a_stream_that_fails_later_ends_with_an_error(client: httpx.Client, pipeline: FakePipeline) -> None:
    def behave(audio: bytes, request: Request, listener: Listener) -> None:
        listener.on_chunks(CHUNKS[:1])
        raise InferenceFailed("The log has the details under 123.")

    pipeline.behave = behave
    answer = transcribe(client, stream="true")
    assert answer.status_code == 200
    assert events(answer)[-1]["error"]["message"] == "The log has the details under 123."


def test_leaving_a_stream_frees_the_models(client: httpx.Client, pipeline: FakePipeline) -> None:
    stopped = threading.Event()

    def behave(audio: bytes, request: Request, listener: Listener) -> None:
        listener.on_chunks(CHUNKS[:1])
        until(listener.should_stop, 10)
        stopped.set()
        raise Cancelled("The request was cancelled.")

    pipeline.behave = behave
    form = {"stream": "true"}
    with client.stream("POST", "/v1/audio/transcriptions", files={"file": ("a", AUDIO)}, data=form) as answer:
        next(answer.iter_lines())
    assert stopped.wait(5)


# Health, keys, metrics -------------------------------------------------------------------------------


def test_health_is_503_until_the_models_are_warm(pipeline: FakePipeline, tmp_path: Path) -> None:
    warm = threading.Event()
    transcribe_ = pipeline.transcribe

    def slow(audio: bytes, request: Request) -> Transcript:
        assert warm.wait(10)
        return transcribe_(audio, request)

    pipeline.transcribe = slow  # type: ignore[method-assign]
    with serving(pipeline, tmp_path, wait=False) as client:
        answer = until(lambda: client.get("/health"))
        assert answer.status_code == 503
        assert answer.json() == {"status": "loading"}
        refused = client.post("/", content=AUDIO)
        assert refused.status_code == 503
        assert "loading" in refused.json()["error"]
        warm.set()
        until(lambda: client.get("/health").status_code == 200)


def test_health_says_how_the_engine_runs(pipeline: FakePipeline, tmp_path: Path) -> None:
    with serving(pipeline, tmp_path) as client:
        engine = {"device": "cpu", "dtype": "float32", "graphs": False, "reason": None}
        assert client.get("/health").json() == {"status": "ok", "engine": engine}
        documented = json.loads(block("json", "No CUDA graphs"))
        pipeline.running = Running(**documented["engine"])
        assert client.get("/health").json() == documented
        pipeline.running = None  # a backend that does not tell
        assert client.get("/health").json() == {"status": "ok"}


def test_health_answers_while_requests_run(client: httpx.Client, pipeline: FakePipeline) -> None:
    gate = Gate(pipeline)
    threads = [threading.Thread(target=client.post, args=("/",), kwargs={"content": AUDIO}) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: gate.inside == 3)
    began = time.perf_counter()
    assert client.get("/health").status_code == 200
    assert time.perf_counter() - began < 1
    gate.opened.set()
    for thread in threads:
        thread.join()


def test_without_a_key_only_health_and_the_page_answer(pipeline: FakePipeline, tmp_path: Path) -> None:
    with serving(pipeline, tmp_path, settings={"api_keys": "first-key, second-key"}) as client:
        for path in ("/metrics", "/docs", "/openapi.json", "/v1/models", "/v1/jobs/x", "/nowhere"):
            assert client.get(path).status_code == 401
        refused = transcribe(client)
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"
        assert client.post("/", content=AUDIO, headers={"Authorization": "Bearer first"}).status_code == 401
        for key in ("first-key", "second-key"):
            assert client.post("/", content=AUDIO, headers={"Authorization": f"Bearer {key}"}).status_code == 200
        gateways = {"Authorization": "Bearer of-the-gateway", "X-API-Key": "second-key"}
        assert client.post("/", content=AUDIO, headers=gateways).status_code == 200
        assert client.get("/health").status_code == 200
        assert client.get("/ui").status_code == 200
    assert len(pipeline.calls) == 3


def test_metrics(client: httpx.Client, pipeline: FakePipeline) -> None:
    assert client.post("/", content=AUDIO).status_code == 200
    assert client.post("/", content=b"").status_code == 400
    pipeline.behave = lambda *_: (_ for _ in ()).throw(RuntimeError("secret detail"))
    failed = client.post("/", content=AUDIO)
    assert failed.status_code == 500
    assert "secret" not in failed.text
    samples = {
        (sample.name, *(value for _, value in sorted(sample.labels.items(), reverse=True))): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    assert samples["turnscribe_requests_total", "/", "ok"] == 1
    assert samples["turnscribe_requests_total", "/", "client_error"] == 1
    assert samples["turnscribe_requests_total", "/", "server_error"] == 1
    assert samples["turnscribe_audio_seconds_total",] == 3.0
    assert samples["turnscribe_stage_seconds_total", "asr"] == 0.2
    assert samples["turnscribe_real_time_factor_count",] == 1
    assert samples["turnscribe_requests_waiting",] == 0


def test_the_page_and_nothing_beside_it(client: httpx.Client) -> None:
    assert "Turnscribe" in client.get("/ui").text
    assert client.get("/ui/page.js").headers["content-type"].startswith("text/javascript")
    assert "default-src 'self'" in client.get("/ui").headers["content-security-policy"]
    for path in ("/", "/ui/"):
        assert str(client.get(path, follow_redirects=True).url).endswith("/ui")
    for path in (
        "/ui/../service.py",
        "/ui/%2e%2e/service.py",
        "/ui/..%2fservice.py",
        "/ui/nothing.js",
        "/ui/%00",
        f"/ui/{'x' * 300}",
    ):
        assert client.get(path).status_code == 404


def test_the_documents_are_there(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    assert "multipart/form-data" in described["paths"]["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]
    assert client.get("/docs").status_code == 200


# Limits and the queue --------------------------------------------------------------------------------


def test_what_is_too_large_by_its_own_word_is_refused_unread(client: httpx.Client, pipeline: FakePipeline) -> None:
    address = client.base_url.host, client.base_url.port
    with socket.create_connection(address) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        raw.settimeout(5)
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")
    assert not pipeline.calls


def test_what_turns_out_too_large_is_refused_before_its_end(client: httpx.Client, pipeline: FakePipeline) -> None:
    address = client.base_url.host, client.base_url.port
    with socket.create_connection(address) as raw:
        raw.settimeout(10)
        raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        block, sent, answer = b"10000\r\n" + b"\xff" * 0x10000 + b"\r\n", 0, b""
        raw.setblocking(False)
        while not answer and sent < 2**28:
            try:
                sent += raw.send(block[sent % len(block) :])
            except BlockingIOError:
                time.sleep(0.001)
            except ConnectionError:
                break
            with contextlib.suppress(BlockingIOError, ConnectionError):
                answer = raw.recv(100)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent < 128 * 2**20  # of which it throws some away, so that clients that send on get to read the answer
    assert not pipeline.calls


@pytest.mark.parametrize("keys", [None, "secret"])
def test_a_client_that_sends_on_reads_why_it_was_refused(
    pipeline: FakePipeline, tmp_path: Path, keys: str | None
) -> None:
    with serving(pipeline, tmp_path, settings={"api_keys": keys}) as client:
        for _ in range(5):
            answer = client.post("/", content=b"x" * 2**20 * 40)
            assert answer.status_code == (401 if keys else 413)
            assert answer.json()["error"]
    assert not pipeline.calls


def test_work_that_is_not_wanted_any_more_holds_no_memory() -> None:
    workers, opened = Workers(running=1, waiting=2), threading.Event()
    busy = workers.submit(Work(lambda _: opened.wait(30), str), seconds=60)
    until(lambda: workers.running == 1)
    held = []
    for _ in range(50):
        payload = type("Payload", (), {})()
        held.append(weakref.ref(payload))
        submission = workers.submit(Work(lambda _, payload=payload: payload, str), seconds=60)
        submission.stop()
        del payload, submission
    assert not any(reference() for reference in held)
    assert workers.waiting == 0
    opened.set()
    assert busy.future.result(10)
    assert workers.close(10)


def test_a_stream_that_waits_too_long_for_its_turn_ends(pipeline: FakePipeline, tmp_path: Path) -> None:
    gate = Gate(pipeline)
    with serving(pipeline, tmp_path, settings={"request_timeout_s": 0.5, "max_concurrent_requests": 1}) as client:
        pipeline.behave = lambda *_: gate.opened.wait(5) and None
        first = threading.Thread(target=client.post, args=("/",), kwargs={"content": AUDIO})
        first.start()
        until(lambda: "turnscribe_requests_running 1.0" in client.get("/metrics").text)
        began = time.perf_counter()
        assert transcribe(client, stream="true").status_code == 504
        assert time.perf_counter() - began < 3
        gate.opened.set()
        first.join()


def test_a_full_queue_refuses_before_the_upload(pipeline: FakePipeline, tmp_path: Path) -> None:
    gate = Gate(pipeline)
    with serving(pipeline, tmp_path, settings={"max_concurrent_requests": 1, "max_queued_requests": 0}) as client:
        first = threading.Thread(target=client.post, args=("/",), kwargs={"content": AUDIO})
        first.start()
        until(lambda: gate.inside == 1)
        with socket.create_connection((client.base_url.host, client.base_url.port)) as raw:
            raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
            raw.settimeout(5)
            assert raw.recv(100).startswith(b"HTTP/1.1 503 ")
        gate.opened.set()
        first.join()


@pytest.mark.parametrize(
    ("path", "others"), [("/", "/v1/jobs"), ("/v1/audio/transcriptions", "/v1/jobs"), ("/v1/jobs", "/")]
)
def test_uploads_are_bounded_as_requests_are(pipeline: FakePipeline, tmp_path: Path, path: str, others: str) -> None:
    limits = {"max_concurrent_requests": 1, "max_queued_requests": 2}
    with serving(pipeline, tmp_path, settings=limits) as client, contextlib.ExitStack() as stack:
        address = (client.base_url.host, client.base_url.port)
        for _ in range(3):
            upload = stack.enter_context(socket.create_connection(address, timeout=10))
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=q\r\n"
            upload.sendall(head.encode() + b"Content-Length: 9\r\n\r\n--")
        until(lambda: "turnscribe_uploads 3.0" in client.get("/metrics").text)
        refused = client.post(path, files={"file": AUDIO})
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert client.post(others, files={"file": AUDIO}).is_success  # they have room of their own
    with serving(pipeline, tmp_path, settings=limits) as client:
        assert client.post(path, files={"file": AUDIO}).is_success


def test_a_disk_that_is_full_is_507(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/srv/spool")

    with monkeypatch.context() as patched:
        patched.setattr(tempfile.SpooledTemporaryFile, "write", full)
        for sent in ({"content": AUDIO}, {"files": {"file": AUDIO}}):
            refused = client.post("/", **sent)  # type: ignore[arg-type]
            assert refused.status_code == 507
            assert refused.json() == {"error": "The server's disk is full: try again later, or tell its operator."}
    assert "OSError: No space left on device" in caplog.text
    assert client.post("/", content=AUDIO).status_code == 200


def test_health_answers_a_head(client: httpx.Client) -> None:
    answer = client.head("/health")
    assert (answer.status_code, answer.content) == (200, b"")


def test_an_answer_that_fails_is_counted_and_leaves_the_connection_open(
    client: httpx.Client, pipeline: FakePipeline, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.asr.capabilities = replace(pipeline.asr.capabilities, languages=None)  # sorted() fails on it
    answer = client.get("/v1/models")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert client.post("/", content=AUDIO).status_code == 200
    assert 'outcome="server_error",route="/v1/models"' in client.get("/metrics").text
    assert "TypeError" in caplog.text
    assert "not iterable" not in caplog.text


@pytest.mark.parametrize(
    ("content", "charset"),
    [
        (b"\\ud800", "raw_unicode_escape"),
        (b"x", "undefined"),
        (b"x", "punycode"),
        (b"\xff", "utf-8"),
    ],
)
def test_forms_in_strange_charsets_are_the_callers_fault(client: httpx.Client, content: bytes, charset: str) -> None:
    part = b'--q\r\nContent-Disposition: form-data; name="file"; filename="' + content + b'"\r\n\r\nx\r\n'
    field = b'--q\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + content + b"\r\n--q--\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary=q; charset={charset}"}
    for path in ("/", "/v1/audio/transcriptions", "/v1/jobs"):
        assert client.post(path, content=part + field, headers=headers).status_code in (200, 202, 400)


def test_a_client_that_falls_silent_is_given_up() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def silence() -> Any:
        await asyncio.sleep(60)

    limited = BodyLimit(application, largest=10, idle_seconds=0.05)
    with pytest.raises(TooSlow, match="Nothing came"):
        asyncio.run(limited({"type": "http", "headers": [], "path": "/"}, silence, None))  # type: ignore[arg-type]


def test_uploads_leave_no_file_behind(
    pipeline: FakePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    written: list[int] = []

    def behave(audio: bytes, *_: Any) -> None:
        written.append(len(list(folder.iterdir())))
        if audio.startswith(b"bad"):
            raise BadAudio("no")

    pipeline.behave = behave
    with serving(pipeline, tmp_path, settings={"spool_bytes": 100}) as client:
        for content in (b"good" * 1000, b"bad" * 1000):
            client.post("/", content=content)
            client.post("/", files={"file": ("a", content)})
            transcribe(client, stream="true")
        client.post("/", content=b"x" * 2**20 * 20)
        client.post("/", files={"audio": ("a", b"x" * 1000)})
        assert list(folder.iterdir()) == []
    assert written == [0] * 6


def test_the_server_ends_while_its_models_are_loading(pipeline: FakePipeline, tmp_path: Path) -> None:
    loaded = threading.Event()
    pipeline.transcribe = lambda *_: loaded.wait(30)  # type: ignore[method-assign]
    began = time.perf_counter()
    with serving(pipeline, tmp_path, wait=False) as client:
        until(lambda: client.get("/health").status_code == 503)
    assert time.perf_counter() - began < 10
    loaded.set()


def test_a_full_queue_says_so_at_once(pipeline: FakePipeline, tmp_path: Path) -> None:
    gate = Gate(pipeline)
    limits = {"max_concurrent_requests": 1, "max_queued_requests": 2}
    with serving(pipeline, tmp_path, settings=limits) as client:
        answers: list[httpx.Response] = []
        post = lambda: answers.append(client.post("/", content=AUDIO))  # noqa: E731
        threads = [threading.Thread(target=post) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: "turnscribe_requests_waiting 2.0" in client.get("/metrics").text)
        began = time.perf_counter()
        refused = client.post("/", content=AUDIO)
        assert time.perf_counter() - began < 1
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert "queue is full" in refused.json()["error"]
        gate.opened.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 3
        assert client.post("/", content=AUDIO).status_code == 200


def test_a_request_over_its_time_stops(pipeline: FakePipeline, tmp_path: Path) -> None:
    gate = Gate(pipeline)
    with serving(pipeline, tmp_path, settings={"request_timeout_s": 0.3}) as client:
        answer = transcribe(client)
        assert answer.status_code == 504
        assert "over 0.3 s" in answer.json()["error"]["message"]
        assert gate.stopped.wait(5)


def test_a_client_that_leaves_frees_the_models(client: httpx.Client, pipeline: FakePipeline) -> None:
    gate = Gate(pipeline)
    address = client.base_url.host, client.base_url.port
    with socket.create_connection(address) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n\xff\xff\xff\xff\xff")
        until(lambda: gate.inside == 1)
    assert gate.stopped.wait(5)
    until(lambda: 'outcome="gone"' in client.get("/metrics").text)


def test_a_client_that_leaves_in_the_middle_of_its_upload_costs_nothing(
    client: httpx.Client, pipeline: FakePipeline
) -> None:
    address = client.base_url.host, client.base_url.port
    for kind in (b"audio/wav", b"multipart/form-data; boundary=x"):
        with socket.create_connection(address) as raw:
            raw.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: " + kind + b"\r\nContent-Length: 500\r\n\r\nabc"
            )
            time.sleep(0.1)
    assert client.post("/", content=AUDIO).status_code == 200
    assert len(pipeline.calls) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadAudio("no"), 400),
        (OutOfMemory("too little memory"), 503),
        (InferenceFailed("incident 5"), 500),
        (RuntimeError("hf_secret"), 500),
    ],
)
def test_what_goes_wrong_in_the_models_has_a_status(
    client: httpx.Client, pipeline: FakePipeline, error: Exception, status: int
) -> None:
    def behave(*_: Any) -> None:
        raise error

    pipeline.behave = behave
    answers = [client.post("/", content=AUDIO), transcribe(client), transcribe(client, stream="true")]
    assert [answer.status_code for answer in answers] == [status] * 3
    assert all("hf_secret" not in answer.text for answer in answers)  # the pipeline's own log has it
    assert ("Retry-After" in answers[0].headers) == (status == 503)


def test_nothing_of_a_request_reaches_the_log(
    client: httpx.Client, pipeline: FakePipeline, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", "turnscribe"):
        client.post("/?prompt=topsecret", content=AUDIO, headers={"Authorization": "Bearer hf_topsecret"})
        client.get("/topsecret")
        until(lambda: "none 404" in caplog.text)
    assert "POST / 200" in caplog.text
    assert "topsecret" not in caplog.text


def test_settings_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", "a,b")
    assert load_settings(ServerSettings).keys == ("a", "b")
    assert "a,b" not in repr(load_settings(ServerSettings))
    monkeypatch.setenv("API_KEYS", "schlüssel")
    with pytest.raises(SettingsError, match="API_KEYS is wrong"):
        load_settings(ServerSettings)
    monkeypatch.delenv("API_KEYS")
    monkeypatch.setenv("MAX_CONCURRENT_REQUESTS", "0")
    with pytest.raises(SettingsError, match="MAX_CONCURRENT_REQUESTS is wrong"):
        load_settings(ServerSettings)


def test_a_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("first-key\nsecond-key, third-key\n")
    monkeypatch.setenv("API_KEYS_FILE", str(file))
    monkeypatch.setenv("API_KEYS", "")
    assert load_settings(ServerSettings).keys == ("first-key", "second-key", "third-key")
    monkeypatch.setenv("WEBHOOK_SECRET_FILE", str(file))
    secret = load_settings(ServerSettings).webhook_secret
    assert secret is not None
    assert secret.get_secret_value().startswith("first-key")
    monkeypatch.setenv("PORT_FILE", str(file))  # no secret
    assert load_settings(ServerSettings).port == 8000


@pytest.mark.parametrize(
    ("content", "beside", "said"),
    [
        (None, "", r"API_KEYS_FILE cannot be read \(No such file or directory\): name a text file"),
        (b"\xff\xfe", "", "API_KEYS_FILE cannot be read"),
        (b" \n", "", "API_KEYS_FILE names an empty file"),
        (b"secret", "another", "API_KEYS and API_KEYS_FILE are both set: leave one out"),
        ("schlüssel".encode(), "", "API_KEYS is wrong"),
    ],
)
def test_a_file_without_a_secret_opens_nothing_to_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, beside: str, said: str
) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    monkeypatch.setenv("API_KEYS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("API_KEYS", beside)
    with pytest.raises(SettingsError, match=said):
        load_settings(ServerSettings)


def test_two_servers_do_not_share_a_folder(pipeline: FakePipeline, tmp_path: Path, client: httpx.Client) -> None:
    with pytest.raises(SettingsError, match="another server's"), serving(FakePipeline(), tmp_path):
        pass
