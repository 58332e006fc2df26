"""`/v1/render`: transcripts that a client sends."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes import TRANSCRIPT, FakePipeline
from tests.manual import block
from tests.serving.live import serving
from turnscribe.answer import to_answer
from turnscribe.formats import FORMATS, Format, RenderOptions
from turnscribe.request import Request
from turnscribe.serving.routes.render import LARGEST_BODY, rendered
from turnscribe.serving.sent_transcript import SentTranscript, to_transcript
from turnscribe.transcript import Transcript

pytestmark = pytest.mark.slow

ANSWER: dict[str, Any] = {
    "text": "hello team one",
    "chunks": [
        {"text": " hello team", "timestamp": [0.0, 0.95], "speaker": "Ann"},
        {"text": " one", "timestamp": [3.0, 3.45], "speaker": "Bo"},
    ],
    "speakers": [],
    "words": [
        {"word": " hello", "start": 0.0, "end": 0.45, "probability": 0.9, "speaker": "Ann"},
        {"word": " team", "start": 0.5, "end": 0.95, "speaker": "Ann"},
        {"word": " one", "start": 3.0, "end": 3.45, "speaker": "Bo"},
    ],
    "language": "en",
    "duration": 4.0,
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(FakePipeline(), tmp_path_factory.mktemp("jobs")) as found:
        yield found


def render(client: httpx.Client, transcript: Any, **order: Any) -> httpx.Response:
    return client.post("/v1/render", json={"transcript": transcript, **order})


def test_a_mended_transcript_is_rendered_as_a_file(client: httpx.Client) -> None:
    response = render(client, ANSWER, response_format="srt", filename="Gespräch/1")
    assert response.status_code == 200
    assert response.headers["content-type"] == FORMATS["srt"].media_type
    assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''Gespr%C3%A4ch%2F1.srt"
    assert response.text == (
        "1\n00:00:00,000 --> 00:00:00,950\nAnn: hello team\n\n2\n00:00:03,000 --> 00:00:03,450\nBo: one\n"
    )
    rttm = render(client, ANSWER, response_format="rttm", filename="talk").text
    assert rttm.splitlines()[0] == "SPEAKER talk 1 0.000 0.950 <NA> <NA> Ann <NA> <NA>"


@pytest.mark.parametrize("name", FORMATS)
def test_the_answer_of_a_recording_is_rendered_as_the_recording_is(client: httpx.Client, name: str) -> None:
    answer = to_answer(TRANSCRIPT, Request(timestamps="word"))
    response = render(client, answer, response_format=name)
    assert response.status_code == 200
    if name in ("text", "srt", "vtt", "tsv"):
        upload = {"file": ("a.wav", b"RIFF")}
        assert (
            response.text
            == client.post(
                "/v1/audio/transcriptions", files=upload, data={"response_format": name, "diarize": "true"}
            ).text
        )
    if name == "verbose_json":
        assert [word["word"] for word in response.json()["words"]] == [word.text.strip() for word in TRANSCRIPT.words]


def test_bytes_are_sent_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def render_bytes(transcript: Transcript, options: RenderOptions) -> Any:
        return b"PK\0" + options.recording.encode()

    made = Format("docx", "docx", "application/vnd.any", render_bytes)
    monkeypatch.setitem(FORMATS, "docx", made)
    response = rendered(json.dumps({"transcript": ANSWER, "response_format": "docx", "filename": "talk"}).encode())
    assert (response.body, response.media_type) == (b"PK\0talk", "application/vnd.any")


def test_words_that_do_not_spell_the_chunks_count() -> None:
    mended = ANSWER | {"words": [*ANSWER["words"][:2], ANSWER["words"][2] | {"word": " two"}]}
    assert to_transcript(SentTranscript.model_validate(mended)).text == "hello team two"
    alone = {"text": "only text", "duration": 3.0}
    (chunk,) = to_transcript(SentTranscript.model_validate(alone)).chunks
    assert (chunk.text, chunk.start, chunk.end) == ("only text", 0.0, 3.0)
    assert to_transcript(SentTranscript()).chunks == ()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"no json", "The body is no JSON object: send transcript, response_format and filename."),
        (b"[1]", "The body is no JSON object: send transcript, response_format and filename."),
        (b"{}", "transcript is missing: send it as the endpoint answers it"),
        (b'{"transcript": "secret"}', "transcript is wrong ("),
        (b'{"transcript": {"words": [{"word": "secret", "start": 1}]}}', "transcript.words[0].end is missing: send"),
        (
            b'{"transcript": {"words": [{"word": "a", "start": "secret", "end": 1}]}}',
            "transcript.words[0].start is wrong (should be a valid number",
        ),
        (
            b'{"transcript": {"chunks": [{"text": "a", "timestamp": [0, 1e999]}]}}',
            "transcript.chunks[0].timestamp[1]",
        ),
        (b'{"transcript": {"duration": -1}}', "transcript.duration is wrong (should be greater than or equal to 0)"),
        (b'{"transcript": {}, "response_format": 7}', "response_format is no text: give one of json, "),
        (b'{"transcript": {}, "response_format": "pdf"}', "response_format is 'pdf': give one of json, "),
        (b'{"transcript": {"text": "\xff"}}', "The body is no JSON object"),
    ],
)
def test_what_is_wrong_is_one_sentence(client: httpx.Client, body: bytes, sentence: str) -> None:
    response = client.post("/v1/render", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    message = response.json()["error"]["message"]
    assert message.startswith(sentence)
    assert "secret" not in message
    assert message.count(". ") == 0


def test_bodies_are_bounded_and_no_lists_hold_the_server(client: httpx.Client) -> None:
    large = b'{"transcript": {"text": "' + b"a" * LARGEST_BODY + b'"}}'
    response = client.post("/v1/render", content=large, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.json()["error"]["message"].startswith("The transcript is over 8 MiB")
    many = b'{"transcript": {"words": [' + b"0," * (LARGEST_BODY // 2 - 40) + b"0]}}"
    began = time.monotonic()
    response = client.post("/v1/render", content=many, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    wrong = b'{"transcript": {"words": [' + b"{}," * 190_000 + b"{}]}}"
    response = client.post("/v1/render", content=wrong, headers={"Content-Type": "application/json"})
    assert response.json()["error"]["message"].startswith("transcript is wrong in 570003 places: send it as")
    assert time.monotonic() - began < 20
    form = client.post("/v1/render", data={"transcript": "{}"})
    assert form.json()["error"]["message"].endswith("send application/json.")


def test_the_manuals_order_is_rendered(client: httpx.Client) -> None:
    names: dict[str, Any] = {"SERVER_URL": str(client.base_url).rstrip("/")}
    exec(block("python", "/v1/render"), names)
    assert names["srt"] == "1\n00:00:00,000 --> 00:00:00,900\nAnn: Hello, team.\n"


def test_no_text_is_cleaned_away(client: httpx.Client) -> None:
    hostile = {"text": "a\u0000b\u001bc", "duration": 1.0}
    assert render(client, hostile, response_format="text").text == "a b c\n"


def test_a_key_is_needed_and_the_schema_has_it(tmp_path: Path) -> None:
    with serving(FakePipeline(), tmp_path, settings={"api_keys": "sesame"}) as client:
        assert render(client, ANSWER).status_code == 401
        client.headers["Authorization"] = "Bearer sesame"
        assert render(client, ANSWER).json() == {"text": "hello team one"}
        schema = client.get("/openapi.json").json()["paths"]["/v1/render"]["post"]["requestBody"]
        formats = schema["content"]["application/json"]["schema"]["properties"]["response_format"]["enum"]
        assert formats == list(FORMATS)
