"""What the tests of the Flyte workflows share: recordings, `pyflyte` as users call it, a store that answers later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from turnscribe.waveform import SAMPLE_RATE, to_wav

REPOSITORY = Path(__file__).resolve().parent.parent.parent.parent
WORKFLOWS = "adapters/flyte/workflow.py"
LIMIT_SECONDS = 600  # far more than anything here takes
PyFlyte = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of what a test starts: the demo's Whisper, and a home of its own, where Flyte's cache is."""
    for name in [name for name in os.environ if name.startswith(("TASK_", "INFERENCE_"))]:
        monkeypatch.delenv(name)
    for name in ("ASSISTANT_MODEL", "DIARIZATION_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ASR_MODEL", "demo/whisper")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "home").mkdir()
    (tmp_path / "temporary").mkdir()


@pytest.fixture
def pyflyte(models: None) -> PyFlyte:
    """`pyflyte run adapters/flyte/workflow.py ...` in the repository."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return finished([str(Path(sys.executable).with_name("pyflyte")), "run", WORKFLOWS, *words])

    return run


def finished(command: list[str]) -> subprocess.CompletedProcess[str]:
    """The command when it has ended; what it started ends with it."""
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=LIMIT_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output)


@pytest.fixture
def talks(tmp_path: Path, conversation_waveform: NDArray[np.float32]) -> Path:
    """A folder with two recordings of eight seconds."""
    folder = tmp_path / "talks"
    folder.mkdir()
    for index in range(2):
        part = conversation_waveform[index * 8 * SAMPLE_RATE : (index + 1) * 8 * SAMPLE_RATE]
        (folder / f"talk{index}.wav").write_bytes(to_wav(part))
    return folder


class BusyStore:
    """A web server with one recording, which says 503 until it is `ready`."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.ready = False
        store = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not store.ready:
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(store.content)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(store.content)

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.uri = f"http://127.0.0.1:{self.server.server_port}/later.wav"


@pytest.fixture
def busy_store(talks: Path) -> Iterator[BusyStore]:
    store = BusyStore((talks / "talk1.wav").read_bytes())
    thread = threading.Thread(target=store.server.serve_forever, daemon=True)
    thread.start()
    yield store
    store.server.shutdown()
    store.server.server_close()
    thread.join()
