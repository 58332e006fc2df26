"""A local stand-in of the Hub, of the Inference Endpoints API and of one endpoint, which records what clients send.

It does as much as the project's commands and the calls in its manual ask: whoami, a model's page and small files
(with gates), a new repository and what is uploaded to it, endpoints that go through the states a test lists, and
`POST /`, which is the endpoint.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Answer = Callable[[dict[str, Any]], dict[str, Any]]

COMMIT = "1" * 40
NOW = "2026-01-01T00:00:00.000Z"
READER = {"name": "your-name", "type": "user", "orgs": [], "auth": {"accessToken": {"role": "read"}}}


class HubStandIn(ThreadingHTTPServer):
    """`refusals` maps `"METHOD /path"` to a status and the API's words; the list of states is walked by each look.

    `answer` is what the endpoint does.
    """

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Routes)
        self.answer = answer
        self.requests: list[tuple[str, str, str, Any]] = []  # method, path, authorization, body
        self.refusals: dict[str, list[tuple[int, str]]] = {}
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.states: list[str] = ["pending"]
        self.me: dict[str, Any] | None = READER  # None: the token is not known
        self.models: dict[
            str, dict[str, Any]
        ] = {}  # id: {"sizes": {file: bytes}, "files": {file: JSON}, "bytes": {file: content}}
        self.gated: set[str] = set()
        self.stops_after = 0  # bytes of a file of `bytes`, after which the connection breaks once
        self.sent_bytes = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def sent(self, method: str) -> list[Any]:
        """The bodies of all requests of a method."""
        return [body for found, _, _, body in self.requests if found == method]

    def body_of(self, path: str) -> Any:
        """The body of the only request of a path that begins so."""
        (body,) = [body for _, requested, _, body in self.requests if requested.startswith(path)]
        return body

    def add_endpoint(self, name: str, **model: Any) -> None:
        asked = {"name": name, "type": "protected", "compute": {"accelerator": "gpu", "instanceType": "nvidia-l4"}}
        self.endpoints[name] = {**asked, "model": {"repository": "a/b", "framework": "pytorch", "task": "x", **model}}

    def look(self, name: str, *, step: bool = True) -> dict[str, Any]:
        state = self.states.pop(0) if step and len(self.states) > 1 else self.states[0]
        status = {"state": state, "message": "", "createdAt": NOW, "updatedAt": NOW}
        if state == "failed":
            status["message"] = "Scheduling failure:\n no capacity"
        if state == "running":
            status["url"] = f"{self.url}/run/{name}"
        raw = self.endpoints[name]
        return {**raw, "model": {"revision": "main", **raw["model"]}, "status": status, "healthRoute": "/health"}


class _Routes(BaseHTTPRequestHandler):
    server: HubStandIn

    def do_GET(self) -> None:
        self._note()
        path = self.path.split("?")[0]
        if self._refused(path):
            return None
        if path == "/api/whoami-v2":
            return self._send(200, self.server.me) if self.server.me else self._send(401, {"error": "Invalid token"})
        if path.startswith("/v2/endpoint/"):
            name = path.split("/")[-1]
            known = name in self.server.endpoints
            return self._send(200, self.server.look(name)) if known else self._send(404, {"error": "Not found"})
        if path.startswith("/run/"):
            return self._send(200, {})
        if path.startswith("/api/models/") and "/tree/" in path:
            return self._tree(path.removeprefix("/api/models/").partition("/tree/")[0])
        if path.startswith("/api/models/"):
            return self._model(path.removeprefix("/api/models/").partition("/revision/")[0])
        return self._file(path)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        if self.path == "/":
            self._send(200, self.server.answer(self._note()))
        elif self.path.startswith("/api/"):
            self._upload()
        else:
            self._change()

    def do_PUT(self) -> None:
        self._change()

    def do_DELETE(self) -> None:
        self._note()
        if not self._refused(self.path):
            del self.server.endpoints[self.path.split("/")[-1]]
            self._send(202, {})

    def _upload(self) -> None:
        """To a new repository; nothing is kept of it but that it is there."""
        body = self._note()
        url = f"{self.server.url}/your-name/turnscribe"
        if self.path == "/api/repos/create":
            self.server.models["your-name/turnscribe"] = {}
            self._send(200, {"url": url, "id": "your-name/turnscribe"})
        elif "/preupload/" in self.path:
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in body["files"]]
            self._send(200, {"files": modes})
        elif "/commit/" in self.path:
            commit = {"success": True, "commitUrl": f"{url}/commit/1", "commitOid": "1", "hookOutput": ""}
            self._send(200, commit)
        else:
            self._send(200, {"errors": [], "warnings": []})

    def _change(self) -> None:
        body = self._note()
        if self._refused(self.path):
            return
        if self.command == "POST":
            self.server.endpoints[body["name"]] = body
        name = body.get("name") or self.path.split("/")[-1]
        self._send(202, self.server.look(name, step=False))

    def _model(self, model: str) -> None:
        found = self.server.models.get(model)
        if found is None:
            return self._send(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        sizes = {name: len(content) for name, content in found.get("bytes", {}).items()} | found.get("sizes", {})
        siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
        answer = {"id": model, "sha": COMMIT, "private": False, "siblings": siblings, "tags": [], "downloads": 0}
        if "parameters" in found:
            total = found["parameters"]
            answer["safetensors"] = {"parameters": {"F16": total}, "total": total}
        return self._send(200, answer)

    def _tree(self, model: str) -> None:
        files = self.server.models.get(model, {}).get("bytes", {})
        self._send(200, [{"type": "file", "path": name, "size": len(files[name]), "oid": "1" * 40} for name in files])

    def _file(self, path: str) -> None:
        model, _, rest = path.lstrip("/").partition("/resolve/")
        file = rest.partition("/")[2]
        if model in self.server.gated:
            return self._send(403, {"error": f"Access to model {model} is restricted"}, {"X-Error-Code": "GatedRepo"})
        found = self.server.models.get(model)
        if found is None:
            return self._send(401, {}, {"X-Error-Code": "RepoNotFound"})
        if file in found.get("bytes", {}):
            return self._send_bytes(found["bytes"][file])
        if file not in found.get("files", {}):
            return self._send(404, {}, {"X-Error-Code": "EntryNotFound"})
        return self._send(200, found["files"][file])

    def _refused(self, path: str) -> bool:
        waiting = self.server.refusals.get(f"{self.command} {path}")
        if not waiting:
            return False
        status, words = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if status:
            self._send(status, {"error": words})
        return bool(status)

    def _note(self) -> Any:
        """The body: JSON as its values, a commit as the list of its lines' values."""
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        lines = "/commit/" in self.path
        body = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text) if text else None
        self.server.requests.append((self.command, self.path, self.headers.get("Authorization", ""), body))
        return body

    def _send(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _send_bytes(self, content: bytes) -> None:
        """As the Hub sends a file, from where a client goes on; up to `stops_after` bytes, once."""
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        for name, value in {**headers, "Content-Length": str(len(content) - start)}.items():
            self.send_header(name, value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if 0 < self.server.stops_after < len(content):
            content, self.server.stops_after = content[: self.server.stops_after], 0
            self.close_connection = True
        self.server.sent_bytes += len(content[start:])
        self.wfile.write(content[start:])

    def log_message(self, *_: Any) -> None:
        pass


def _forget_sessions() -> None:
    """Up to huggingface_hub 0.36 a session is made for offline or online use, and kept."""
    from huggingface_hub.utils import _http

    getattr(_http, "reset_sessions", lambda: None)()


@contextmanager
def listening(answer: Answer = lambda request: {}) -> Iterator[HubStandIn]:
    """A stand-in at its `url`, for whoever asks there."""
    server = HubStandIn(answer)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    """A stand-in that huggingface_hub in this process takes for the Inference Endpoints API; the Hub's address is the
    `endpoint` of an `HfApi`."""
    from huggingface_hub import constants

    with listening() as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "INFERENCE_ENDPOINTS_ENDPOINT", f"{server.url}/v2")
        monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
        _forget_sessions()
        try:
            yield server
        finally:
            _forget_sessions()
