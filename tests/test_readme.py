"""Every command of the README, run: the calls against an endpoint on loopback with the demo models behind it,
the deployment against a stand-in of the Hub that keeps what the real client sends. `make demo` and `make test`
are CI's.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from config import InferenceConfig, ModelSettings
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
HUB_VERSION = tuple(int(part) for part in huggingface_hub.__version__.split(".")[:2])

PRELUDE = """
import os
from huggingface_hub import constants
constants.INFERENCE_ENDPOINTS_ENDPOINT = os.environ["STAND_IN"] + "/v2"
ENDPOINT_URL = os.environ["STAND_IN"]
READ_TOKEN, WRITE_TOKEN = "hf_read", "hf_write"
"""


def block(language: str, marker: str) -> str:
    """The only block of a language that holds the marker."""
    (found,) = [text for name, text in BLOCKS if name == language and marker in text]
    return found


class StandIn(ThreadingHTTPServer):
    """An endpoint (`POST /`) and as much of the Hub's API as the README's calls use."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Routes)
        self.answer = answer
        self.requests: list[tuple[str, str, str, bytes]] = []  # method, path, authorization, body

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def body_of(self, path: str) -> Any:
        (found,) = [body for _, requested, _, body in self.requests if requested == path]
        return json.loads(found)


class _Routes(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        self._note()
        user = {"name": "your-name", "type": "user", "orgs": []}
        model = {"id": "your-name/turnscribe", "private": True, "sha": "1", "siblings": [], "tags": []}
        self._send(user if "whoami" in self.path else model)

    def do_POST(self) -> None:
        body = self._note()
        if self.path == "/":
            return self._send(self.server.answer(json.loads(body)))
        if self.path == "/api/repos/create":
            return self._send({"url": f"{self.server.url}/your-name/turnscribe", "id": "your-name/turnscribe"})
        if "/preupload/" in self.path:
            files = [file["path"] for file in json.loads(body)["files"]]
            return self._send(
                {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]}
            )
        if "/commit/" in self.path:
            url = f"{self.server.url}/your-name/turnscribe/commit/1"
            return self._send({"success": True, "commitUrl": url, "commitOid": "1", "hookOutput": ""})
        if self.path.startswith("/v2/endpoint/"):
            asked = json.loads(body)
            now = "2026-01-01T00:00:00.000Z"
            status = {"state": "pending", "message": "", "createdAt": now, "updatedAt": now}
            model = {**asked["model"], "revision": "main"}
            return self._send({**asked, "model": model, "status": status, "healthRoute": "/health"})
        return self._send({"errors": [], "warnings": []})

    def _note(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, self.headers.get("Authorization", ""), body))
        return body

    def _send(self, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def serving(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[StandIn]:
    server = StandIn(answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hub() -> Iterator[StandIn]:
    yield from serving(lambda request: {})


@pytest.fixture(scope="module")
def endpoint(demo_handler) -> Iterator[StandIn]:
    yield from serving(demo_handler)


def run(command: list[str], folder: Path, server: StandIn | None = None, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    if server:
        environment |= {"STAND_IN": server.url, "HF_ENDPOINT": server.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(text: str, folder: Path, server: StandIn) -> str:
    return run([sys.executable, "-c", PRELUDE + text], folder, server)


def run_shell(text: str, folder: Path, server: StandIn | None = None, **variables: str) -> str:
    return run(["bash", "-ec", text.replace(".venv/bin/python", sys.executable)], folder, server, **variables)


def test_the_front_matter_makes_it_an_endpoint_template() -> None:
    import yaml

    matter = yaml.safe_load(README.split("---")[1])
    assert matter["license"] == "apache-2.0"
    assert matter["pipeline_tag"] == "automatic-speech-recognition"
    assert "endpoints-template" in matter["tags"]


def test_every_block_is_run_here_or_by_ci() -> None:
    markers = {
        "python": ("api.upload_folder", "create_inference_endpoint", "requests.post", "extra_body", "client.post"),
        "sh": ("make demo", "scripts.transcribe", "curl", "scripts.evaluate"),
        "json": ("speculation",),
    }
    assert sum(map(len, markers.values())) == len(BLOCKS)
    assert all(block(language, marker) for language, group in markers.items() for marker in group)
    ci = (REPOSITORY / ".ci" / "run").read_text()
    assert all(command in ci for command in block("sh", "make demo").split("\n"))


def test_every_parameter_and_variable_is_in_its_table() -> None:
    assert all(f"`{name}`" in README for name in InferenceConfig.model_fields)
    assert all(f"`{name.upper()}`" in README for name in ModelSettings.model_fields)


def test_the_copy_uploads_the_repository_without_its_environments(hub: StandIn, tmp_path: Path) -> None:
    for name in ("handler.py", "README.md"):
        shutil.copy(REPOSITORY / name, tmp_path)
    for folder in (".venv", ".venv-oldest", "build"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file.txt").write_text("not to be uploaded")
    run_python(block("python", "api.upload_folder"), tmp_path, hub)
    created = hub.body_of("/api/repos/create")
    assert created.get("private") is True or created.get("visibility") == "private"
    (commit,) = [body for _, path, _, body in hub.requests if "/commit/" in path]
    lines = [json.loads(line) for line in commit.splitlines()]
    assert {line["value"]["path"] for line in lines if line["key"] == "file"} == {"handler.py", "README.md"}


@pytest.mark.skipif(
    "env" not in inspect.signature(huggingface_hub.create_inference_endpoint).parameters,
    reason="the README asks for a current huggingface_hub on the machine that deploys, not in the container",
)
def test_the_endpoint_is_created_with_the_token_as_a_secret(hub: StandIn, tmp_path: Path) -> None:
    printed = run_python(block("python", "create_inference_endpoint"), tmp_path, hub)
    assert printed.split() == ["turnscribe", "pending"]
    asked = hub.body_of("/v2/endpoint/your-name")
    assert asked["model"]["task"] == "custom"
    assert asked["model"]["repository"] == "your-name/turnscribe"
    assert asked["model"]["env"]["ASR_MODEL"] == "openai/whisper-large-v3"
    assert asked["model"]["secrets"] == {"HF_TOKEN": "hf_read"}
    assert "hf_read" not in json.dumps(asked["model"]["env"])


@pytest.mark.models
def test_the_call_with_requests(endpoint: StandIn) -> None:
    printed = run_python(block("python", "requests.post"), REPOSITORY, endpoint)
    assert len({line.split()[2] for line in printed.splitlines()}) == 3
    assert "the customer is not happy" in printed
    assert endpoint.requests[-1][2] == "Bearer hf_read"


@pytest.mark.models
def test_the_call_with_this_versions_inference_client(endpoint: StandIn) -> None:
    marker = "extra_body" if HUB_VERSION >= (0, 31) else "client.post"
    printed = run_python(block("python", marker), REPOSITORY, endpoint)
    assert "the customer is not happy" in printed


@pytest.mark.models
def test_the_call_with_curl(endpoint: StandIn) -> None:
    if shutil.which("curl") is None:
        pytest.fail("install curl to run this test")
    text = block("sh", "curl")
    printed = run_shell(text, REPOSITORY, ENDPOINT_URL=endpoint.url, READ_TOKEN="hf_read")
    assert json.loads(printed)["formatted"].startswith("1\n00:00:0")


@pytest.mark.models
def test_the_command_line_writes_subtitles(tmp_path: Path) -> None:
    run_shell(block("sh", "scripts.transcribe").replace("build/transcripts", str(tmp_path)), REPOSITORY)
    (subtitles,) = tmp_path.iterdir()
    assert subtitles.name == "conversation.srt"
    assert "-->" in subtitles.read_text()


@pytest.mark.models
def test_the_evaluation_prints_its_table() -> None:
    assert "WER" in run_shell(block("sh", "scripts.evaluate"), REPOSITORY)
