"""Shared fixtures. The demo models are loaded once a session; nothing here needs a network or a token."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from turnscribe.waveform import SAMPLE_RATE, to_wav

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would the programs they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")

REPOSITORY = Path(__file__).resolve().parent.parent
DEMO = {
    "asr_model": "demo/whisper",
    "assistant_model": "demo/assistant",
    "diarization_model": "demo/diarizer",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems() -> None:
    """Forget the modules that speechbrain, which pyannote.audio 3.4 imports, loads only when they are looked at:
    hypothesis looks at every module after collection, and those that need what is not installed fail."""
    for name, module in list(sys.modules.items()):
        if type(module).__module__ == "speechbrain.utils.importutils":
            del sys.modules[name]


@pytest.fixture(autouse=True)
def _threads_stay_as_they_are() -> Iterator[None]:
    """Texts that are compared come from one number of threads, whatever the machine is busy with.

    Not by `monkeypatch`: asked for here, it would be made before every other fixture and undone last, so a test that
    replaces `os.scandir` would still have it replaced while pytest removes that test's folder.
    """
    from turnscribe import threads

    load, threads._load = threads._load, None
    yield
    threads._load = load


@pytest.fixture(scope="session")
def demo_handler():
    """An `EndpointHandler` with the three demo models."""
    from config import ModelSettings
    from handler import EndpointHandler

    return EndpointHandler(str(REPOSITORY), ModelSettings(**DEMO))


@pytest.fixture(scope="session")
def reference_asr():
    """The transformers backend with the demo models."""
    from turnscribe.asr.registry import load_asr

    whisper, assistant = (str(REPOSITORY / DEMO[name]) for name in ("asr_model", "assistant_model"))
    return load_asr(whisper, assistant=assistant, backend="transformers")


@pytest.fixture(scope="session")
def conversation() -> bytes:
    """The demo recording, a flac file of under a minute with three speakers."""
    return (REPOSITORY / "demo" / "conversation.flac").read_bytes()


@pytest.fixture(scope="session")
def conversation_waveform(conversation: bytes) -> NDArray[np.float32]:
    from turnscribe.inputs.decode import decode_audio

    return decode_audio(conversation).mono


@pytest.fixture(scope="session")
def speech(conversation_waveform: NDArray[np.float32]) -> bytes:
    """The first 12 s of the demo recording, as a wav file."""
    return to_wav(conversation_waveform[: 12 * SAMPLE_RATE])


@pytest.fixture
def pipeline() -> Any:
    """One that runs no model (`fakes.FakePipeline`)."""
    from tests.fakes import FakePipeline

    return FakePipeline()


@pytest.fixture
def client(pipeline: Any, tmp_path: Path) -> Iterator[Any]:
    """An `httpx.Client` of a server on loopback with `pipeline` behind it."""
    from tests.serving.live import serving

    with serving(pipeline, tmp_path) as client:
        yield client


@pytest.fixture(params=["fake", pytest.param("cuda", marks=pytest.mark.cuda)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A `Device` of the kind "cuda": every test of a GPU's branches runs on the stand-in and, where there is one, on
    a real GPU, whose products are then as exact as the processor's."""
    import torch

    from tools.fake_gpu import FakeGpu
    from turnscribe.devices import device_of

    if request.param == "fake":
        yield FakeGpu()
        return
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    from tools.benchmarks.cuda.equality import without_tf32

    with without_tf32():
        yield device_of("cuda")


@pytest.fixture
def no_gradients() -> Iterator[None]:
    """And one thread: of two, on a busy machine, each waits for the other longer than so small a product takes."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def needs_program() -> Callable[[str], str]:
    """Names a program the test needs. Without it the test is skipped; in CI, which installs it, it fails."""

    def find(program: str) -> str:
        found = shutil.which(program)
        if found is None:
            message = f"install {program} (Debian: apt-get install {program}) to run this test"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
        return found

    return find
