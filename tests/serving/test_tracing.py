"""Traces: a span for each request and job, those of the stages below it, and nothing of what was asked in them."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.conftest import REPOSITORY
from tests.fakes import AUDIO, TRANSCRIPT, FakePipeline
from tests.serving.live import serving, until
from tests.serving.otlp_receiver import Receiver, attributes, receiving
from tests.serving.test_realtime import address
from turnscribe.errors import SettingsError
from turnscribe.listener import SILENT, Listener
from turnscribe.request import Request
from turnscribe.serving.tracing.choice import chosen_tracing
from turnscribe.serving.tracing.spans import NO_TRACING
from turnscribe.stages import Stages
from turnscribe.transcript import Transcript

pytestmark = pytest.mark.slow

KEY, NAME, QUERY = "a-secret-key", "the-name-of-the-file.wav", "the-query"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
IN_TRACE, BELOW = bytes.fromhex(CALLER[3:35]), bytes.fromhex(CALLER[36:52])


class Staged(FakePipeline):
    """Has the stages of a real one; `diarize` false breaks in the middle of the last."""

    def transcribe(self, audio: bytes, request: Request, listener: Listener = SILENT) -> Transcript:
        stages = Stages(listener)
        for name in ("decode", "speech", "asr"):
            with stages.timed(name):
                time.sleep(0.01)
        with stages.timed("diarization"):
            if request.diarize is False:
                raise RuntimeError("a detail that nobody is told")
        return super().transcribe(audio, request, listener)


@contextmanager
def traced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pipeline: Any = None, **settings: Any
) -> Iterator[tuple[httpx.Client, Receiver]]:
    """A server, and what its spans go to; they are there once it has ended, or 50 ms after theirs."""
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        with serving(pipeline or Staged(), folder, settings=settings, tracing=chosen_tracing()) as client:
            yield client, receiver


def test_a_request_has_a_span_and_its_stages_have_theirs_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with traced(tmp_path, monkeypatch) as (client, receiver):
        form = {"files": {"file": (NAME, AUDIO)}, "data": {"model": "any", "diarize": "true"}}
        answer = client.post("/v1/audio/transcriptions", headers={"traceparent": CALLER}, **form)
        assert answer.status_code == 200
        (span,) = until(lambda: receiver.named("POST /v1/audio/transcriptions"))
        assert (span.trace_id, span.parent_span_id) == (IN_TRACE, BELOW)
        assert attributes(span) == {
            "http.request.method": "POST",
            "http.route": "/v1/audio/transcriptions",
            "http.response.status_code": 200,
        }
        assert span.kind == span.SPAN_KIND_SERVER
        stages = [one for one in receiver.spans if one.parent_span_id == span.span_id]
        assert sorted(one.name for one in stages) == ["asr", "decode", "diarization", "queue", "speech"]
        for stage in stages:
            assert stage.trace_id == IN_TRACE
            assert span.start_time_unix_nano <= stage.start_time_unix_nano
            assert stage.end_time_unix_nano <= span.end_time_unix_nano
        (asr,) = receiver.named("asr")
        assert asr.end_time_unix_nano - asr.start_time_unix_nano >= 9_000_000
    assert receiver.resources[0]["service.name"] == "turnscribe"


@pytest.mark.parametrize("sent", [None, "00-xyz", "garbage" * 100, CALLER.replace("b7ad6b7169203331", "0" * 16)])
def test_without_a_traceparent_that_can_be_read_a_request_begins_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: str | None
) -> None:
    with traced(tmp_path, monkeypatch) as (client, receiver):
        for _ in range(2):
            client.post("/", content=AUDIO, headers={"traceparent": sent} if sent else {})
        first, second = until(lambda: len(receiver.named("POST /")) == 2 and receiver.named("POST /"))
        assert first.parent_span_id == second.parent_span_id == b""
        assert first.trace_id != second.trace_id


def test_a_caller_whose_trace_is_not_kept_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(tmp_path, monkeypatch) as (client, receiver):
        client.post("/", content=AUDIO, headers={"traceparent": f"{CALLER[:-2]}00"})
        client.get("/v1/models")
        until(lambda: receiver.named("GET /v1/models"))
    assert not receiver.named("POST /")
    assert not receiver.named("asr")


def test_a_job_belongs_to_the_request_that_brought_it_also_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Staged(lambda audio, request, listener: _until_stopped(listener))
    with traced(tmp_path, monkeypatch, stopped) as (client, before):
        client.post("/v1/jobs", files={"file": (NAME, AUDIO)}, headers={"traceparent": CALLER})
        until(lambda: stopped.calls)
    with traced(tmp_path, monkeypatch) as (_, after):
        (job,) = until(lambda: after.named("job"))
    (accepted,) = before.named("POST /v1/jobs")
    assert (job.trace_id, job.parent_span_id) == (IN_TRACE, accepted.span_id)
    below = {span.name for span in after.spans if span.parent_span_id == job.span_id}
    assert below == {"decode", "speech", "asr", "diarization"}


def _until_stopped(listener: Listener) -> None:
    while True:
        listener.stop_if_asked()
        time.sleep(0.01)


def test_what_failed_is_marked_and_says_nothing_of_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(tmp_path, monkeypatch) as (client, receiver):
        assert client.post("/?diarize=false", content=AUDIO).status_code == 500
        client.post("/v1/jobs", files={"file": (NAME, AUDIO)}, data={"diarize": "false"})
        (job,) = until(lambda: receiver.named("job"))
        (request,) = until(lambda: receiver.named("POST /"))
        for span in (request, job):
            assert span.status.code == span.status.STATUS_CODE_ERROR
            assert span.status.message == ""
            assert not span.events


def test_nothing_of_a_request_is_in_its_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with traced(tmp_path, monkeypatch, api_keys=KEY, webhook_secret="another-secret") as (client, receiver):
        headers = {"Authorization": f"Bearer {KEY}", "tracestate": "theirs=state", "traceparent": CALLER}
        client.post(f"/predict?language=en&q={QUERY}", files={"file": (NAME, AUDIO)}, headers=headers)
        client.post("/v1/jobs", files={"file": (NAME, AUDIO)}, headers=headers)
        client.get(f"/v1/jobs/{QUERY}", headers=headers)
        client.request("STRANGE", "/nowhere", headers=headers)
        until(lambda: receiver.named("job") and receiver.named("GET /v1/jobs/{id}") and receiver.named("_OTHER"))
    sent = b"".join(receiver.bodies)
    for secret in (KEY, NAME, QUERY, "another-secret", "theirs", "STRANGE", "nowhere", TRANSCRIPT.text):
        assert secret.encode() not in sent, secret
    assert AUDIO[:16] not in sent
    assert "POST /predict" in {span.name for span in receiver.spans}


def test_a_live_session_is_one_span_and_machines_that_ask_every_few_seconds_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with traced(tmp_path, monkeypatch) as (client, receiver):
        with connect(address(client)):
            pass
        client.get("/metrics")
        (span,) = until(lambda: receiver.named("GET /v1/realtime"))
        assert attributes(span)["http.response.status_code"] == 101
    assert {span.name for span in receiver.spans} <= {"GET /v1/realtime", "job"}


# --- The receiver, and the packages ---------------------------------------------------------------------------


def test_a_receiver_that_is_down_slows_nothing_and_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    _with_receiver(f"http://127.0.0.1:{port}/?token=in-the-address", tmp_path, monkeypatch)
    assert "in-the-address" not in caplog.text
    assert caplog.text.count("traces cannot be sent") <= 1


def test_a_receiver_that_does_not_answer_slows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _with_receiver(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, monkeypatch)


def _with_receiver(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    pipeline = FakePipeline()
    with serving(pipeline, folder, settings={"shutdown_timeout_s": 20}, tracing=chosen_tracing()) as client:
        began = time.monotonic()
        for _ in range(20):
            assert client.post("/", content=AUDIO).status_code == 200
        assert time.monotonic() - began < 10, "a request waits for the receiver"
        ending = time.monotonic()
    assert time.monotonic() - ending < 10, "the end waits for the receiver"


def test_a_receiver_that_comes_back_has_what_comes_then(caplog: pytest.LogCaptureFixture) -> None:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    from turnscribe.serving.tracing.otel import _Exporter

    class Moody(SpanExporter):
        outcomes = iter([OSError("https://secret"), SpanExportResult.FAILURE, SpanExportResult.SUCCESS])

        def export(self, spans: Any) -> SpanExportResult:
            outcome = next(self.outcomes)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

    exporter = _Exporter(Moody())
    with caplog.at_level(logging.INFO, "turnscribe.server"):
        results = [exporter.export([]) for _ in range(3)]
    assert results == [SpanExportResult.FAILURE, SpanExportResult.FAILURE, SpanExportResult.SUCCESS]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "traces cannot be sent to the receiver that OTEL_EXPORTER_OTLP_ENDPOINT names",
        "traces are sent again",
    ]


@pytest.mark.parametrize("environ", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, {"OTEL_SERVICE_NAME": "x"}])
def test_without_a_receiver_nothing_is_traced(environ: dict[str, str]) -> None:
    assert chosen_tracing(environ) is NO_TRACING


def test_traces_can_be_switched_off_as_everywhere() -> None:
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}
    assert chosen_tracing(given) is NO_TRACING


def test_another_protocol_is_refused_in_one_sentence() -> None:
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL .* http/protobuf"):
        chosen_tracing(given)


IMPORTED = """
import json, sys
from turnscribe.serving import app, server
from turnscribe.serving.tracing.choice import chosen_tracing
chosen_tracing()
heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")
print(json.dumps(sorted(name for name in sys.modules if name.startswith(heavy))))
"""


def test_nothing_is_imported_where_nothing_is_traced() -> None:
    """fastapi imports OpenTelemetry's interface, without what makes and sends spans."""

    def imported(**variables: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", IMPORTED],
            cwd=REPOSITORY,
            env={**_environment(), **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return list(json.loads(done.stdout))

    assert imported() == []
    assert imported(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")


def test_the_server_does_not_start_where_the_package_is_missing(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['opentelemetry.sdk'] = None; from turnscribe.serving.server import main"
    variables = {"ASR_MODEL": "demo/whisper", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "DEVICES": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", f"{hidden}; sys.exit(main([]))"],
        cwd=REPOSITORY,
        env={**_environment(), **variables, "JOBS_FOLDER": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set" in line
    assert "pip install 'turnscribe[otel]'" in line


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
