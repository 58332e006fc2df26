"""What a client does: one method a kind of request, each drawn from a generator of its own."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from tools.soak.alone import Material, Question, as_fields, content, difference, form
from tools.soak.figures import Figures
from tools.soak.ledger import DELETED, MAYBE_DELETED, Entry, Ledger
from tools.soak.lives import Ended, Lives

REQUEST_S = 180.0  # the longest wait for an answer
JOB_S = 180.0  # and for a job, restarts included
POLLS_S = 0.3
KINDS = {"json": 3, "audio": 2, "form": 3, "stream": 2, "job": 3, "poll": 3, "delete": 1, "leave": 2, "refused": 2}
NO_URLS_HERE = {"inputs": None, "parameters": {"url": "https://example.com/talk.wav"}}
REFUSED: tuple[tuple[int, str, str, dict[str, Any]], ...] = (
    (400, "POST", "/", {"json": {}}),
    (400, "POST", "/", {"json": {"inputs": "no base64!"}}),
    (400, "POST", "/", {"json": {"inputs": "https://example.com/talk.wav"}}),
    (400, "POST", "/predict?batch_size=none", {"content": b"RIFF"}),
    (400, "POST", "/", {"content": bytes(range(256)) * 20}),
    (400, "POST", "/", {"content": b'{"inputs":', "headers": {"Content-Type": "application/json"}}),
    (400, "POST", "/v1/audio/transcriptions", {"data": {"model": "whisper-1"}}),
    (400, "POST", "/v1/audio/transcriptions", {"files": {"file": b"x"}, "data": {"response_format": "pdf"}}),
    (400, "POST", "/v1/jobs", {"files": {"other": b"x"}}),
    (400, "POST", "/v1/jobs", {"json": NO_URLS_HERE}),
    (404, "GET", "/v1/jobs/job_none", {}),
    (404, "GET", "/v1/jobs/job_none/result", {}),
    (404, "DELETE", "/v1/jobs/job_none", {}),
    (404, "GET", "/v2/none", {}),
    (405, "PUT", "/v1/jobs", {}),
)


class Failed(Exception):
    """The server did what it should not; one sentence."""


class Interrupted(Exception):
    """The server ended meanwhile, and may leave this unanswered."""


@dataclass
class Client:
    """One of those that ask at the same time. Raises `Failed`, `Interrupted` and `Ended`."""

    lives: Lives
    material: Material
    alone: Mapping[Question, Any]
    ledger: Ledger
    figures: Figures

    def __post_init__(self) -> None:
        # a kept connection may be closed by the server just when it is used again
        self._http = httpx.Client(timeout=REQUEST_S, limits=httpx.Limits(max_keepalive_connections=0))

    def close(self) -> None:
        self._http.close()

    def step(self, kind: str, chosen: random.Random) -> None:
        step: Callable[[random.Random], None] = getattr(self, f"_{kind}")
        step(chosen)

    # One a kind -------------------------------------------------------------------------------------

    def _json(self, chosen: random.Random) -> None:
        asked = self._any_question(chosen)
        body = self.material.json_body(asked.recording, asked.parameters)
        self._compare(self.send("json", 200, "POST", "/", json=body), asked)

    def _audio(self, chosen: random.Random) -> None:
        asked = self._any_question(chosen)
        fields = as_fields(self.material.parameters[asked.parameters])
        audio, headers = self.material.recordings[asked.recording], {"Content-Type": "audio/wav"}
        answer = self.send("audio", 200, "POST", "/predict", content=audio, params=fields, headers=headers)
        self._compare(answer, asked)

    def _form(self, chosen: random.Random) -> None:
        asked = self._form_question(chosen)
        options = form(self.material, asked)
        self._compare(self.send("form", 200, "POST", "/v1/audio/transcriptions", **options), asked)

    def _stream(self, chosen: random.Random) -> None:
        asked = self._form_question(chosen)._replace(response_format="json")
        options = form(self.material, asked)
        options["data"]["stream"] = "true"
        answer = self.send("stream", 200, "POST", "/v1/audio/transcriptions", **options)
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        kinds = [event.get("type", "error") for event in events]
        if not events or kinds[-1] != "transcript.text.done":
            raise Failed(f"A stream ended with {kinds[-1:]} and {answer.text[-200:]!r}.")
        deltas = "".join(event["delta"] for event in events if event["type"] == "transcript.text.delta")
        wanted = self.alone[asked]["text"]
        for name, text in (("The deltas of a stream", deltas), ("The last event of a stream", events[-1]["text"])):
            if text != wanted:
                raise Failed(f"{name} say {text[:80]!r}, alone it is {wanted[:80]!r}.")

    def _job(self, chosen: random.Random) -> None:
        entry = self._new_job(chosen, chosen.choice((*range(self.material.long + 1), self.material.long)))
        if chosen.random() < 0.5:
            self._follow(entry, chosen)

    def _poll(self, chosen: random.Random) -> None:
        entry = self.ledger.some(chosen)
        if entry is None:
            return self._job(chosen)
        self._look(entry, chosen)

    def _delete(self, chosen: random.Random) -> None:
        entry = self._new_job(chosen, self.material.long)
        entry.state = MAYBE_DELETED  # until there is an answer
        time.sleep(chosen.random() * 2)
        path = f"/v1/jobs/{entry.id}"
        self.send("delete", 204, "DELETE", path)
        entry.state = DELETED
        self.send("poll", 404, "GET", path)

    def _leave(self, chosen: random.Random) -> None:
        """In the middle of a body, before the answer, or in the middle of a stream."""
        way = chosen.choice(("body", "answer", "stream"))
        options = form(self.material, Question("form", self.material.long, response_format="json"))
        if way == "stream":
            options["data"]["stream"] = "true"
        url = self.lives.url()
        request = httpx.Request("POST", f"{url}/v1/audio/transcriptions", **options)
        body = request.read()
        head = [f"POST {request.url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
        raw = "\r\n".join([*head, "", ""]).encode() + body
        address = (urlsplit(url).hostname or "", urlsplit(url).port or 80)
        began = time.monotonic()
        try:
            with socket.create_connection(address, timeout=30) as connection:
                connection.sendall(raw[: chosen.randrange(len(raw))] if way == "body" else raw)
                connection.settimeout(chosen.random() * 2)
                if way != "body":
                    connection.recv(100)
        except OSError:
            pass  # a server that ends, or an answer that did not come so soon
        self.figures.note("leave", time.monotonic() - began)

    def _refused(self, chosen: random.Random) -> None:
        status, method, path, options = chosen.choice(REFUSED)
        answer = self.send("refused", status, method, path, **options)
        if not answer.json().get("error"):
            raise Failed(f"{method} {path} was refused without a reason: {answer.text[:100]!r}.")

    # Jobs -------------------------------------------------------------------------------------------

    def _new_job(self, chosen: random.Random, recording: int) -> Entry:
        parameters = chosen.randrange(len(self.material.parameters))
        files = {"file": ("talk.wav", self.material.recordings[recording])}
        data = as_fields(self.material.parameters[parameters])
        try:
            answer = self.send("job", 202, "POST", "/v1/jobs", files=files, data=data)
        except Interrupted:
            self.ledger.note_unanswered()
            raise
        return self.ledger.accept(answer.json()["id"], recording, parameters)

    def _follow(self, entry: Entry, chosen: random.Random) -> None:
        deadline = time.monotonic() + JOB_S
        while not self._look(entry, chosen):
            if time.monotonic() > deadline:
                raise Failed(f"Job {entry.id} was not done after {JOB_S:g} s.")
            time.sleep(POLLS_S)

    def _look(self, entry: Entry, chosen: random.Random) -> bool:
        """Whether the job is done; its transcript is compared then."""
        job = self.send("poll", 200, "GET", f"/v1/jobs/{entry.id}").json()
        if job["status"] == "failed":
            raise Failed(f"Job {entry.id} failed: {job['error']}.")
        if job["status"] != "done":
            return False
        if twice := self.ledger.note_done(entry, job["ended_at"]):
            raise Failed(twice)
        wanted = self.alone[Question("answer", entry.recording, entry.parameters)]
        if found := difference(job["result"], wanted, f"job {entry.id}"):
            raise Failed(f"{found}.")
        names = [name for name in self.material.formats if self._result(entry, name) in self.alone]
        name = chosen.choice(names)
        path = f"/v1/jobs/{entry.id}/result?response_format={name}"
        self._compare(self.send("result", 200, "GET", path), self._result(entry, name))
        return True

    def _result(self, entry: Entry, name: str) -> Question:
        return Question("result", entry.recording, entry.parameters, name)

    def finish(self, entry: Entry) -> None:
        """Wait for a job at the end of all, and compare it."""
        self._follow(entry, random.Random(entry.id))

    # ------------------------------------------------------------------------------------------------

    def send(self, kind: str, status: int, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer, which has this status."""
        url = self.lives.url()
        began = time.monotonic()
        sent: list[float] = []

        def trace(name: str, _: Any) -> None:
            if name == "http11.send_request_body.complete":
                sent.append(time.monotonic())

        try:
            answer = self._http.request(method, url + path, extensions={"trace": trace}, **options)
        except httpx.TransportError as error:
            if self.lives.excuses(began, sent[0] if sent else None, time.monotonic()):
                raise Interrupted from error
            raise Failed(f"{method} {path} was not answered: {error!r}.") from error
        if answer.status_code == 503 and self.lives.disturbed(began):
            raise Interrupted
        self.figures.note(kind, time.monotonic() - began)
        if answer.status_code != status:
            raise Failed(f"{method} {path} was answered {answer.status_code}, not {status}: {answer.text[:200]!r}.")
        return answer

    def _compare(self, answer: httpx.Response, asked: Question) -> None:
        if found := difference(content(answer), self.alone[asked]):
            raise Failed(f"Of recording {asked.recording}, {self._about(asked)}, {found}.")

    def _about(self, asked: Question) -> str:
        return f"{self.material.parameters[asked.parameters]} as {asked.response_format or asked.way}"

    def _any_question(self, chosen: random.Random) -> Question:
        parameters = chosen.randrange(len(self.material.parameters))
        return Question("answer", chosen.randrange(self.material.long), parameters)

    def _form_question(self, chosen: random.Random) -> Question:
        name = chosen.choice(self.material.formats)
        return Question("form", chosen.randrange(self.material.long), response_format=name)


def work(number: int, client: Client, seed: int, until: Callable[[], bool]) -> None:
    """Steps of client `number` until it is time. What fails becomes a sentence that says how to get there again."""
    step = 0
    try:
        while not until():
            step += 1
            chosen = random.Random(f"{seed}/{number}/{step}")
            kind = chosen.choices(list(KINDS), list(KINDS.values()))[0]
            try:
                client.step(kind, chosen)
            except Interrupted:
                client.figures.note_interrupted()
            except Ended:
                return
            except Exception as error:
                reason = str(error) if isinstance(error, Failed) else repr(error)
                client.figures.fail(f"Seed {seed}, client {number}, step {step} ({kind}): {reason}")
    finally:
        client.close()
