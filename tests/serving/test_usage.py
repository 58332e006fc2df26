"""How much each key is used, in `/metrics`: requests, jobs and live sessions, and no key itself."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import AUDIO, TRANSCRIPT, FakePipeline
from tests.serving.live import serving, until
from tests.serving.test_realtime import PCM16K, fake_pipeline, session
from turnscribe.errors import BadAudio
from turnscribe.listener import Listener
from turnscribe.request import Request
from turnscribe.waveform import SAMPLE_RATE

pytestmark = pytest.mark.slow

ANNA, BERT = "a-secret-of-anna", "a-secret-of-bert"
KEYS = {"api_keys": f"{ANNA},{BERT}"}


def label(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def by(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def usage(client: httpx.Client, key: str) -> dict[tuple[str, str], float]:
    """By the counter's short name and its other label."""
    text = client.get("/metrics", headers=by(BERT)).text
    assert ANNA not in text
    assert BERT not in text
    return {
        (sample.name.removeprefix("turnscribe_key_").removesuffix("_total"), other): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("turnscribe_key_")
        and sample.name.endswith("_total")
        and sample.labels["key"] == label(key)
        for other in [sample.labels.get("kind") or sample.labels["outcome"]]
    }


def test_requests_audio_and_errors_are_counted_for_the_key_that_was_sent(tmp_path: Path) -> None:
    def behave(audio: bytes, request: Request, listener: Listener) -> None:
        if request.decoding.language == "de":
            raise BadAudio("The recording is broken.")

    with serving(FakePipeline(behave), tmp_path, settings=KEYS) as client:
        assert usage(client, ANNA)["requests", "ok"] == 0, "it is there before the first request"
        for query in ("", "", "?language=de"):
            client.post(f"/{query}", content=AUDIO, headers=by(ANNA))
        with client.stream("GET", "/v1/models", headers={"X-API-Key": ANNA}) as answer:
            assert answer.status_code == 200
        assert client.post("/", content=AUDIO, headers=by("of-nobody")).status_code == 401
        used = usage(client, ANNA)
        assert used["requests", "ok"] == 3
        assert used["requests", "client_error"] == 1
        assert used["errors", "request"] == 1
        assert used["audio_seconds", "request"] == 2 * TRANSCRIPT.duration
        assert usage(client, BERT)["audio_seconds", "request"] == 0


def test_a_stream_and_a_job_count_for_whoever_sent_them(tmp_path: Path) -> None:
    def behave(audio: bytes, request: Request, listener: Listener) -> None:
        if request.decoding.language == "de":
            raise BadAudio("The recording is broken.")

    with serving(FakePipeline(behave), tmp_path, settings=KEYS) as client:
        form = {"files": {"file": ("a.wav", AUDIO)}, "headers": by(ANNA)}
        client.post("/v1/audio/transcriptions", data={"model": "any", "stream": "true"}, **form)
        for language in ("en", "de"):
            assert client.post("/v1/jobs", data={"language": language}, **form).status_code == 202
        until(lambda: usage(client, ANNA)["errors", "job"] == 1)
        until(lambda: usage(client, ANNA)["audio_seconds", "job"] == TRANSCRIPT.duration)
        assert usage(client, ANNA)["audio_seconds", "request"] == TRANSCRIPT.duration
        assert usage(client, BERT)["audio_seconds", "job"] == 0


def test_a_job_counts_for_its_key_after_a_restart_and_for_nobody_once_the_key_is_gone(tmp_path: Path) -> None:
    def stuck(audio: bytes, request: Request, listener: Listener) -> None:
        while True:
            listener.stop_if_asked()
            time.sleep(0.01)

    pipeline = FakePipeline(stuck)
    with serving(pipeline, tmp_path, settings=KEYS) as client:
        for key in (ANNA, BERT):
            client.post("/v1/jobs", files={"file": ("a.wav", AUDIO)}, headers=by(key))
        until(lambda: len(pipeline.calls) == 2)
    with serving(FakePipeline(), tmp_path, settings={"api_keys": BERT}) as client:
        until(lambda: usage(client, BERT)["audio_seconds", "job"] == TRANSCRIPT.duration)
        text = client.get("/metrics", headers=by(BERT)).text
        until(lambda: "turnscribe_audio_seconds_total 6.0" in client.get("/metrics", headers=by(BERT)).text)
        assert label(ANNA) not in text, "labels are those of configured keys"


def test_a_live_session_counts_with_its_audio_as_it_comes(tmp_path: Path) -> None:
    speech = np.zeros(2 * SAMPLE_RATE, np.float32)
    with (
        serving(fake_pipeline(), tmp_path, settings=KEYS) as client,
        session(client, PCM16K, additional_headers=by(ANNA)) as live,
    ):
        live.speak(speech)
        until(lambda: usage(client, ANNA)["audio_seconds", "live"] == pytest.approx(2))
        live.close()
        live.websocket.close()
        until(lambda: usage(client, ANNA)["requests", "ok"] == 1)
        until(lambda: usage(client, ANNA)["audio_seconds", "job"] == TRANSCRIPT.duration)
        assert usage(client, BERT)["audio_seconds", "live"] == 0


def test_without_keys_there_is_nobody_to_count_for(client: httpx.Client) -> None:
    assert client.post("/", content=AUDIO, headers=by(ANNA)).status_code == 200
    assert label(ANNA) not in client.get("/metrics").text
