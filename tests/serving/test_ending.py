"""An ordered stop ends within its time, whatever clients, webhooks and models do, and loses no job."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.fakes import AUDIO, FakePipeline
from tests.serving.live import post_nothing, until
from turnscribe.listener import Listener
from turnscribe.request import Request
from turnscribe.serving.app import create_app
from turnscribe.serving.jobs.store import Job, JobStore
from turnscribe.serving.server import Server, configured
from turnscribe.settings import ServerSettings

pytestmark = pytest.mark.serving

SHUTDOWN_S = 1.5
LATE_S = 1.0  # for a machine with other work


@contextmanager
def server_in(
    folder: Path, pipeline: FakePipeline, post: Callable[[str, bytes, Mapping[str, str]], int] = post_nothing
) -> Iterator[tuple[Server, str, Callable[[], float]]]:
    """A server, its URL, and what ends it and says after how many seconds."""
    settings = ServerSettings(jobs_folder=folder / "jobs", shutdown_timeout_s=SHUTDOWN_S)
    app = create_app(pipeline, settings, post=post)  # type: ignore[arg-type]
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(configured(app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    until(lambda: httpx.get(f"{url}/health").status_code == 200)

    def end() -> float:
        began = time.monotonic()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not end"
        return time.monotonic() - began

    try:
        yield server, url, end
    finally:
        end()


def stubborn(pipeline: FakePipeline, seconds: float, *, listens: bool = False) -> threading.Event:
    """The models work for so long, unless they listen to a request to stop; the event says that they have begun."""
    begun = threading.Event()

    def behave(audio: bytes, request: Request, listener: Listener) -> None:
        begun.set()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.02)
            if listens:
                listener.stop_if_asked()

    pipeline.behave = behave
    return begun


def jobs_in(folder: Path) -> list[Job]:
    store = JobStore(folder / "jobs", retention_s=1000)
    try:
        return store._rows("")
    finally:
        store.close()


def test_a_client_that_never_ends_does_not_keep_the_server(tmp_path: Path) -> None:
    with server_in(tmp_path, FakePipeline()) as (_, url, end):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
            over = threading.Event()

            def drip() -> None:
                with contextlib.suppress(OSError):
                    while not over.wait(0.1):
                        sock.sendall(b"x")

            dripping = threading.Thread(target=drip)
            dripping.start()
            time.sleep(0.3)
            assert end() < SHUTDOWN_S + LATE_S
            over.set()
            dripping.join()


def test_a_running_job_is_given_back_before_all_else_and_costs_no_attempt(tmp_path: Path) -> None:
    pipeline = FakePipeline()
    begun = stubborn(pipeline, seconds=SHUTDOWN_S + 2)
    with server_in(tmp_path, pipeline) as (server, url, end):
        accepted = httpx.post(f"{url}/v1/jobs", files={"file": ("a.wav", AUDIO)}).json()["id"]
        assert begun.wait(10)
        server.config.app.state.ending.begin()  # type: ignore[union-attr]
        assert httpx.get(f"{url}/v1/jobs/{accepted}").json()["status"] == "queued"
        assert end() < SHUTDOWN_S + LATE_S
        assert not server.config.app.state.ending.in_order  # type: ignore[union-attr]
    (job,) = jobs_in(tmp_path)
    assert (job.id, job.status, job.attempts) == (accepted, "queued", 0)


def test_three_ordered_stops_over_one_job_do_not_fail_it(tmp_path: Path) -> None:
    pipeline = FakePipeline()
    accepted = ""
    for _ in range(4):
        begun = stubborn(pipeline, seconds=20, listens=True)
        with server_in(tmp_path, pipeline) as (_, url, end):
            accepted = accepted or httpx.post(f"{url}/v1/jobs", files={"file": ("a.wav", AUDIO)}).json()["id"]
            assert begun.wait(10)
            end()
    pipeline.behave = lambda *_: None
    with server_in(tmp_path, pipeline) as (_, url, _end):
        until(lambda: httpx.get(f"{url}/v1/jobs/{accepted}").json()["status"] == "done")


def test_a_request_under_way_is_answered_and_new_ones_are_not_waited_for(tmp_path: Path) -> None:
    pipeline = FakePipeline()
    begun = stubborn(pipeline, seconds=0.5)
    with server_in(tmp_path, pipeline) as (_, url, end):
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(_ask(url)))
        asking.start()
        assert begun.wait(10)
        assert end() < SHUTDOWN_S + LATE_S
        asking.join()
    assert answers == [200]


def test_a_webhook_under_way_does_not_keep_the_server(tmp_path: Path) -> None:
    posting, over = threading.Event(), threading.Event()

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        posting.set()
        over.wait(30)
        return 200

    with server_in(tmp_path, FakePipeline(), post) as (_, url, end):
        fields = {"webhook": "https://example.com/hook"}
        httpx.post(f"{url}/v1/jobs", files={"file": ("a.wav", AUDIO)}, data=fields)
        assert posting.wait(10)
        assert end() < LATE_S
        over.set()
    (job,) = jobs_in(tmp_path)
    assert job.webhook_state == "pending"  # the next server tells it again


def test_models_that_do_not_let_go_are_left_and_who_waits_is_told(tmp_path: Path) -> None:
    pipeline = FakePipeline()
    begun = stubborn(pipeline, seconds=SHUTDOWN_S + 2)
    with server_in(tmp_path, pipeline) as (server, url, end):
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(_ask(url)))
        asking.start()
        assert begun.wait(10)
        assert end() < SHUTDOWN_S + LATE_S
        assert not server.config.app.state.ending.in_order  # type: ignore[union-attr]
        asking.join()
    assert answers == [503]


def _ask(url: str) -> int:
    try:
        return httpx.post(url, content=AUDIO, timeout=20).status_code
    except httpx.HTTPError:
        return 0
