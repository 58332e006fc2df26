"""Jobs: from the upload to the result, over restarts, with webhooks; with a pipeline that runs no model."""

from __future__ import annotations

import errno
import hashlib
import hmac
import io
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import mammoth
import pytest

from tests.fakes import AUDIO, TRANSCRIPT, FakePipeline
from tests.serving.live import serving, until
from turnscribe.errors import BadAudio, Cancelled, SettingsError
from turnscribe.listener import Estimate, Listener
from turnscribe.request import Request
from turnscribe.serving.caller import Caller
from turnscribe.serving.jobs.runner import JobRunner
from turnscribe.serving.jobs.store import MOST_ATTEMPTS, WEBHOOK_DELAYS, Job, JobStore, TooManyJobs
from turnscribe.serving.jobs.webhooks import SIGNATURE, Webhooks, webhook_headers
from turnscribe.transcript import Turn


def upload(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/v1/jobs", files={"file": ("my talk.mp3", AUDIO)}, data=fields)


def ended(client: httpx.Client, id: str) -> dict[str, Any]:
    def look() -> Any:
        job = client.get(f"/v1/jobs/{id}").json()
        return job if job["status"] not in ("queued", "running") else None

    return until(look)


def waiting(pipeline: FakePipeline) -> threading.Event:
    """The pipeline works until the event is set, or it is told to stop."""
    opened = threading.Event()

    def behave(audio: bytes, request: Request, listener: Listener) -> None:
        listener.on_stage("asr")
        listener.on_estimate(Estimate(0.25, 12.34))
        listener.on_progress(0.2)  # of an earlier try
        while not opened.wait(0.01):
            listener.stop_if_asked()

    pipeline.behave = behave
    return opened


def test_a_job_from_upload_to_result(client: httpx.Client, pipeline: FakePipeline) -> None:
    opened = waiting(pipeline)
    accepted = upload(client, timestamps="word", language="en")
    assert accepted.status_code == 202
    id = accepted.json()["id"]
    assert accepted.headers["Location"] == f"/v1/jobs/{id}"
    running = until(lambda: (job := client.get(f"/v1/jobs/{id}").json())["progress"] and job)
    assert (running["status"], running["progress"], running["stage"]) == ("running", 0.25, "asr")
    assert running["remaining_s"] == 12.3
    assert client.get(f"/v1/jobs/{id}/result").status_code == 409
    opened.set()
    job = ended(client, id)
    assert (job["status"], job["progress"], job["error"]) == ("done", 1.0, None)
    assert "stage" not in job
    assert job["result"]["text"] == TRANSCRIPT.text
    assert len(job["result"]["words"]) == 4
    assert job["expires_at"] - job["ended_at"] == pytest.approx(24 * 3600)
    assert pipeline.calls[0].audio == AUDIO
    assert pipeline.calls[0].request.decoding.language == "en"


def test_a_result_in_a_format_says_in_a_header_what_there_was_to_say(
    client: httpx.Client, pipeline: FakePipeline
) -> None:
    pipeline.behave = lambda *_: replace(TRANSCRIPT, warnings=("One.",))
    id = upload(client).json()["id"]
    ended(client, id)
    subtitles = client.get(f"/v1/jobs/{id}/result?response_format=srt")
    assert subtitles.headers["x-turnscribe-warning"] == "One."


def test_a_result_in_every_format_is_a_file(client: httpx.Client) -> None:
    id = upload(client).json()["id"]
    ended(client, id)
    subtitles = client.get(f"/v1/jobs/{id}/result?response_format=srt")
    assert subtitles.text.startswith("1\n00:00:00,500 --> ")
    assert subtitles.headers["content-disposition"] == "attachment; filename*=UTF-8''my%20talk.srt"
    assert client.get(f"/v1/jobs/{id}/result?response_format=vtt").text.startswith("WEBVTT")
    assert client.get(f"/v1/jobs/{id}/result?response_format=verbose_json").json()["duration"] == 3.0
    document = client.get(f"/v1/jobs/{id}/result?response_format=docx")
    assert document.headers["content-disposition"] == "attachment; filename*=UTF-8''my%20talk.docx"
    assert "good morning" in mammoth.extract_raw_text(io.BytesIO(document.content)).value
    assert client.get(f"/v1/jobs/{id}/result").json()["text"] == TRANSCRIPT.text
    assert "words" not in client.get(f"/v1/jobs/{id}/result").json()
    assert client.get(f"/v1/jobs/{id}/result?response_format=pdf").status_code == 400


def test_subtitles_keep_to_the_limits_of_the_job_and_of_who_asks_anew(client: httpx.Client) -> None:
    def lines(id: str, **query: str) -> list[str]:
        answer = client.get(f"/v1/jobs/{id}/result", params={"response_format": "vtt", **query})
        return [cue.split("\n", 1)[1].strip() for cue in answer.text.split("\n\n")[1:]]

    id = upload(client, max_line_width="10", max_line_count="1", response_format="vtt").json()["id"]
    narrow = ["<v SPEAKER_00>hello", "<v SPEAKER_00>there", "<v SPEAKER_01>good", "<v SPEAKER_01>morning"]
    assert ended(client, id)["result"]["formatted"].count("-->") == 4
    assert lines(id) == narrow
    assert lines(id, max_line_width="42") == ["<v SPEAKER_00>hello there", "<v SPEAKER_01>good morning"]
    assert client.get(f"/v1/jobs/{id}/result?response_format=vtt&max_line_width=no").status_code == 400


def test_a_job_that_fails_says_why(client: httpx.Client, pipeline: FakePipeline) -> None:
    def behave(*_: Any) -> None:
        raise BadAudio("The audio cannot be read: send wav.")

    pipeline.behave = behave
    job = ended(client, upload(client).json()["id"])
    assert job["status"] == "failed"
    assert job["error"]["message"] == "The audio cannot be read: send wav."
    assert job["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"files": {"file": ("a", AUDIO)}, "data": {"batch_size": "0"}}, 400, "batch_size"),
        ({"files": {"file": ("a", AUDIO)}, "data": {"webhook": "http://example.com"}}, 400, "webhook cannot be used"),
        ({"files": {"file": ("a", AUDIO)}, "data": {"url": "https://example.com/a"}}, 400, "one recording"),
        ({"json": {"parameters": {"url": "https://example.com/a.wav"}}}, 400, "not fetched here"),
        ({"json": {"inputs": "AAAA"}}, 400, "one recording"),
        ({"content": AUDIO}, 400, "multipart/form-data"),
    ],
)
def test_what_cannot_be_a_job_is_refused_at_once(
    client: httpx.Client, request_: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post("/v1/jobs", **request_)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


def test_a_url_is_fetched_where_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = FakePipeline(allow_url_inputs=True)
    monkeypatch.setattr("turnscribe.inputs.read.fetch", lambda url, max_bytes, ports: f"bytes of {url}".encode())
    with serving(pipeline, tmp_path) as client:
        body = {"parameters": {"url": "https://example.com/a.wav", "language": "de"}}
        assert ended(client, client.post("/v1/jobs", json=body).json()["id"])["status"] == "done"
    assert pipeline.calls[0].audio == b"bytes of https://example.com/a.wav"
    assert pipeline.calls[0].request.decoding.language == "de"


def test_nobody_knows_a_job_that_is_none(client: httpx.Client) -> None:
    for answer in (
        client.get("/v1/jobs/job_x"),
        client.delete("/v1/jobs/job_x"),
        client.get("/v1/jobs/job_x/result"),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"


def test_deleting_a_running_job_stops_it(client: httpx.Client, pipeline: FakePipeline, tmp_path: Path) -> None:
    waiting(pipeline)
    id = upload(client).json()["id"]
    until(lambda: client.get(f"/v1/jobs/{id}").json()["status"] == "running")
    assert client.delete(f"/v1/jobs/{id}").status_code == 204
    assert client.get(f"/v1/jobs/{id}").status_code == 404
    pipeline.behave = lambda *_: None
    assert ended(client, upload(client).json()["id"])["status"] == "done"
    assert not list((tmp_path / "jobs").glob("*.upload"))


def test_too_many_waiting_jobs_are_refused(pipeline: FakePipeline, tmp_path: Path) -> None:
    opened = waiting(pipeline)
    with serving(pipeline, tmp_path, settings={"max_concurrent_jobs": 1, "max_queued_jobs": 2}) as client:
        first = upload(client).json()["id"]
        until(lambda: client.get(f"/v1/jobs/{first}").json()["status"] == "running")
        accepted = [upload(client), upload(client)]
        assert [answer.json()["position"] for answer in accepted] == [0, 1]
        refused = upload(client)
        assert refused.status_code == 503
        assert "Retry-After" in refused.headers
        opened.set()
        assert [ended(client, answer.json()["id"])["status"] for answer in accepted] == ["done"] * 2


def test_jobs_survive_a_restart(tmp_path: Path) -> None:
    first = FakePipeline()
    waiting(first)
    with serving(first, tmp_path, settings={"max_concurrent_jobs": 1}) as client:
        ids = [upload(client).json()["id"] for _ in range(3)]
        until(lambda: client.get(f"/v1/jobs/{ids[0]}").json()["status"] == "running")
    assert len(first.calls) == 1
    second = FakePipeline()
    with serving(second, tmp_path) as client:
        assert [ended(client, id)["status"] for id in ids] == ["done"] * 3
    assert [call.audio for call in second.calls] == [AUDIO] * 3
    with serving(FakePipeline(), tmp_path) as client:
        assert client.get(f"/v1/jobs/{ids[2]}").json()["result"]["text"] == TRANSCRIPT.text


# The store -------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


opened: list[JobStore] = []


@pytest.fixture(autouse=True)
def _close_stores() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


def store_in(folder: Path, clock: Clock) -> JobStore:
    opened.append(JobStore(folder, retention_s=60, clock=clock))
    return opened[-1]


def add(store: JobStore, **values: Any) -> Any:
    known = {"name": "a.wav", "url": None, "parameters": {}, "webhook": None}
    return store.add(io.BytesIO(AUDIO), **{**known, **values})


def test_a_job_over_which_the_server_dies_is_given_up_in_the_end(tmp_path: Path, clock: Clock) -> None:
    store = store_in(tmp_path, clock)
    id = add(store).id
    for _ in range(MOST_ATTEMPTS):
        assert store.claim().id == id
        store.close()  # as when the process is killed: nothing is given back
        store = store_in(tmp_path, clock)
    job = store.get(id)
    assert job.status == "failed"
    assert "3 times" in job.error["message"]
    assert store.claim() is None


def test_a_folder_of_an_earlier_version_goes_on(tmp_path: Path, clock: Clock) -> None:
    """It has no columns for what was told live, and for who brought a job."""
    store = store_in(tmp_path, clock)
    before = add(store).id
    store.close()
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as database:
        for column in ("told", "caller_key", "traceparent"):
            database.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
    database.close()
    store = store_in(tmp_path, clock)
    turns = (Turn("SPEAKER_01", 0.5, 2.25),)
    caller = Caller("01234567", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    after = add(store, told=turns, caller=caller).id
    assert [store.get(id).told for id in (before, after)] == [(), turns]
    assert [store.get(id).caller for id in (before, after)] == [Caller(), caller]
    assert store.claim().id == before


def test_what_was_never_accepted_is_swept_away(tmp_path: Path, clock: Clock) -> None:
    store = store_in(tmp_path, clock)
    kept = add(store)
    store.close()
    (tmp_path / "job_half.part").write_bytes(b"half")
    (tmp_path / "job_unknown.upload").write_bytes(b"whole")
    store = store_in(tmp_path, clock)
    assert [file.name for file in tmp_path.glob("job_*")] == [f"{kept.id}.upload"]
    assert store.upload(kept.id).read_bytes() == AUDIO


def test_results_expire(tmp_path: Path, clock: Clock) -> None:
    store = store_in(tmp_path, clock)
    done, waits = add(store).id, add(store).id
    assert store.claim().id == done
    store.end(done, transcript="{}")
    assert not store.upload(done).exists()
    clock.now += 59
    assert store.expire() == 0
    clock.now += 2
    assert store.expire() == 1
    assert store.get(done) is None
    assert store.get(waits).status == "queued"


def test_the_oldest_job_is_first(tmp_path: Path, clock: Clock) -> None:
    store = store_in(tmp_path, clock)
    ids = []
    for _ in range(3):
        ids.append(add(store).id)
        clock.now += 1
    assert store.count_before(store.get(ids[2])) == 2
    assert [store.claim().id for _ in range(3)] == ids


def test_nothing_stays_of_a_job_that_could_not_be_accepted(tmp_path: Path, clock: Clock) -> None:
    store = store_in(tmp_path, clock)
    with pytest.raises(UnicodeEncodeError):
        add(store, name="\ud800")
    with pytest.raises(TooManyJobs):
        add(store, most_queued=0)
    assert not list(tmp_path.glob("job_*"))
    assert store.count("queued") == 0


def test_a_disk_that_is_full_for_a_while_loses_no_job(tmp_path: Path, clock: Clock, monkeypatch: Any) -> None:
    monkeypatch.setattr("turnscribe.serving.jobs.runner.HOUSEKEEPING_S", 0.05)
    store = store_in(tmp_path, clock)
    runner, _ = run_with(store, [])
    end, failures = store.end, iter(range(3))

    def failing(id: str, **values: Any) -> None:
        if next(failures, None) is not None:
            raise sqlite3.OperationalError("database or disk is full")
        end(id, **values)

    store.end = failing  # type: ignore[method-assign]
    ids = [add(store).id for _ in range(2)]
    runner.start()
    until(lambda: [store.get(id).status for id in ids] == ["done", "done"])
    runner.stop()


def test_a_job_deleted_as_it_begins_does_not_run_on(tmp_path: Path, clock: Clock) -> None:
    store, began, stopped = store_in(tmp_path, clock), threading.Event(), threading.Event()

    def transcribe(job: Job, listener: Listener) -> str:
        began.set()
        until(listener.should_stop)
        stopped.set()
        raise Cancelled("The request was cancelled.")

    runner = JobRunner(store, transcribe, running=1)
    id = add(store).id
    runner.start()
    assert began.wait(10)
    assert runner.delete(id)
    assert stopped.wait(10)
    runner.stop()
    assert store.get(id) is None


def test_a_folder_that_is_no_folder_of_jobs_is_refused(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "jobs.sqlite3").write_bytes(b"not a database" * 100)
    with pytest.raises(SettingsError, match="database cannot be used"):
        store_in(tmp_path, clock)
    with pytest.raises(SettingsError, match="cannot be written to"):
        store_in(tmp_path / "jobs.sqlite3" / "x", clock)


# Webhooks --------------------------------------------------------------------------------------------


def run_with(store: JobStore, statuses: list[int]) -> tuple[JobRunner, list[tuple[str, bytes, dict[str, str]]]]:
    posted: list[tuple[str, bytes, dict[str, str]]] = []

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        posted.append((url, body, dict(headers)))
        return statuses[len(posted) - 1]

    webhooks = Webhooks(store, secret="shared", post=post)
    return JobRunner(store, lambda job, listener: "{}", running=1, webhooks=webhooks), posted


def test_a_webhook_is_told_and_signed(tmp_path: Path, clock: Clock) -> None:
    store = store_in(tmp_path, clock)
    runner, posted = run_with(store, [200])
    job = add(store, webhook="https://example.com/hook")
    runner.start()
    until(lambda: store.get(job.id).webhook_state == "told")
    runner.stop()
    ((url, body, headers),) = posted
    assert url == "https://example.com/hook"
    assert json.loads(body)["id"] == job.id
    assert json.loads(body)["status"] == "done"
    signed = hmac.new(b"shared", b"1000." + body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"t=1000,v1={signed}"
    assert SIGNATURE not in webhook_headers(body, None, 1000)


@pytest.mark.slow
def test_a_webhook_that_does_not_answer_is_told_again_later(tmp_path: Path, clock: Clock) -> None:
    store = store_in(tmp_path, clock)
    runner, posted = run_with(store, [500, 302, 200])
    job = add(store, webhook="https://example.com/hook")
    runner.start()
    for tries, wait in enumerate(WEBHOOK_DELAYS[1:3], start=1):
        until(lambda tries=tries: store.get(job.id).webhook_tries == tries)
        assert store.get(job.id).webhook_state == "pending"
        assert store.get(job.id).webhook_at == clock.now + wait
        clock.now += wait
    until(lambda: store.get(job.id).webhook_state == "told")
    runner.stop()
    assert len(posted) == 3


def test_a_webhook_is_given_up_after_the_last_try(tmp_path: Path, clock: Clock) -> None:
    store = store_in(tmp_path, clock)
    job = add(store, webhook="https://example.com/hook")
    store.claim()
    store.end(job.id, transcript="{}")
    for _ in WEBHOOK_DELAYS:
        assert store.claim_webhook() is not None
        store.note_webhook_try(store.get(job.id), delivered=False)
        clock.now += 10_000
    assert store.claim_webhook() is None
    assert store.get(job.id).webhook_state == "given up"


def test_a_host_that_is_slow_delays_nobody_else(tmp_path: Path, clock: Clock) -> None:
    store = store_in(tmp_path, clock)
    opened, told, at_once = threading.Event(), list[str](), list[int]()

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        if "slow" in url:
            at_once.append(1)
            opened.wait(30)
            at_once.pop()
        told.append(url)
        return 200

    slow = [add(store, webhook=f"https://slow.example/{number}") for number in range(20)]
    quick = [add(store, webhook=f"https://quick-{number}.example/") for number in range(20)]
    runner = JobRunner(store, lambda job, listener: "{}", running=1, webhooks=Webhooks(store, post=post))
    runner.start()
    until(lambda: all(store.get(job.id).webhook_state == "told" for job in quick))
    assert at_once == [1]  # one at a time to a host
    assert not any("slow" in url for url in told)
    opened.set()
    until(lambda: all(store.get(job.id).webhook_state == "told" for job in slow))
    runner.stop()
    runner.join(10)


def test_a_host_that_was_slow_comes_last(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnscribe.serving.jobs.webhooks.SLOW_SECONDS", 0.05)
    store = store_in(tmp_path, clock)
    told: list[str] = []

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        told.append(url)
        time.sleep(0.1 if "slow" in url else 0)
        return 200

    hooks = [f"https://{name}.example/" for name in ("slow", "slow", "a", "slow", "b")]
    for hook in hooks:
        job = add(store, webhook=hook)
        store.claim()
        store.end(job.id, transcript="{}")
        clock.now += 1
    webhooks = Webhooks(store, post=post)
    while webhooks.deliver_next():
        pass
    assert told == [hooks[index] for index in (0, 2, 4, 1, 3)]


def test_a_job_keeps_the_parameters_it_needs(client: httpx.Client, tmp_path: Path) -> None:
    id = upload(client, language="de", colour="x" * 2**20, **{"a" * 1000: "1"}).json()["id"]
    assert ended(client, id)["status"] == "done"
    with sqlite3.connect(next(tmp_path.rglob("jobs.sqlite3"))) as database:
        ((kept,),) = database.execute("SELECT parameters FROM jobs WHERE id = ?", (id,)).fetchall()
    assert json.loads(kept)["language"] == "de"
    assert "colour" in kept
    assert len(kept) < 500


def test_space_comes_back(tmp_path: Path, clock: Clock) -> None:
    store = store_in(tmp_path, clock)
    for _ in range(20):
        job = add(store)
        store.claim()
        store.end(job.id, transcript=json.dumps("x" * 2**20))
    database = tmp_path / "jobs.sqlite3"
    full = database.stat().st_size
    clock.now += 1000
    assert store.expire() == 20
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert database.stat().st_size < full / 10


def test_a_disk_that_is_full_is_the_servers_and_says_so(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("turnscribe.serving.jobs.store.shutil.copyfileobj", full)
        refused = upload(client)
    assert refused.status_code == 507
    assert refused.json()["error"]["message"] == "The server's disk is full: try again later, or tell its operator."
    assert refused.json()["error"]["code"] == "insufficient_storage"
    assert "No space left on device" in caplog.text
    assert ended(client, upload(client).json()["id"])["status"] == "done"


def test_the_log_says_which_job(
    client: httpx.Client, pipeline: FakePipeline, caplog: pytest.LogCaptureFixture
) -> None:
    def behave(*_: object) -> None:
        raise ZeroDivisionError("of the recording")

    caplog.set_level("INFO")
    done = upload(client).json()["id"]
    ended(client, done)
    pipeline.behave = behave
    failed = upload(client).json()["id"]
    ended(client, failed)
    assert f"job {done} done after" in caplog.text
    assert f"job {failed} failed: ZeroDivisionError" in caplog.text
    assert "of the recording" not in caplog.text


def test_a_disk_that_is_full_keeps_no_recording_of_a_deleted_job_and_no_server(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    store = store_in(tmp_path, clock)
    job = add(store)
    runner, _ = run_with(store, [])
    monkeypatch.setattr(store, "give_back", full)
    runner.stop()
    assert "could not be given back" in caplog.text
    monkeypatch.setattr("turnscribe.serving.jobs.store.FREED_AT_ONCE", "no number")  # an error of the database
    assert store.delete(job.id)
    assert not store.upload(job.id).exists()


def test_many_hooks_of_one_host_hide_no_other(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnscribe.serving.jobs.store.LOOKED_AT", 3)
    store = store_in(tmp_path, clock)
    for number in range(10):
        job = add(store, webhook="https://busy.example/" if number < 9 else "https://free.example/")
        store.claim()
        store.end(job.id, transcript="{}")
        clock.now += 1
    found = store.claim_webhook(lambda job: None if "busy" in job.webhook else 0)
    assert found is not None
    assert found.webhook == "https://free.example/"
    assert store.claim_webhook(lambda job: None) is None
