"""hf-serve 0.2.0 itself, with this repository in it, under each `--cloud`. `make test-hf-serve`, Python 3.12."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.adapters.hf_serve.cases import HEALTH, JSON, Case, cases, read
from tests.adapters.hf_serve.image import variables
from tests.conftest import DEMO, REPOSITORY
from turnscribe.waveform import SAMPLE_RATE, to_wav

CLOUDS = (None, "sagemaker", "google", "azure")
START_SECONDS = 300  # far more than a start takes

# A handler whose models fail, beside this repository's own.
FAILING = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from handler import EndpointHandler as Whole
from turnscribe.settings import ModelSettings


class FailingAsr:
    capabilities = None

    def transcribe(self, *_, **__):
        raise RuntimeError("CUDA error at /srv/models")


class EndpointHandler(Whole):
    def __init__(self, path):
        super().__init__({str(REPOSITORY)!r}, ModelSettings(asr_model="fake"), asr=FailingAsr())
"""


class StayHere(HTTPRedirectHandler):
    """Redirects are answers here."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Server:
    """One hf-serve on loopback; `log` is what it has printed so far."""

    def __init__(self, port: int, output: Path) -> None:
        self.port, self.output = port, output

    @property
    def log(self) -> str:
        return self.output.read_text()

    def ask(self, path: str, body: bytes | None = None, content_type: str | None = None) -> tuple[int, Any]:
        request = Request(f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": content_type or ""})
        try:
            with build_opener(StayHere).open(request, timeout=120) as answer:
                return answer.status, read(answer.read())
        except HTTPError as error:
            return error.code, read(error.read())

    def post(self, path: str, body: object) -> tuple[int, Any]:
        return self.ask(path, json.dumps(body).encode(), JSON)


@contextmanager
def serving(
    folder: Path, cloud: str | None, *, repository: Path = REPOSITORY, health: str = HEALTH, **more: str
) -> Iterator[Server]:
    """hf-serve as the image starts it: by variables, elsewhere, with nothing else of this environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "OMP_NUM_THREADS") if name in os.environ} | {
        **variables(),
        "MODEL_DIR": str(repository),
        "HF_HUB_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        **({"CLOUD": cloud} if cloud else {}),
        **more,
    }
    folder.mkdir()
    server = Server(port, folder / "log")
    with (
        server.output.open("wb") as log,
        subprocess.Popen(
            [Path(sys.executable).with_name("hf-serve")], cwd=folder, env=environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            end = time.monotonic() + START_SECONDS
            while not answers(server, health):
                assert process.poll() is None, server.log
                assert time.monotonic() < end, server.log
                time.sleep(0.2)
            yield server
        finally:
            process.kill()


def answers(server: Server, path: str) -> bool:
    try:
        return server.ask(path)[0] == 200
    except URLError:
        return False


@pytest.fixture(scope="module", params=CLOUDS, ids=str)
def cloud(request: pytest.FixtureRequest) -> str | None:
    return request.param


@pytest.fixture(scope="module")
def server(cloud: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = {name.upper(): DEMO[name] for name in ("asr_model", "diarization_model")}
    with serving(tmp_path_factory.mktemp(str(cloud)) / "app", cloud, **models) as started:
        yield started


@pytest.fixture(scope="module")
def asked(conversation_waveform: NDArray[np.float32]) -> list[Case]:
    return cases(to_wav(conversation_waveform[: 3 * SAMPLE_RATE]))


def test_every_client_gets_what_it_expects(server: Server, cloud: str | None, asked: list[Case]) -> None:
    wrong = {}
    for case in asked:
        if case.cloud == cloud:
            status, answer = server.ask(case.path, case.body, case.content_type)
            if status != case.status or not case.check(answer):
                wrong[case.name] = (status, answer)
    assert not wrong
    assert not list(server.output.parent.glob("[!l]*"))  # the handler writes nothing where it runs


def test_a_conversation_has_its_speakers(server: Server, cloud: str | None, conversation: bytes) -> None:
    request = {"inputs": base64.b64encode(conversation).decode(), "parameters": {"timestamps": "word"}}
    path = "/invocations" if cloud == "sagemaker" else "/predict"
    if cloud == "google":
        status, answer = server.post(path, {"instances": [request]})
        (answer,) = answer["predictions"]
    else:
        status, answer = server.post(path, request)
    assert status == 200
    assert len({word["speaker"] for word in answer["words"]}) == 3
    said = [re.sub(r"\W", "", word["word"]) for word in answer["words"]]
    reference = (REPOSITORY / "demo" / "conversation.txt").read_text().split()
    assert sum(word in reference for word in said) > 0.8 * len(said) > 60


def test_with_the_quieter_log_nothing_of_a_request_is_in_it(server: Server, asked: list[Case]) -> None:
    body = next(case.body for case in asked if case.body)
    assert body[200:260].decode() not in server.log


def test_what_is_not_the_callers_fault_is_a_500_with_an_incident(tmp_path: Path, asked: list[Case]) -> None:
    """And of Vertex AI's variables, one of the two routes is kept with a custom handler."""
    (tmp_path / "handler.py").write_text(FAILING)
    routes = {"AIP_MODE": "PREDICTION", "AIP_HEALTH_ROUTE": "/well", "AIP_PREDICT_ROUTE": "/asked"}
    with serving(tmp_path / "app", None, repository=tmp_path, health="/well", **routes) as server:
        text = json.loads(asked[0].body or b"")["inputs"]
        for body in ({"inputs": text}, {"instances": [text, text]}):
            status, answer = server.post("/predict", body)
            assert status == 500
            incident = re.fullmatch(r".*could not be answered; .* under ([0-9a-f]{12})\.", answer["detail"])
            assert incident
            assert f"incident {incident[1]}" in server.log
        assert server.post("/asked", {"instances": [text]})[0] == 404
        assert server.ask(HEALTH)[0] == 404


def test_the_requirements_keep_the_containers_torch_and_transformers() -> None:
    before = dict(
        line.split("==") for line in Path(sys.prefix, "before.txt").read_text().splitlines() if line.count("==") == 1
    )
    for package in ("torch", "torchvision", "torchaudio", "transformers", "huggingface_hub", "hf-serve"):
        assert version(package) == before[package]
