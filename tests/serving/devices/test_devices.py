"""Requests over several processes that run no models: which one works, and what becomes of them when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from config import ModelSettings
from tests.conftest import REPOSITORY
from tests.fakes import CHUNKS, TRANSCRIPT, FakePipeline
from tests.serving.devices import fake_models
from tests.serving.devices.fake_models import TOKEN, recording
from tests.serving.live import serving, until
from turnscribe.devices import gpu_works
from turnscribe.errors import BadAudio, Cancelled, InferenceFailed, SettingsError
from turnscribe.listener import SILENT, Estimate, Listener
from turnscribe.request import Request
from turnscribe.serving.devices.channel import Begin, Channel, Failure, Message, Ready, Start, contents_of, file_of
from turnscribe.serving.devices.device import WAITS_S
from turnscribe.serving.devices.pipeline import PipelineOnDevices
from turnscribe.serving.devices.program import Program
from turnscribe.serving.loading import PipelineLoader
from turnscribe.transcript import Transcript, Turn

pytestmark = pytest.mark.slow

SETTINGS = ModelSettings(asr_model="fake/whisper", hf_token=SecretStr(TOKEN))
REQUEST = Request()


def pipeline(names: str = "cpu,cpu", *, load: Callable[[Any], Any] = fake_models.load, at_once: int = 8) -> Any:
    return PipelineOnDevices(names.split(","), load, first_request=REQUEST, at_once=at_once)


@contextmanager
def started(names: str = "cpu,cpu", **options: Any) -> Iterator[PipelineOnDevices]:
    devices = pipeline(names, **options)
    try:
        yield devices.start(SETTINGS)
    finally:
        devices.close()


@pytest.fixture(scope="module")
def devices() -> Iterator[PipelineOnDevices]:
    """Two that no test ends."""
    with started() as devices:
        yield devices


class Asking:
    """Requests in threads of their own; each is held until `go`."""

    def __init__(self, devices: PipelineOnDevices, folder: Path) -> None:
        self.devices, self.folder = devices, folder
        self.pool = ThreadPoolExecutor(16)
        self._number = 0

    def ask(self, listener: Listener = SILENT, **does: Any) -> tuple[Future[Transcript], Path]:
        """Its answer, and the folder in which the processes that work on it leave their ids."""
        self._number += 1
        begun = self.folder / str(self._number)
        begun.mkdir()
        audio = recording(**{"begun": begun, "until": self.folder / "go", **does})
        return self.pool.submit(self.devices.transcribe, audio, REQUEST, listener), begun

    def go(self) -> None:
        (self.folder / "go").touch()


@pytest.fixture
def asking(devices: PipelineOnDevices, tmp_path: Path) -> Iterator[Asking]:
    asking = Asking(devices, tmp_path)
    yield asking
    asking.go()
    asking.pool.shutdown()


def ids(begun: Path) -> set[int]:
    return {int(file.name) for file in begun.iterdir()}


def process_in(begun: Path) -> int:
    """The process that works on it, once one does."""
    (one,) = until(lambda: ids(begun))
    return one


def is_alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def ready(devices: PipelineOnDevices) -> bool:
    return all(state.ready for state in devices.states)


# Which process works ---------------------------------------------------------------------------------


def test_a_request_goes_to_the_least_busy_device(asking: Asking, devices: PipelineOnDevices) -> None:
    _, first = asking.ask()
    one = process_in(first)
    _, second = asking.ask()
    other = process_in(second)
    assert other != one
    third, begun = asking.ask()
    busy = process_in(begun)
    _, fourth = asking.ask()
    assert process_in(fourth) == ({one, other} - {busy}).pop()
    assert sorted(state.running for state in devices.states) == [2, 2]
    asking.go()
    assert third.result(30).text == str(busy)
    until(lambda: [state.running for state in devices.states] == [0, 0])


def test_of_two_with_as_many_requests_the_one_with_fewer_bytes_is_less_busy(
    asking: Asking, devices: PipelineOnDevices
) -> None:
    _, long = asking.ask(more="x" * 10_000)
    process_in(long)
    _, short = asking.ask()
    process_in(short)
    _, third = asking.ask()
    assert process_in(third) == process_in(short)


def test_a_request_waits_where_no_device_has_room_for_it(tmp_path: Path) -> None:
    with started("cpu", at_once=1) as devices:
        asking = Asking(devices, tmp_path)
        first, begun = asking.ask()
        process = process_in(begun)
        second, waiting = asking.ask()
        with pytest.raises(Cancelled):  # so can one that waits be
            devices.transcribe(recording(), REQUEST, Listener(should_stop=lambda: True))
        assert not ids(waiting)
        asking.go()
        assert {first.result(30).text, second.result(30).text} == {str(process)}


def test_what_is_urgent_waits_for_no_room(tmp_path: Path) -> None:
    urgent = replace(REQUEST, decoding=replace(REQUEST.decoding, urgent=True))
    with started("cpu", at_once=1) as devices:
        asking = Asking(devices, tmp_path)
        held, begun = asking.ask()
        process = process_in(begun)
        assert devices.transcribe(recording(), urgent).text == str(process)
        assert devices.voices(np.ones(3, np.float32)).seconds == {"A": 3.0}
        assert not held.done()
        asking.go()
        assert held.result(30).text == str(process)


# What comes through ----------------------------------------------------------------------------------


def test_voices_come_through(devices: PipelineOnDevices) -> None:
    samples = np.linspace(-1, 1, 50_001, dtype=np.float64)
    heard = devices.voices(samples)
    assert heard.turns == (Turn("A", 0.0, 50_001.0),)
    np.testing.assert_array_equal(heard.embeddings["A"], samples.astype(np.float32))
    known = devices.known_voices({"Ann": b"123", "Bob": b"", "Cleo": b"45"})
    assert {name: voice.tolist() for name, voice in known.items()} == {
        "Ann": [49, 50, 51],
        "Bob": [],
        "Cleo": [52, 53],
    }
    assert devices.voice_similarity == 0.5
    with pytest.raises(InferenceFailed, match=r"^There is nothing to hear\.$"):
        devices.voices(samples[:0])


def test_the_answer_and_what_is_heard_before_it_come_through(devices: PipelineOnDevices) -> None:
    shares: list[float] = []
    stages, ended = list[str](), list[str]()
    chunks: list[Any] = []
    estimates: list[Estimate] = []
    listener = Listener(
        on_progress=shares.append,
        on_stage=stages.append,
        on_stage_end=ended.append,
        on_chunks=chunks.extend,
        on_estimate=estimates.append,
    )
    transcript = devices.transcribe(recording(), REQUEST, listener)
    assert transcript.chunks == TRANSCRIPT.chunks
    assert transcript.timings == TRANSCRIPT.timings
    assert (shares, stages, chunks) == ([0.4, 0.9], ["asr"], list(CHUNKS))
    assert ended == ["asr"]
    assert estimates == [Estimate(0.4, 1.5)]
    assert devices.capabilities == fake_models.load(SETTINGS).capabilities
    assert devices.has_diarizer


def test_cancellation_goes_through(asking: Asking) -> None:
    stop = threading.Event()
    answer, begun = asking.ask(Listener(should_stop=stop.is_set))
    process_in(begun)
    stop.set()
    with pytest.raises(Cancelled):
        answer.result(10)
    assert not (asking.folder / "go").exists()


def test_errors_keep_their_class_and_their_sentence(devices: PipelineOnDevices) -> None:
    with pytest.raises(BadAudio, match=r"^This is no audio: send some\.$"):
        devices.transcribe(recording(refuses="This is no audio: send some."), REQUEST)


def test_an_incident_is_in_the_log_of_its_process_without_the_token(capfd: pytest.CaptureFixture[str]) -> None:
    with started("cpu") as devices, pytest.raises(InferenceFailed, match=r"under [0-9a-f]{12}") as caught:
        devices.transcribe(recording(breaks=f"broken by {TOKEN}"), REQUEST)
    incident = str(caught.value).rstrip(".").rsplit(" ", 1)[1]
    log = capfd.readouterr().err
    assert f"ERROR cpu turnscribe: request failed, incident {incident}" in log
    assert "broken by [HF_TOKEN]" in log
    assert TOKEN not in log


def test_a_recording_comes_across_whole() -> None:
    audio = os.urandom(3_000_001)
    with file_of(audio) as file:
        assert contents_of(os.dup(file)) == audio
    with file_of(b"") as file:
        assert contents_of(os.dup(file)) == b""


# A process that ends ---------------------------------------------------------------------------------


def test_a_request_whose_process_is_killed_is_answered_by_another_and_says_nothing_twice(tmp_path: Path) -> None:
    shares: list[float] = []
    chunks: list[Any] = []
    with started() as devices:
        asking = Asking(devices, tmp_path)
        answer, begun = asking.ask(Listener(on_progress=shares.append, on_chunks=chunks.extend))
        killed = process_in(begun)
        until(lambda: shares)
        assert chunks == list(CHUNKS[:1])  # half of what there is to say
        os.kill(killed, signal.SIGKILL)
        other = until(lambda: ids(begun) - {killed}).pop()
        asking.go()
        assert answer.result(30).text == str(other)
        assert chunks == list(CHUNKS)
        assert shares == sorted(shares)

        until(lambda: ready(devices))
        assert sorted(state.restarts for state in devices.states) == [0, 1]
        assert not is_alive(killed)
        _, first = asking.ask()
        _, second = asking.ask()
        working = {int(future.result(30).text) for future in (asking.ask()[0] for _ in range(4))}
        assert killed not in working | ids(first) | ids(second)


def test_a_recording_that_ends_every_process_fails_and_one_beside_it_does_not(tmp_path: Path) -> None:
    with started() as devices:
        asking = Asking(devices, tmp_path)
        deadly, begun = asking.ask(dies=True, until=tmp_path / "die")
        first = process_in(begun)
        other, beside = asking.ask()
        second = process_in(beside)
        (tmp_path / "die").touch()
        with pytest.raises(
            InferenceFailed, match=r"ended, 2 times, and it is not tried again; .* under [0-9a-f]{12}"
        ):
            deadly.result(60)
        assert ids(begun) == {first, second}
        asking.go()
        assert int(other.result(60).text) not in {first, second}
        until(lambda: ready(devices))
        assert [state.restarts for state in devices.states] == [1, 1]
        assert devices.transcribe(recording(), REQUEST).text


def test_a_request_that_no_process_got_has_lost_no_try(monkeypatch: pytest.MonkeyPatch) -> None:
    send, refused = Channel.send, list[int]()

    def refuse_twice(self: Channel, message: Message, file: int | None = None) -> None:
        if isinstance(message, Start) and len(refused) < 2:
            refused.append(message.number)
            raise BrokenPipeError
        send(self, message, file)

    with started("cpu,cpu,cpu") as devices:
        monkeypatch.setattr(Channel, "send", refuse_twice)
        assert devices.transcribe(recording(), REQUEST).text
        assert len(refused) == 2
        assert [state.ready for state in devices.states].count(False) == 2  # nobody else is sent there


def test_requests_keep_away_from_one_that_was_in_a_process_as_it_ended(tmp_path: Path) -> None:
    with started() as devices:
        suspected, other = devices._devices
        with devices._changed:
            suspected.take(999, 1, suspect=True, urgent=False)
        asking = Asking(devices, tmp_path)
        begun = [asking.ask()[1] for _ in range(3)]
        assert len({process_in(folder) for folder in begun}) == 1
        assert (len(suspected.calls), len(other.calls)) == (1, 3)
        asking.go()
        asking.pool.shutdown()
        suspected.leave(999)


def test_what_cannot_be_sent_to_a_process_is_told() -> None:
    devices = pipeline("cpu", load=lambda settings: None)
    with pytest.raises(SettingsError, match="has to be a function of a module"):
        devices.start(SETTINGS)


def test_a_request_that_nobody_waits_for_is_sent_nowhere(devices: PipelineOnDevices, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        devices.transcribe(recording(begun=tmp_path), REQUEST, Listener(should_stop=lambda: True))
    assert not ids(tmp_path)


def test_requests_that_were_in_a_process_as_it_ended_are_not_together_again(tmp_path: Path) -> None:
    with started("cpu") as devices:
        asking = Asking(devices, tmp_path)
        deadly, begun = asking.ask(dies=True, until=tmp_path / "die")
        others = [asking.ask(seconds=0.3)[0] for _ in range(3)]
        process_in(begun)
        until(lambda: devices.states[0].running == 4)
        asking.go()
        (tmp_path / "die").touch()
        with pytest.raises(InferenceFailed):
            deadly.result(60)
        assert all(other.result(60).text for other in others)


def test_requests_wait_while_the_only_process_is_replaced(tmp_path: Path) -> None:
    with started("cpu") as devices:
        asking = Asking(devices, tmp_path)
        answer, begun = asking.ask()
        killed = process_in(begun)
        loader = PipelineLoader.on_devices(SETTINGS, devices)
        loader._pipeline = devices
        assert loader.is_ready
        os.kill(killed, signal.SIGKILL)
        until(lambda: not loader.is_ready)  # `/health` says so
        asking.go()
        assert answer.result(30).text != str(killed)
        assert loader.is_ready


def test_a_process_that_ends_again_and_again_is_replaced_later_and_later(caplog: pytest.LogCaptureFixture) -> None:
    with started("cpu") as devices:
        for restarts in (1, 2):
            os.kill(int(devices.transcribe(recording(), REQUEST).text), signal.SIGKILL)
            until(lambda restarts=restarts: devices.states[0].restarts == restarts and ready(devices))
    waits = [record.args[1] for record in caplog.records if "is started anew" in record.msg]  # type: ignore[index]
    assert waits == [0, 1]
    assert list(WAITS_S) == sorted(set(WAITS_S))


def test_a_process_whose_device_is_lost_leaves_and_does_not_answer() -> None:
    """After some errors CUDA refuses everything in a process: here it is only said to."""
    ours, theirs = Pipe()
    channel, lost = Channel(ours), threading.Event()
    program = Program(Channel(theirs), device_works=lambda: not lost.is_set())
    thread = threading.Thread(target=program.run)
    thread.start()
    channel.send(Begin(fake_models.load, SETTINGS, REQUEST, needs_gpu=False))
    assert isinstance(channel.receive()[0], Ready)

    def break_one() -> list[Message]:
        with file_of(recording(breaks="CUDA error: an illegal memory access was encountered")) as file:
            channel.send(Start(1, REQUEST), file)
        said: list[Message] = []
        while not (said and isinstance(said[-1], Failure)):
            said.append(channel.receive()[0])
        return said

    assert isinstance(break_one()[-1], Failure)
    lost.set()
    with pytest.raises((EOFError, OSError)):
        break_one()
    thread.join(10)
    assert not thread.is_alive()
    assert gpu_works()  # there is none, or it does


# Models that cannot be loaded, and the end -----------------------------------------------------------


def test_models_that_cannot_be_loaded_end_the_server_with_their_sentence(caplog: pytest.LogCaptureFixture) -> None:
    failed = threading.Event()
    loader = PipelineLoader.on_devices(SETTINGS, pipeline(load=fake_models.load_nothing))
    loader.start(REQUEST, on_ready=lambda: None, on_failure=failed.set)
    assert failed.wait(30)
    assert "the models could not be loaded: ASR_MODEL cannot be loaded: name another." in caplog.text
    assert "Traceback" not in caplog.text


def test_a_process_that_ends_while_it_loads_is_not_tried_again() -> None:
    with pytest.raises(SettingsError, match=r"^Its process ended \(SIGKILL, as where memory runs out\)"):
        pipeline(load=fake_models.end_at_once).start(SETTINGS)


def test_a_gpu_that_is_not_there_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match="DEVICES names a GPU that is not there"):
        pipeline("cuda:63").start(SETTINGS)


def test_closing_ends_processes_that_are_still_loading_and_requests_that_wait(tmp_path: Path) -> None:
    loading = pipeline("cpu")
    starting = ThreadPoolExecutor(1).submit(loading.start, SETTINGS)
    until(lambda: loading.states)
    loading.close()
    with pytest.raises(Cancelled):
        starting.result(10)
    with started("cpu") as devices:
        asking = Asking(devices, tmp_path)
        answer, begun = asking.ask()
        process = process_in(begun)
        devices.close()
        with pytest.raises(Cancelled):
            answer.result(10)
        until(lambda: not is_alive(process))


def test_no_process_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from tests.serving.devices.test_devices import hold; hold()", str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY) as server:
        until(lambda: len(ids(tmp_path)) == 2)
        assert all(map(is_alive, ids(tmp_path)))
        server.kill()
    until(lambda: not any(map(is_alive, ids(tmp_path))), 10)


def hold() -> None:
    """What a server does, until it is killed: two requests, on two devices."""
    folder = Path(sys.argv[1])
    with started() as devices, ThreadPoolExecutor(2) as pool:
        audio = recording(begun=folder, until=folder / "never")
        list(pool.map(lambda audio: devices.transcribe(audio, REQUEST), [audio, audio]))


def test_health_and_metrics_show_the_devices(devices: PipelineOnDevices, tmp_path: Path) -> None:
    loader = PipelineLoader.on_devices(SETTINGS, devices)
    loader.end = lambda: None  # type: ignore[method-assign]
    loader._load = lambda settings: devices
    with serving(loader, tmp_path) as client:
        state = {
            "device": "cpu",
            "ready": True,
            "running": 0,
            "restarts": 0,
            "engine": asdict(FakePipeline().running),
        }
        assert client.get("/health").json() == {"status": "ok", "devices": [state, state]}
        lines = client.get("/metrics").text.splitlines()
        for place in "01":
            assert f'turnscribe_device_ready{{device="cpu",place="{place}"}} 1.0' in lines
            assert f'turnscribe_device_requests{{device="cpu",place="{place}"}} 0.0' in lines
            assert f'turnscribe_device_restarts_total{{device="cpu",place="{place}"}} 0.0' in lines
        assert client.post("/", content=recording(refuses="No.")).status_code == 400
        assert client.post("/", content=recording()).json()["text"].isdigit()
        (model,) = client.get("/v1/models").json()["data"]
        assert model["turnscribe"]["diarization"] is True
        assert model["id"] == "fake/whisper"
