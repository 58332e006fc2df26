"""The server with the demo models under load, and when requests, models, clients or the server itself go wrong."""

from __future__ import annotations

import base64
import http.client
import io
import json
import random
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import httpx
import numpy as np
import pytest
import torch
import uvicorn
from numpy.typing import NDArray

from handler import EndpointHandler
from tests.fakes import FakePipeline
from tests.serving.live import post_nothing, serving, until
from tests.test_handler import FakeAsr, handler_with
from tools.load_test.server import DEMO, ServerProcess, environment
from turnscribe.serving.app import create_app
from turnscribe.serving.server import Server
from turnscribe.settings import ServerSettings
from turnscribe.waveform import to_wav

pytestmark = [pytest.mark.models, pytest.mark.serving]

RATE = 16_000
IN_FLIGHT = 16
SOON_S = 5.0  # the models have to be free again; alone on two cores it takes about one
GROWTH = 1.10  # of memory
CUTS_S = ((0, 8), (5, 8), (8, 12), (14, 18), (20, 24.5), (27, 31), (33.3, 37), (42, 48))
PARAMETERS: tuple[dict[str, Any], ...] = (
    {},
    {"timestamps": "word", "batch_size": 1},
    {"assisted": True, "num_speakers": 2},
    {"diarize": False, "language": "en", "response_format": "srt"},
    {"chunk_length_s": 7, "max_speakers": 3},
)


@pytest.fixture(scope="module")
def client(demo_handler: EndpointHandler, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("server")
    with serving(demo_handler.pipeline, folder, settings={"max_concurrent_requests": 8}) as client:
        yield client


@pytest.fixture(scope="module")
def recording(conversation_waveform: NDArray[np.float32]) -> Callable[[float, float], bytes]:
    """`recording(start, end)`: that part of the conversation, in seconds, as a wav file."""
    return lambda start, end: to_wav(conversation_waveform[round(start * RATE) : round(end * RATE)])


@pytest.fixture(scope="module")
def long_recording(conversation_waveform: NDArray[np.float32]) -> bytes:
    """Over six minutes, which take two cores at least ten seconds."""
    return to_wav(np.tile(conversation_waveform, 8))


# Load ------------------------------------------------------------------------------------------------


def test_every_answer_under_load_is_the_one_alone(
    client: httpx.Client, demo_handler: EndpointHandler, recording: Callable[[float, float], bytes]
) -> None:
    clips = [recording(*cut) for cut in CUTS_S]
    asked = [(clip, number) for clip in clips for number in range(len(PARAMETERS))]
    alone = {
        (clip, number): demo_handler({"inputs": clip, "parameters": PARAMETERS[number]}) for clip, number in asked
    }
    assert len({answer["text"] for answer in alone.values()}) >= len(clips)
    assert sum(bool(answer["speakers"]) for answer in alone.values()) >= 30
    chosen = random.Random(5)
    requests = [(*one, way) for way in range(5) for one in asked]  # 200
    chosen.shuffle(requests)

    def ask(request: tuple[bytes, int, int]) -> httpx.Response:
        clip, number, way = request
        parameters = PARAMETERS[number]
        if way == 0:
            return client.post("/", json={"inputs": base64.b64encode(clip).decode(), "parameters": parameters})
        if way == 1:
            return client.post("/", files={"file": clip}, data={"parameters": json.dumps(parameters)})
        return client.post("/predict", content=clip, params=parameters, headers={"Content-Type": "audio/wav"})

    began = time.perf_counter()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        answers = list(pool.map(ask, requests))
    print(f"200 requests in {time.perf_counter() - began:.1f} s")
    assert [answer.status_code for answer in answers] == [200] * 200
    for (clip, number, _), answer in zip(requests, answers, strict=True):
        (given, likely), (wanted, likely_alone) = comparable(answer.json()), comparable(alone[clip, number])
        assert given == wanted, PARAMETERS[number]
        assert likely == pytest.approx(likely_alone, abs=0.01)


def comparable(answer: dict[str, Any]) -> tuple[dict[str, Any], list[float]]:
    """An answer without the times it took and how well the draft did; the probabilities apart."""
    kept = {name: value for name, value in answer.items() if name not in ("timings", "speculation")}
    words = [dict(word) for word in kept.get("words", ())]
    probabilities = [word.pop("probability") for word in words]
    return {**kept, "words": words}, probabilities


def test_memory_does_not_grow(tmp_path: Path, recording: Callable[[float, float], bytes]) -> None:
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    clips = [recording(start, start + seconds) for start, seconds in ((0, 2), (8, 3), (14, 4), (20, 8), (33, 3))]

    def ask(number: int) -> int:
        fields = {"response_format": "diarized_json"} if number % 8 == 0 else {"stream": str(number % 2 == 1)}
        return client.post(
            "/v1/audio/transcriptions", files={"file": clips[number % len(clips)]}, data=fields
        ).status_code

    with (
        ServerProcess(
            {**environment(DEMO), "OMP_NUM_THREADS": "1"}, folder=tmp_path / "jobs", log=tmp_path / "log"
        ) as process,
        httpx.Client(base_url=process.ready(), timeout=60) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        assert set(pool.map(ask, range(50))) == {200}
        warm = resident_mib(process.process.pid)
        seen = []
        for begin in range(0, 300, 50):
            assert set(pool.map(ask, range(begin, begin + 50))) == {200}
            seen.append(round(resident_mib(process.process.pid)))
    print(f"memory: {warm:.0f} MiB warm, then {seen}")
    assert max(seen) <= GROWTH * warm, (warm, seen)


def resident_mib(pid: int) -> float:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


# Malformed requests ----------------------------------------------------------------------------------

ROUTES = ("/", "/predict", "/v1/audio/transcriptions", "/api/v1/audio/translations", "/v1/jobs")
CONTENT_TYPES = (
    "application/json",
    "application/json; charset=utf-16",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=" + "x" * 300,
    'multipart/form-data; boundary="a b"; charset=nonsense',
    "application/x-www-form-urlencoded",
    "audio/wav",
    "audio/mpeg; codecs=???",
    "text/html",
    "/",
    ";",
    "\x80\xff",
)
NAMES = (
    *("task", "batch_size", "assisted", "chunk_length_s", "sampling_rate", "language", "num_speakers"),
    *("min_speakers", "max_speakers", "diarize", "timestamps", "return_timestamps", "response_format", "prompt"),
    *("temperature", "encoding", "channels", "stream", "model", "webhook", "url", "parameters", "inputs", "file"),
    *("timestamp_granularities[]", "known_speaker_names[]", "known_speaker_references[]", "include[]", "x\x00y", ""),
)
VALUES: tuple[Any, ...] = (
    *("", "0", "-1", "1", "3", "1e999", "nan", "Infinity", "true", "False", "word", "json", "srt", "pdf", "split"),
    *("en", "xx", "transcribe", "pcm_s16le", "null", "\x00", "\ud7ff\uffff", "☃" * 50, "9" * 400, "a" * 20_000),
    *("https://127.0.0.1/a", "https://example.com/a", "file:///etc/passwd", "data:audio/wav;base64,AAAA", "[]", "{}"),
    *("data:audio/wav;base64,????", '{"batch_size": -1}', '{"a": {"b": NaN}}', "[" * 5000, "https://[::1", "//"),
    *(0, -5, 10**40, 1.5, float("1e300"), True, False, None, [], {}, [1, "a"], {"a": [None]}, ["word"]),
)
JUNK = (
    b"",
    b"\x00",
    b"{",
    b"[]",
    b"null",
    b'{"inputs":',
    b"--x\r\n\r\n",
    b"\xff\xfe{\x00}\x00",
    b"[" * 100_000,
    b"RIFF",
)


@dataclass
class Fuzz:
    """Requests that are wrong in some way, now and then in none."""

    chosen: random.Random
    files: list[bytes]
    jobs: list[str] = field(default_factory=lambda: ["job_", "..", "%00", "☃"])

    def request(self) -> dict[str, Any]:
        pick = self.chosen.choice
        if self.chosen.random() < 0.08:
            id, method = pick(self.jobs), pick(("GET", "DELETE", "POST", "PUT", "HEAD"))
            url = pick((f"/v1/jobs/{id}", f"/v1/jobs/{id}/result", "/v1/audio/transcriptions", f"/v1/models/{id}"))
            return {"method": method, "url": url, "params": self.parameters()}
        made = pick((self.audio, self.json, self.form, self.form, self.junk))()
        headers = made.get("headers", {})
        if self.chosen.random() < 0.15:
            headers = {"Content-Type": pick(CONTENT_TYPES).encode("latin-1")}
        return {"method": "POST", "url": pick(ROUTES), **made, "headers": headers}

    def audio(self) -> dict[str, Any]:
        return {"content": self.file(), "params": self.parameters()}

    def json(self) -> dict[str, Any]:
        inputs = self.chosen.choice((base64.b64encode(self.file()).decode(), self.chosen.choice(VALUES)))
        body = {"inputs": inputs, "parameters": self.chosen.choice((self.parameters(), self.chosen.choice(VALUES)))}
        if self.chosen.random() < 0.1:
            body.popitem()
        content = json.dumps(body).encode()
        if self.chosen.random() < 0.1:
            content = self.damaged(content)
        return {"content": content, "headers": {"Content-Type": "application/json"}}

    def form(self) -> dict[str, Any]:
        data = {name: value for name, value in self.parameters().items() if isinstance(value, str)}
        name = self.chosen.choice(("file", "file", "file", "file", "audio"))
        built = httpx.Request("POST", "http://x", data=data, files={name: (self.chosen.choice("a☃\\"), self.file())})
        content = built.read()
        if self.chosen.random() < 0.25:
            content = self.damaged(content)
        return {"content": content, "headers": {"Content-Type": built.headers["Content-Type"]}}

    def junk(self) -> dict[str, Any]:
        return {
            "content": self.chosen.choice(JUNK),
            "headers": {"Content-Type": self.chosen.choice(CONTENT_TYPES[:7])},
        }

    def parameters(self) -> dict[str, Any]:
        names = self.chosen.sample(NAMES, self.chosen.choice((0, 0, 1, 2, 3)))
        return {name: self.chosen.choice(VALUES) for name in names}

    def file(self) -> bytes:
        file = self.chosen.choice(self.files)
        return file if self.chosen.random() < 0.15 else self.damaged(file)

    def damaged(self, data: bytes) -> bytes:
        """Cut, overwritten here and there, with a hole, or random from some point on."""
        way, at = self.chosen.randrange(4), self.chosen.randrange(len(data) + 1)
        if way == 0:
            return data[:at]
        if way == 1:
            changed = bytearray(data)
            for place in self.chosen.choices(range(min(len(data), 2000)), k=20):
                changed[place] = self.chosen.randrange(256)
            return bytes(changed)
        return data[:at] + (data[at + 500 :] if way == 2 else self.chosen.randbytes(300))


def test_malformed_requests_are_never_the_servers_fault(
    client: httpx.Client, recording: Callable[[float, float], bytes], conversation_waveform: NDArray[np.float32]
) -> None:
    second = conversation_waveform[RATE : 2 * RATE + RATE // 2]
    files = [to_wav(second), to_wav(np.stack([second, second], axis=1), sample_rate=8000)]
    files += [compressed(second, *kind) for kind in (("flac", "flac"), ("mp3", "mp3"), ("ogg", "libopus"))]
    fuzz = Fuzz(random.Random(20), files)
    good = recording(8, 12)
    text = client.post("/", content=good).json()["text"]
    statuses: list[int] = []
    for number in range(500):
        asked = fuzz.request()
        shown = {name: str(value)[:300] for name, value in asked.items()}
        answer = client.request(**asked)
        statuses.append(answer.status_code)
        assert answer.is_success or answer.is_client_error, (number, answer.status_code, answer.text[:300], shown)
        if answer.is_client_error and asked["method"] != "HEAD":
            assert answer.json()["error"], (number, shown)
        if answer.status_code == 202:
            fuzz.jobs.append(answer.json()["id"])
        if number % 50 == 49:
            assert client.post("/", content=good).json()["text"] == text
    until(lambda: gauges(client, "jobs_running", "jobs_waiting", "requests_running", "requests_waiting") == [0] * 4)
    print(f"answers by status: { {status: statuses.count(status) for status in sorted(set(statuses))} }")
    assert 100 < sum(status >= 400 for status in statuses) < 500


def compressed(samples: NDArray[np.float32], container: str, codec: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000 if codec == "libopus" else RATE)
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype("<i2")[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return buffer.getvalue()


def gauges(client: httpx.Client, *names: str) -> list[float]:
    lines = dict(
        line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line.startswith("turnscribe")
    )
    return [float(lines[f"turnscribe_{name}"]) for name in names]


# Models that fail ------------------------------------------------------------------------------------


def asked_everywhere(client: httpx.Client, audio: bytes) -> list[httpx.Response]:
    files = {"file": audio}
    return [
        client.post("/", content=audio),
        client.post("/v1/audio/transcriptions", files=files, data={"response_format": "diarized_json"}),
        client.post("/v1/audio/transcriptions", files=files, data={"stream": "true"}),
    ]


def test_a_window_that_never_fits_into_memory_is_a_clear_503(
    client: httpx.Client,
    demo_handler: EndpointHandler,
    recording: Callable[[float, float], bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clip = recording(0, 8)

    def encode(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(demo_handler.pipeline.asr.engine, "encode", encode)
        answers = [*asked_everywhere(client, clip), client.post("/?chunk_length_s=2", content=clip)]
    for answer in answers:
        assert answer.status_code == 503
        assert "too little memory" in answer.text
        assert "CUDA" not in answer.text
        assert int(answer.headers["Retry-After"]) > 0
    assert "out of memory at batch size 2, trying half" in caplog.text
    assert [answer.status_code for answer in asked_everywhere(client, clip)] == [200] * 3


@pytest.mark.parametrize("part", ["asr", "diarizer"])
def test_models_that_raise_fail_their_requests_alone(
    client: httpx.Client,
    demo_handler: EndpointHandler,
    recording: Callable[[float, float], bytes],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    clip, pipeline = recording(14, 18), demo_handler.pipeline

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("hf_secret in the weights")

    with monkeypatch.context() as patch:
        patch.setattr(*((pipeline.asr.engine, "encode") if part == "asr" else (pipeline, "_diarize")), fail)
        answers = asked_everywhere(client, clip)
    wrong = answers if part == "asr" else answers[:2]  # the plain stream tells nobody apart
    assert [answer.status_code for answer in wrong] == [500] * len(wrong)
    assert all("log has the details under" in answer.text for answer in wrong)
    assert all("hf_secret" not in answer.text for answer in answers)
    assert [answer.status_code for answer in asked_everywhere(client, clip)] == [200] * 3


def test_a_handler_whose_model_raises_serves_on(tmp_path: Path) -> None:
    asr = FakeAsr()
    with serving(handler_with(asr).pipeline, tmp_path) as client:
        asr.error = RuntimeError("hf_secret")
        tone = to_wav(np.sin(np.arange(RATE * 2) / 5).astype(np.float32) * 0.1)
        for answer in asked_everywhere(client, tone)[::2]:
            assert answer.status_code == 500
            assert "hf_secret" not in answer.text
        asr.error = None
        assert client.post("/", content=tone).status_code == 200


# Clients that leave ----------------------------------------------------------------------------------


@contextmanager
def half_a_request(client: httpx.Client, path: str, content: bytes, kind: str, *, sent: float) -> Iterator[Any]:
    """A connection over which that share of a request's body was sent."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port)) as raw:
        raw.sendall(head.encode() + content[: round(sent * len(content))])
        yield raw


def seconds_until_free(client: httpx.Client) -> float:
    began = time.monotonic()
    until(lambda: gauges(client, "requests_running", "requests_waiting") == [0, 0])
    return time.monotonic() - began


def test_clients_that_leave_in_the_middle_of_their_upload_cost_nothing(
    client: httpx.Client, long_recording: bytes
) -> None:
    form = httpx.Request("POST", "http://x", files={"file": long_recording}, data={"stream": "true"})
    content, kind = form.read(), form.headers["Content-Type"]
    for path, body, of_kind in (
        ("/", long_recording, "audio/wav"),
        ("/v1/audio/transcriptions", content, kind),
        ("/v1/jobs", content, kind),
    ):
        with half_a_request(client, path, body, of_kind, sent=0.7):
            time.sleep(0.1)
    assert seconds_until_free(client) < SOON_S
    assert gauges(client, "jobs_running", "jobs_waiting") == [0, 0]


def test_a_client_that_leaves_frees_the_models_soon(client: httpx.Client, long_recording: bytes) -> None:
    for path in ("/", "/?diarize=false"):
        with half_a_request(client, path, long_recording, "audio/wav", sent=1):
            until(lambda: gauges(client, "requests_running") == [1])
            time.sleep(0.7)  # in the middle of decoding
        took = seconds_until_free(client)
        print(f"free after {took:.2f} s")
        assert took < SOON_S


def test_leaving_in_the_middle_of_a_stream_frees_the_models_soon(client: httpx.Client, long_recording: bytes) -> None:
    for wanted in ("json", "diarized_json"):
        data = {"stream": "true", "response_format": wanted, "batch_size": "1"}
        with client.stream("POST", "/v1/audio/transcriptions", files={"file": long_recording}, data=data) as answer:
            first = next(line for line in answer.iter_lines() if line.startswith("data: "))
            assert json.loads(first[6:])["type"] == "transcript.text.delta"
            assert gauges(client, "requests_running") == [1]
        took = seconds_until_free(client)
        print(f"free after {took:.2f} s")
        assert took < SOON_S


# A server that ends ----------------------------------------------------------------------------------


class Sent:
    """A request over a connection of its own, in a thread; `sent` once its last byte was."""

    def __init__(self, url: str, path: str, audio: bytes) -> None:
        self.url, self.path, self.audio, self.sent = urlsplit(url), path, audio, threading.Event()
        self.status, self.text = 0, ""
        self.thread = threading.Thread(target=self._ask, daemon=True)
        self.thread.start()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self.url.hostname or "", self.url.port, timeout=120)
        connection.request("POST", self.path, self.audio, {"Content-Type": "audio/wav"})
        self.sent.set()
        try:
            answer = connection.getresponse()
            self.status, self.text = answer.status, json.loads(answer.read()).get("text", "")
        except OSError as error:
            self.text = repr(error)
        finally:
            connection.close()


def test_the_end_of_the_server_loses_nothing_that_was_accepted(
    tmp_path: Path,
    demo_handler: EndpointHandler,
    recording: Callable[[float, float], bytes],
    conversation_waveform: NDArray[np.float32],
) -> None:
    folder, log = tmp_path / "jobs", tmp_path / "log"
    clips, twice = [recording(*cut) for cut in CUTS_S[:4]], to_wav(np.tile(conversation_waveform, 2))
    with ServerProcess(environment(DEMO), folder=folder, log=log) as process:
        url = process.ready()
        jobs = [httpx.post(f"{url}/v1/jobs", files={"file": twice}, timeout=60) for _ in range(3)]
        assert [job.status_code for job in jobs] == [202] * 3
        requests = [Sent(url, "/?diarize=false", clips[number % 4]) for number in range(20)]
        assert all(request.sent.wait(60) for request in requests)
        waiting = sum(request.status == 0 for request in requests)
        process.signal_end()
        for request in requests:
            request.thread.join(120)
        process.end()
    texts = [demo_handler({"inputs": clip, "parameters": {"diarize": False}})["text"] for clip in clips]
    assert waiting > 0
    assert [(request.status, request.text) for request in requests] == [(200, text) for text in texts * 5]

    with sqlite3.connect(folder / "jobs.sqlite3") as database:
        left = dict(database.execute("SELECT status, count(*) FROM jobs GROUP BY status"))
    assert set(left) <= {"queued", "done"}
    assert left.get("queued", 0) > 0  # or the restart shows nothing
    assert (tmp_path / "log").read_text().count("Traceback") == 0
    text = demo_handler({"inputs": twice})["text"]
    with (
        ServerProcess(environment(DEMO), folder=folder, log=log) as process,
        httpx.Client(base_url=process.ready(), timeout=60) as client,
    ):
        for job in jobs:
            url = f"/v1/jobs/{job.json()['id']}"
            until(lambda url=url: client.get(url).json()["status"] in ("done", "failed"), 120)
            assert client.get(url).json()["result"]["text"] == text


def test_requests_that_the_server_had_not_read_at_the_signal_are_answered(tmp_path: Path) -> None:
    """They come while its loop is busy; then it finds them and the signal at once."""
    held, go_on = threading.Event(), threading.Event()

    class Busy(Server):
        async def on_tick(self, counter: int) -> bool:
            if counter > 3 and not held.is_set():
                held.set()
                go_on.wait(30)
            return await super().on_tick(counter)

    app = create_app(FakePipeline(), ServerSettings(jobs_folder=tmp_path / "jobs"), post=post_nothing)
    listener = socket.create_server(("127.0.0.1", 0))
    ending = Busy(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=ending.run, kwargs={"sockets": [listener]}, daemon=True)
    kept, new = ([http.client.HTTPConnection(*listener.getsockname(), timeout=30) for _ in range(4)] for _ in "ab")
    thread.start()
    for connection in kept:
        connection.request("GET", "/v1/jobs/none")
        assert connection.getresponse().read()
    assert held.wait(30)
    for connection in (*kept, *new):
        connection.request("POST", "/", b"audio", {"Content-Type": "audio/wav"})
    ending.should_exit = True
    go_on.set()
    assert [connection.getresponse().status for connection in (*kept, *new)] == [200] * 8
    for connection in (*kept, *new):
        connection.close()
    thread.join(30)
    assert not thread.is_alive()
