"""The software of SageMaker's containers, for real, on loopback: toolkit and model server of two of them.

`running` starts what the container's entry point starts, with the container's folders and variables, and ends all its
processes. Stands in for neither the image (its Python and torch are the tests') nor for SageMaker in front of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.conftest import REPOSITORY

START_SECONDS = 180
PORTS = (10_000, 32_000)  # the server takes no port above 32767 for one
# What the image's entry point does, but for the configuration's place: /etc is not ours. Where the tests are killed,
# their end of standard input closes, and everything ends with them.
END_WITH_THE_TESTS = """
import os, signal, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os.killpg(0, signal.SIGKILL)), daemon=True).start()
"""


@dataclass(frozen=True)
class Software:
    """Of one container: the Python that has it, what its entry point does, and variables to be alone on its ports."""

    python: Path
    entry: str
    ports: Sequence[str] = ()  # variables that take one
    env: Mapping[str, str] = field(default_factory=dict)


HUGGING_FACE = Software(
    Path(sys.executable),
    f"""{END_WITH_THE_TESTS}
from sagemaker_inference import model_server
from sagemaker_huggingface_inference_toolkit import mms_model_server, serving
model_server.MMS_CONFIG_FILE = mms_model_server.MMS_CONFIG_FILE = sys.argv[1]
serving.main()
""",
)
PYTORCH = Software(
    REPOSITORY / ".venv-torchserve" / "bin" / "python",  # two toolkits bring different packages of the same name
    f"""{END_WITH_THE_TESTS}
from sagemaker_pytorch_serving_container import serving, torchserve
torchserve.TS_CONFIG_FILE = sys.argv[1]
serving.main()
""",
    ports=("TS_GRPC_INFERENCE_PORT", "TS_GRPC_MANAGEMENT_PORT"),
    env={"TS_METRICS_ADDRESS": "http://127.0.0.1:0"},
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Container:
    url: str
    pid: int  # of the process group too
    log: Path

    @property
    def logs(self) -> str:
        return self.log.read_text(errors="replace")

    def workers(self) -> list[psutil.Process]:
        """The processes that hold a model: forks of those the server starts, which outlive them and listen."""
        ours = [one for one in _group(self.pid) if "model_service_worker" in " ".join(one.cmdline())]
        return [one for one in ours if one.parent() in ours]

    def ping(self) -> Answer:
        return self._answer("GET", "/ping", b"", {}, timeout=30)

    def invoke(self, body: bytes, *, timeout: float = 300, **headers: str | None) -> Answer:
        """POST to `/invocations`; `content_type="audio/wav"` is a header, `None` one that is not sent."""
        given = {"content_type": "application/octet-stream", **headers}
        sent = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
        return self._answer("POST", "/invocations", body, sent, timeout=timeout)

    def _answer(self, method: str, path: str, body: bytes, headers: Mapping[str, str], *, timeout: float) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                connection.putheader(name, value)
            connection.endheaders()
            with contextlib.suppress(ConnectionError):  # refused for its size before it was read: there is an answer
                connection.send(body)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        finally:
            connection.close()


@contextlib.contextmanager
def running(
    model_dir: Path,
    *,
    env: Mapping[str, str] | None = None,
    software: Software = HUGGING_FACE,
    pip: Mapping[str, str] | None = None,
) -> Iterator[Container]:
    """The container with `model_dir` as its `/opt/ml/model`; ready when it answers `/ping`.

    It refuses a second one on the same machine, so whoever comes later waits. `env` is the endpoint's. The container
    installs `code/requirements.txt` when it starts; here it may only find that nothing is missing (`pip`).
    """
    with _alone(), tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "model").symlink_to(model_dir.resolve())
        port, log = _free_port(), base / "log"
        variables = {
            **{name: os.environ[name] for name in ("HOME", "JAVA_HOME", "LANG") if name in os.environ},
            "PATH": f"{software.python.parent}:{os.environ['PATH']}",  # the servers are called by their names
            "SAGEMAKER_BASE_DIR": folder,
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            **software.env,
            **{name: str(_free_port()) for name in software.ports},
            **dict.fromkeys(("TEMP", "TMPDIR", "LOG_LOCATION", "METRICS_LOCATION"), folder),
            **({"PIP_NO_INDEX": "1", "PIP_DRY_RUN": "1", "PIP_QUIET": "1"} if pip is None else pip),
            **(env or {}),
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [software.python, "-c", software.entry, str(base / "server.properties")],
                cwd=folder,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            container = Container(f"http://127.0.0.1:{port}", process.pid, log)
            _wait(container, process)
            yield container
        finally:
            _end(process)


def unpacked(archive: Path, folder: Path) -> Path:
    """What SageMaker does with a `model.tar.gz`."""
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    with open(Path(tempfile.gettempdir(), "turnscribe-sagemaker-container.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed, by whatever end of this process
        yield


def _wait(container: Container, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, f"the container ended at once:\n{container.logs}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            if container.ping().status == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"the container did not start:\n{container.logs}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole group: the launcher alone would leave the server and its workers, which outlive a SIGTERM."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()  # closes our end of its standard input
    until = time.monotonic() + 10
    while left := _group(process.pid):
        assert time.monotonic() < until, f"left of the container: {left}"
        time.sleep(0.05)


def _group(number: int) -> list[psutil.Process]:
    """The living processes of a group; the server's parent ends early, so it is nobody's child."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _free_port() -> int:
    while True:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", random.randrange(*PORTS))) as server:
            return int(server.getsockname()[1])
