"""Loading as the two serving containers do it (DESIGN 4), each in a process of its own, started elsewhere."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.adapters.hf_serve.cases import cases
from tests.conftest import DEMO, REPOSITORY
from turnscribe.waveform import SAMPLE_RATE, to_wav

# huggingface-inference-toolkit 0.5.6: the folder first on sys.path, the module registered as "handler".
TOOLKIT = """
import importlib.util, json, sys
folder = sys.argv[1]
sys.path.insert(0, folder)
spec = importlib.util.spec_from_file_location("handler", folder + "/handler.py")
module = importlib.util.module_from_spec(spec)
sys.modules["handler"] = module
spec.loader.exec_module(module)
handler = module.EndpointHandler(folder)
try:
    answer = handler(json.load(sys.stdin))
except Exception as error:
    answer = {"error": str(error)}
print("ANSWER" + json.dumps(answer))
"""

# hf-serve 0.1.3 and 0.2.0: the file by its path, neither on sys.path nor registered, called on the event loop, the
# answer through a pydantic root model; ValueError is the caller's.
SERVE = """
import asyncio, importlib.util, json, sys
from typing import Any
from pydantic import RootModel
folder = sys.argv[1]
spec = importlib.util.spec_from_file_location("handler", folder + "/handler.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert "handler" not in sys.modules
handler = module.EndpointHandler(folder)

class Answer(RootModel):
    root: dict[str, Any]

async def route(body):
    try:
        return Answer(handler(body)).model_dump_json()
    except ValueError as error:
        return json.dumps({"detail": str(error)})

print("ANSWER" + asyncio.run(route(json.load(sys.stdin))))
"""

# hf-serve 0.2.0 with each --cloud, read off compatibility/, routers/custom.py and server.py; `make test-hf-serve`
# holds the same cases against the real one. A body that is no JSON by its type is refused, with the body in the
# refusal; where that is no UTF-8, refusing it fails.
CLOUDS = (
    SERVE.partition("class Answer")[0]
    + """
import base64

class Answer(RootModel):
    root: Any

async def respond(cloud, path, body, content_type):
    if body is None:
        healthy = path == "/health" or (cloud == "sagemaker" and path == "/ping")
        return (200, {"status": "ok"}) if healthy else (404, {"detail": "Not Found"})
    if cloud == "azure" and path == "/score":
        return 307, ""
    if cloud == "sagemaker" and path == "/invocations":
        path = "/predict"
    if path not in ("/", "/predict"):
        return 404, {"detail": "Not Found"}
    try:
        sent = base64.b64decode(body).decode()
    except UnicodeDecodeError:
        return 500, "Internal Server Error"
    if content_type == "application/json":
        try:
            sent = json.loads(sent)
        except ValueError:
            pass
    if not isinstance(sent, dict):
        return 422, {"detail": [{"type": "dict_type"}], "body": sent}
    try:
        return 200, json.loads(Answer(handler(sent)).model_dump_json())
    except ValueError as error:
        return 400, {"detail": str(error)}
    except Exception as error:
        return 500, {"detail": str(error)}

async def respond_to(requests):
    return [await respond(*request) for request in requests]

print("ANSWER" + json.dumps(asyncio.run(respond_to(json.load(sys.stdin)))))
"""
)

IMPORTED = """
import sys
sys.path.insert(0, sys.argv[1])
import handler
loaded = handler.EndpointHandler(sys.argv[1])
loaded({"inputs": bytes(16000), "parameters": {"encoding": "pcm_s16le"}})
print("ANSWER" + str(sum(name.startswith("pyannote.") for name in sys.modules)))
"""


def run(program: str, tmp_path: Path, request: Any = None, **variables: str) -> Any:
    """What `program` printed after ANSWER, run in an empty folder with only these variables set."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **{"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", program, str(REPOSITORY)],
        cwd=tmp_path,
        env=environment,
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("ANSWER")[2])


def environment(*names: str) -> dict[str, str]:
    return {name.upper(): DEMO[name] for name in names}


def files() -> dict[str, float]:
    folders = ("demo", "turnscribe", "scripts")
    found = [path for folder in folders for path in (REPOSITORY / folder).rglob("*")]
    found += REPOSITORY.glob("*")
    return {str(path): path.stat().st_mtime for path in found if path.is_file() and "__pycache__" not in str(path)}


@pytest.mark.models
@pytest.mark.parametrize("container", [TOOLKIT, SERVE], ids=["toolkit", "hf-serve"])
def test_the_container_gets_words_with_speakers(container: str, tmp_path: Path, speech: bytes) -> None:
    before = files()
    answer = run(
        container,
        tmp_path,
        {"inputs": base64.b64encode(speech).decode(), "parameters": {"timestamps": "word"}},
        **environment("asr_model", "diarization_model"),
    )
    assert len(answer["words"]) > 10
    assert all(word["speaker"] for word in answer["words"])
    assert files() == before  # the repository may be mounted read-only
    assert not list(tmp_path.iterdir())


@pytest.mark.models
@pytest.mark.parametrize("container", [TOOLKIT, SERVE], ids=["toolkit", "hf-serve"])
def test_the_container_passes_the_callers_error_on(container: str, tmp_path: Path) -> None:
    answer = run(container, tmp_path, {"inputs": "bm90IGF1ZGlv"}, **environment("asr_model"))
    (message,) = answer.values()
    assert message.endswith(".")
    assert "audio" in message.lower()


@pytest.mark.models
def test_every_cloud_of_hf_serve_gets_what_its_clients_expect(
    tmp_path: Path, conversation_waveform: NDArray[np.float32]
) -> None:
    asked = cases(to_wav(conversation_waveform[: 3 * SAMPLE_RATE]))
    requests = [
        (case.cloud, case.path, case.body and base64.b64encode(case.body).decode(), case.content_type)
        for case in asked
    ]
    answers = run(CLOUDS, tmp_path, requests, **environment("asr_model"))
    wrong = {
        case.name: (status, answer)
        for case, (status, answer) in zip(asked, answers, strict=True)
        if status != case.status or not case.check(answer)
    }
    assert not wrong


def test_no_model_named_ends_in_one_sentence(tmp_path: Path) -> None:
    program = TOOLKIT.replace("handler = module.EndpointHandler(folder)", "").replace(
        "answer = handler(json.load(sys.stdin))", "module.EndpointHandler(folder)"
    )
    assert "ASR_MODEL is not set" in run(program, tmp_path)["error"]


@pytest.mark.models
def test_recognition_alone_never_imports_pyannote(tmp_path: Path) -> None:
    assert run(IMPORTED, tmp_path, **environment("asr_model")) == 0
