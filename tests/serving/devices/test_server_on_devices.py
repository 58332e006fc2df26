"""The server as a process, with a demo model on two devices: its answers, a killed process, an ordered stop."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from handler import EndpointHandler
from tests.serving.devices.test_devices import is_alive
from tests.serving.live import until
from tools.load_test.server import ServerProcess, environment
from turnscribe.waveform import to_wav

pytestmark = [pytest.mark.models, pytest.mark.serving]

VARIABLES = {
    "ASR_MODEL": "demo/whisper",
    "ASSISTANT_MODEL": "",
    "DIARIZATION_MODEL": "",
    "DEVICES": "cpu,cpu",
    "OMP_NUM_THREADS": "1",
    "SHUTDOWN_TIMEOUT_S": "200",
}


def test_answers_are_those_of_one_process_and_outlive_a_killed_one_and_an_ordered_stop(
    demo_handler: EndpointHandler, conversation_waveform: NDArray[np.float32], speech: bytes, tmp_path: Path
) -> None:
    long = to_wav(np.tile(conversation_waveform, 3))
    parameters = {"diarize": False, "timestamps": "word", "batch_size": 1}
    wanted, wanted_long = (
        demo_handler({"inputs": audio, "parameters": parameters})["chunks"] for audio in (speech, long)
    )
    with (
        ServerProcess(environment(VARIABLES), folder=tmp_path / "jobs", log=tmp_path / "log") as server,
        httpx.Client(base_url=server.ready(), timeout=200) as client,
        ThreadPoolExecutor(8) as pool,
    ):

        def ask(audio: bytes) -> httpx.Response:
            return client.post("/", content=audio, params=parameters, headers={"Content-Type": "audio/wav"})

        def state(name: str) -> list[int]:
            return [device[name] for device in client.get("/health").json()["devices"]]

        assert [answer.json()["chunks"] for answer in pool.map(ask, [speech] * 4)] == [wanted] * 4

        both = [pool.submit(ask, long) for _ in range(2)]
        until(lambda: state("running") == [1, 1])
        os.kill(processes_of(server)[0], signal.SIGKILL)
        assert [answer.result().json()["chunks"] for answer in both] == [wanted_long] * 2
        until(lambda: state("ready") == [True, True])
        assert sorted(state("restarts")) == [0, 1]

        both = [pool.submit(ask, long) for _ in range(2)]
        until(lambda: state("running") == [1, 1])
        processes = processes_of(server)
        for process in (server.process.pid, *processes):  # as systemd does it
            os.kill(process, signal.SIGTERM)
        assert [answer.result().json()["chunks"] for answer in both] == [wanted_long] * 2
        assert server.end() == 0
        assert len(processes) == 2
        assert not any(map(is_alive, processes))


def processes_of(server: ServerProcess) -> list[int]:
    """Those of its devices."""
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    return [int(child) for file in children for child in file.read_text().split()]
