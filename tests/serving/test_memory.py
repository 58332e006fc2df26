"""What a request brought is let go of when it ends, whatever its end: no collection of cycles is waited for."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import threading
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI

from tests.fakes import TRANSCRIPT, WARM_UP_BYTES, FakePipeline
from tests.serving.live import post_nothing
from turnscribe.errors import Cancelled
from turnscribe.inputs.decode import decode_audio
from turnscribe.listener import SILENT, Listener
from turnscribe.request import Request
from turnscribe.serving.app import create_app
from turnscribe.settings import ServerSettings
from turnscribe.transcript import Transcript

pytestmark = pytest.mark.slow

BODY = 2**21  # bytes of a recording
TIMES = 4  # that each request is sent
BLOCK = 2**16  # bytes that a server hands on at a time
LITTLE = BODY // 8
SOON_S = 0.2

Send: TypeAlias = Callable[["Sent"], Awaitable[int]]


class Decoding(FakePipeline):
    """Decodes what it gets, and keeps nothing of it; waits for `opened` where there is a gate."""

    def __init__(self) -> None:
        super().__init__(max_input_bytes=2**24)
        self.opened = threading.Event()
        self.opened.set()
        self.inside = self.ended = 0  # calls
        self.decodes = True

    def transcribe(self, audio: bytes, request: Request, listener: Listener = SILENT) -> Transcript:
        if len(audio) == WARM_UP_BYTES:
            return TRANSCRIPT
        self.inside += 1
        try:
            while not self.opened.wait(0.01):
                if listener.should_stop():
                    raise Cancelled("The request was cancelled.")
            if self.decodes:
                decode_audio(audio)
        finally:
            self.ended += 1
        return TRANSCRIPT


@dataclass(frozen=True)
class Sent:
    """One request, as a server hands it to an application, and what its client does then."""

    path: str
    kind: str  # of the content
    pieces: Callable[[], Iterator[bytes]]
    query: str = ""
    then: Literal["waits", "leaves", "breaks off"] = "waits"


def audio(*, query: str = "", path: str = "/") -> Sent:
    return Sent(path, "audio/wav", lambda: (b"\xff" * BLOCK for _ in range(BODY // BLOCK)), query)


def as_json(recording: bytes = b"A", parameters: dict[str, Any] | None = None, path: str = "/") -> Sent:
    def pieces() -> Iterator[bytes]:
        yield b'{"parameters": ' + json.dumps(parameters or {}).encode() + b', "inputs": "'
        for _ in range(BODY // BLOCK):
            yield recording * (BLOCK // len(recording))
        yield b'"}'

    return Sent(path, "application/json", pieces)


def form(path: str, name: str = "file", **fields: str) -> Sent:
    def pieces() -> Iterator[bytes]:
        for field, value in fields.items():
            yield f'--x\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        yield f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a.wav"\r\n\r\n'.encode()
        for _ in range(BODY // BLOCK):
            yield b"\xff" * BLOCK
        yield b"\r\n--x--\r\n"

    return Sent(path, "multipart/form-data; boundary=x", pieces)


def reference() -> dict[str, str]:
    """A clip of a known speaker, as long as a recording."""
    url = "data:audio/wav;base64," + base64.b64encode(b"\xff" * BODY).decode()
    return {"known_speaker_names[]": "ada", "known_speaker_references[]": url}


OPENAI, JOBS = "/v1/audio/transcriptions", "/v1/jobs"
REFUSED = {
    "wrong base64": (lambda: as_json(b"*"), 400),
    "half of it base64": (lambda: as_json(b"A" * (BLOCK - 1) + b"*"), 400),
    "no text": (lambda: as_json(b"\xff"), 400),
    "no audio in base64": (lambda: as_json(b"A"), 400),
    "no audio": (audio, 400),
    "no audio in a form": (lambda: form("/"), 400),
    "no audio for OpenAI's route": (lambda: form(OPENAI), 400),
    "no audio in a stream": (lambda: form(OPENAI, stream="true"), 400),
    "no audio beside a known speaker": (lambda: form(OPENAI, **reference()), 400),
    "a wrong parameter": (lambda: audio(query=urlencode({"task": "sing"})), 400),
    "a wrong parameter in JSON": (lambda: as_json(parameters={"task": "sing"}), 400),
    "a wrong parameter in a form": (lambda: form("/", task="sing"), 400),
    "a wrong parameter for OpenAI's route": (lambda: form(OPENAI, temperature="hot", **reference()), 400),
    "parameters that are none": (lambda: form("/", parameters="[1]"), 400),
    "a long text that is not inputs": (lambda: Sent("/", "application/json", _long_name), 400),
    "no file": (lambda: form(OPENAI, name="audio"), 400),
    "no form": (lambda: audio(path=OPENAI), 400),
    "a form that ends early": (lambda: _cut(form(OPENAI)), 400),
    "JSON that ends early": (lambda: _cut(as_json()), 400),
    "a job with a wrong parameter": (lambda: form(JOBS, task="sing"), 400),
    "a job with a recording in JSON": (lambda: as_json(path=JOBS), 400),
    "a job without a file": (lambda: form(JOBS, name="audio"), 400),
    "too large": (lambda: _repeated(audio(), 2**26 // BODY), 413),
    "a client that breaks off": (lambda: _broken_off(audio()), 499),
    "a client that breaks off in a form": (lambda: _broken_off(form(OPENAI)), 499),
    "a client that breaks off in JSON": (lambda: _broken_off(as_json()), 499),
}


def _long_name() -> Iterator[bytes]:
    yield b'{"inputs": "AAAA", "colour": "'
    for _ in range(BODY // BLOCK):
        yield b"x" * BLOCK
    yield b'"}'


def _cut(sent: Sent) -> Sent:
    """Without its last piece."""

    def all_but_the_last() -> Iterator[bytes]:
        rest = sent.pieces()
        piece = next(rest)
        for following in rest:
            yield piece
            piece = following

    return replace(sent, pieces=all_but_the_last)


def _repeated(sent: Sent, times: int) -> Sent:
    return replace(sent, pieces=lambda: (piece for _ in range(times) for piece in sent.pieces()))


def _broken_off(sent: Sent) -> Sent:
    return replace(_cut(sent), then="breaks off")


@contextmanager
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.enable()


@asynccontextmanager
async def running(pipeline: Decoding, folder: Path, **settings: Any) -> AsyncIterator[Send]:
    """What sends a request to a server's application, and gives back the status of the answer; 0 without one."""
    app = create_app(pipeline, ServerSettings(jobs_folder=folder / "jobs", **settings), post=post_nothing)
    async with app.router.lifespan_context(app):
        while not await _is_ready(app):
            await asyncio.sleep(0.01)
        yield lambda sent: answered(app, sent)


async def answered(app: FastAPI, sent: Sent) -> int:
    pieces, status, over = sent.pieces(), 0, asyncio.Event()

    async def receive() -> dict[str, Any]:
        piece = next(pieces, None)
        if piece is not None:
            return {"type": "http.request", "body": piece, "more_body": True}
        if sent.then != "breaks off" and not over.is_set():
            over.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.sleep(3600 if sent.then == "waits" else 0.05)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": sent.path,
        "raw_path": sent.path.encode(),
        "query_string": sent.query.encode(),
        "headers": [(b"content-type", sent.kind.encode()), (b"transfer-encoding", b"chunked")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    return status


async def _is_ready(app: FastAPI) -> bool:
    statuses = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/health", "headers": [], "query_string": b""}
    await app(scope, receive, send)
    return statuses[0] == 200


async def growth(send: Callable[[], Awaitable[int]], status: int) -> int:
    """Bytes that are held after some requests of a kind, and were not after one."""
    assert await send() == status
    await asyncio.sleep(SOON_S)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(TIMES):
        assert await send() == status
    await asyncio.sleep(SOON_S)
    return tracemalloc.get_traced_memory()[0] - before


def grown_by(pipeline: Decoding, folder: Path, sent: Sent, status: int, **settings: Any) -> int:
    async def grown() -> int:
        async with running(pipeline, folder, **settings) as send:

            async def send_and_wait() -> int:
                ended = pipeline.ended
                answered = await send(sent)
                while answered == 202 and pipeline.ended == ended:
                    await asyncio.sleep(0.01)
                return answered

            return await growth(send_and_wait, status)

    with no_collection():
        return asyncio.run(grown())


@pytest.mark.parametrize("what", REFUSED)
def test_a_refused_body_is_let_go_of(what: str, tmp_path: Path) -> None:
    make, status = REFUSED[what]
    assert grown_by(Decoding(), tmp_path, make(), status) < LITTLE


ROUTES = {
    "JSON": as_json,
    "audio": audio,
    "a form": lambda: form("/"),
    "OpenAI's route": lambda: form(OPENAI, **reference()),
    "a stream": lambda: form(OPENAI, stream="true", **reference()),
}


@pytest.mark.parametrize("what", [*ROUTES, "a job"])
def test_an_answered_body_is_let_go_of(what: str, tmp_path: Path) -> None:
    make = ROUTES.get(what, lambda: form(JOBS))
    pipeline = Decoding()
    pipeline.decodes = False
    assert grown_by(pipeline, tmp_path, make(), 202 if what == "a job" else 200) < LITTLE
    assert pipeline.inside == TIMES + 1


def test_the_body_of_a_job_that_fails_is_let_go_of(tmp_path: Path) -> None:
    pipeline = Decoding()
    assert grown_by(pipeline, tmp_path, form(JOBS), 202) < LITTLE
    assert pipeline.inside == TIMES + 1


@pytest.mark.parametrize("what", ROUTES)
def test_a_body_whose_time_is_over_is_let_go_of(what: str, tmp_path: Path) -> None:
    pipeline = Decoding()
    pipeline.opened.clear()
    assert grown_by(pipeline, tmp_path, ROUTES[what](), 504, request_timeout_s=0.2) < LITTLE


@pytest.mark.parametrize("what", ROUTES)
def test_a_body_whose_client_leaves_is_let_go_of(what: str, tmp_path: Path) -> None:
    pipeline = Decoding()
    pipeline.opened.clear()
    assert grown_by(pipeline, tmp_path, replace(ROUTES[what](), then="leaves"), 499) < LITTLE


@pytest.mark.parametrize("what", ROUTES)
def test_a_body_that_was_never_its_turn_is_let_go_of(what: str, tmp_path: Path) -> None:
    pipeline = Decoding()
    pipeline.opened.clear()

    async def grown() -> int:
        async with running(pipeline, tmp_path, max_concurrent_requests=1) as send:
            first = asyncio.create_task(send(audio()))
            while not pipeline.inside:
                await asyncio.sleep(0.01)
            grown = await growth(lambda: send(replace(ROUTES[what](), then="leaves")), 499)
            pipeline.opened.set()
            await first
            return grown

    with no_collection():
        assert asyncio.run(grown()) < LITTLE
    assert pipeline.inside == 1


@pytest.mark.parametrize("what", [*ROUTES, "a job"])
def test_a_body_for_which_there_is_no_room_is_let_go_of(what: str, tmp_path: Path) -> None:
    pipeline = Decoding()
    pipeline.opened.clear()
    sent = ROUTES[what]() if what in ROUTES else form(JOBS)

    async def grown() -> int:
        settings = {"max_concurrent_requests": 1, "max_queued_requests": 0, "max_queued_jobs": 1}
        async with running(pipeline, tmp_path, max_concurrent_jobs=1, **settings) as send:
            first = asyncio.create_task(send(audio()))
            while pipeline.inside < 1:
                await asyncio.sleep(0.01)
            for _ in range(2):  # one that runs and one that waits
                assert await send(form(JOBS)) == 202
                while pipeline.inside < 2:
                    await asyncio.sleep(0.01)
            grown = await growth(lambda: send(sent), 503)
            pipeline.opened.set()
            await first
            return grown

    with no_collection():
        assert asyncio.run(grown()) < LITTLE
