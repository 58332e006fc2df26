"""Clients as people have them, against `python -m server` with the demo models: the OpenAI SDK, huggingface_hub old
and new, requests, curl, and the README's own calls.

Each client is a script in tests/serving/clients that prints JSON, beside the requirements it asks for. It runs in
this environment where they are met here, else in one of its own under .venv-clients, made once (needs PyPI).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.requirements import Requirement

from config import parse_config
from tests.conftest import DEMO, REPOSITORY
from tests.manual import block
from tests.serving.live import until
from turnscribe.formats import render
from turnscribe.transcript import Transcript
from turnscribe.waveform import to_wav

pytestmark = [
    pytest.mark.models,
    pytest.mark.serving,
    pytest.mark.skipif(
        version("transformers").startswith("4."),
        reason="the server is the same on the oldest versions: its clients are tried on the current ones",
    ),
]

CLIENTS = REPOSITORY / "tests" / "serving" / "clients"
ENVIRONMENTS = REPOSITORY / ".venv-clients"
KEY = "a-key-of-these-tests"
USAGE = {"type": "duration", "seconds": 12.0}
CLIP_SECONDS = (2.0, 10.0)  # what a known speaker's clip may last

Run = Callable[..., Any]


# Environments ----------------------------------------------------------------------------------------


def interpreter(name: str) -> str:
    """The Python that has what tests/serving/clients/NAME.txt asks for."""
    requirements = CLIENTS / f"{name}.txt"
    lines = [line for line in requirements.read_text().splitlines() if line and not line.startswith("#")]
    if all(met_here(Requirement(line)) for line in lines):
        return sys.executable
    folder = ENVIRONMENTS / name
    python, marker = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256("\n".join([sys.version, *lines]).encode()).hexdigest()
    if not marker.exists() or marker.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        checked([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--retries", "2", "--timeout", "60"]
        checked([*pip, "install", "--quiet", "--requirement", str(requirements)], "this test installs a client")
        marker.write_text(wanted)
    return str(python)


def met_here(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name))
    except PackageNotFoundError:
        return False


def checked(command: list[str], purpose: str = "", **variables: str) -> str:
    """What a command prints. Tokens, mirrors and the offline switch of this machine are not its business."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "OPENAI_"))}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", **variables}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=570)
    if done.returncode:
        pytest.fail(f"{purpose or 'a command'} failed: {' '.join(command)[:200]}\n{done.stderr[-3000:]}")
    return done.stdout


# The server ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    url: str
    log: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The README's command. One request at a time and no queue, so that a second one is refused."""
    folder = tmp_path_factory.mktemp("server")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    variables = {name.upper(): value for name, value in DEMO.items()}
    variables |= {"PORT": str(port), "JOBS_FOLDER": str(folder / "jobs"), "API_KEYS": f"another,{KEY}"}
    variables |= {"MAX_CONCURRENT_REQUESTS": "1", "MAX_QUEUED_REQUESTS": "0"}
    found = Server(f"http://127.0.0.1:{port}", folder / "log")
    with found.log.open("w") as log:
        command = [*block("sh", "make serve").split(), f"VENV={sys.prefix}"]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ | variables, stdout=log, stderr=log, start_new_session=True
        )

    def healthy() -> bool:
        assert process.poll() is None, found.log.read_text()[-3000:]
        return httpx.get(f"{found.url}/health").status_code == 200

    try:
        until(healthy, 240)
        yield found
        os.killpg(process.pid, signal.SIGTERM)  # make's and the server's
        process.wait(60)
        until(lambda: "Finished server process" in found.log.read_text())
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    said = found.log.read_text()
    assert KEY not in said
    assert "Traceback" not in said, said[-3000:]


@pytest.fixture(scope="module")
def ask(server: Server) -> Run:
    """Runs a client with the server's address, a key and further arguments."""

    def run(name: str, *arguments: str | Path) -> Any:
        script = [interpreter(name), str(CLIENTS / f"{name}.py"), server.url, KEY, *map(str, arguments)]
        return json.loads(checked(script, f"the client {name}"))

    return run


# What the handler says itself ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording(speech: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 12 s of the conversation, in which two people speak."""
    file = tmp_path_factory.mktemp("audio") / "speech.wav"
    file.write_bytes(speech)
    return file


@pytest.fixture(scope="module")
def undiarized(demo_handler: Any, speech: bytes) -> Transcript:
    return demo_handler.pipeline.transcribe(speech, parse_config({"diarize": False, "timestamps": "word"}))


@pytest.fixture(scope="module")
def diarized(demo_handler: Any, speech: bytes) -> Transcript:
    return demo_handler.pipeline.transcribe(speech, parse_config({"timestamps": "word"}))


def spoken(parts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Who said what, of chunks or segments."""
    return [(part["speaker"], part["text"]) for part in parts]


def expected(transcript: Transcript) -> list[tuple[str, str]]:
    return [(chunk.speaker or "", chunk.text) for chunk in transcript.chunks]


# The OpenAI SDK --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(demo_handler: Any, conversation: bytes, conversation_waveform: Any, recording: Path) -> dict[str, Path]:
    """The longest turn of each of two of the three people, as the diarizer hears them."""
    turns = demo_handler.pipeline.transcribe(conversation, parse_config({"diarize": True})).turns
    longest = {turn.speaker: turn for turn in sorted(turns, key=lambda turn: turn.end - turn.start)}
    lengths = {turn.speaker: turn for turn in longest.values() if turn.end - turn.start >= CLIP_SECONDS[0]}
    assert len(lengths) >= 2
    files = {}
    for name, turn in zip(("Ann", "Bob"), lengths.values(), strict=False):
        files[name] = recording.with_name(f"{name}.wav")
        end = min(turn.end, turn.start + CLIP_SECONDS[1])
        files[name].write_bytes(to_wav(conversation_waveform[round(turn.start * 16_000) : round(end * 16_000)]))
    return files


@pytest.fixture(scope="module")
def openai(ask: Run, recording: Path, clips: dict[str, Path]) -> dict[str, Any]:
    conversation = REPOSITORY / "demo" / "conversation.flac"
    return ask("openai_sdk", recording, conversation, *(f"{name}={file}" for name, file in clips.items()))


def test_the_openai_sdk_gets_every_format(
    openai: dict[str, Any], undiarized: Transcript, diarized: Transcript
) -> None:
    got = openai["sync"]["formats"]
    assert got["json"] == openai["async"]["json"] == {"text": undiarized.text, "usage": USAGE}
    assert got["handlers_own"]["text"] == undiarized.text
    for wanted in ("text", "srt", "vtt"):
        assert got[wanted] == render(undiarized, wanted)
    verbose = got["verbose_json"]
    assert (verbose["text"], verbose["language"], verbose["duration"]) == (undiarized.text, "english", 12.0)
    assert [segment["text"] for segment in verbose["segments"]] == [chunk.text for chunk in undiarized.chunks]
    assert [word["word"] for word in verbose["words"]] == undiarized.text.split()
    assert [word["start"] for word in verbose["words"]] == pytest.approx(
        [word.start for word in undiarized.words], abs=0.05
    )
    assert "words" not in got["segments_only"]
    assert spoken(got["diarized_json"]["segments"]) == expected(diarized)
    assert len({segment["speaker"] for segment in got["diarized_json"]["segments"]}) == 2


def test_the_openai_sdk_gets_the_probabilities_of_tokens(openai: dict[str, Any], undiarized: Transcript) -> None:
    whole = openai["sync"]["formats"]["logprobs"]
    assert "".join(one["token"] for one in whole["logprobs"]).strip() == undiarized.text
    assert all(bytes(map(int, one["bytes"])).decode() == one["token"] for one in whole["logprobs"])
    words = [word.probability for word in undiarized.words]
    likely = [math.exp(one["logprob"]) for one in whole["logprobs"]]
    assert min(likely) <= min(words) + 1e-3
    assert max(likely) >= max(words) - 1e-3
    *deltas, done = openai["sync"]["likely_stream"]
    assert done["logprobs"] == whole["logprobs"] == [one for event in deltas for one in event["logprobs"]]
    assert all("logprobs" not in event for event in openai["sync"]["stream"])


@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_openai_sdk_reads_a_stream(openai: dict[str, Any], undiarized: Transcript, way: str) -> None:
    *deltas, done = openai[way]["stream"]
    assert {event["class"] for event in deltas} == {"TranscriptionTextDeltaEvent"}
    assert done == {"class": "TranscriptionTextDoneEvent", "type": "transcript.text.done", "text": undiarized.text}
    assert "".join(event["delta"] for event in deltas) == undiarized.text


def test_the_openai_sdk_reads_a_stream_of_speakers(openai: dict[str, Any], diarized: Transcript) -> None:
    events = openai["sync"]["diarized_stream"]
    deltas, segments = ([event for event in events if event["type"].endswith(kind)] for kind in ("delta", "segment"))
    assert {event["class"] for event in segments} == {"TranscriptionTextSegmentEvent"}
    assert spoken(segments) == expected(diarized)
    assert "".join(event["delta"] for event in deltas) == events[-1]["text"] == diarized.text


def test_the_openai_sdk_names_known_speakers(
    openai: dict[str, Any], clips: dict[str, Path], demo_handler: Any, conversation: bytes
) -> None:
    known = {name: file.read_bytes() for name, file in clips.items()}
    request = replace(parse_config({"diarize": True}), known_speakers=known)
    segments = openai["sync"]["known"]["segments"]
    directly = demo_handler.pipeline.transcribe(conversation, request)
    assert spoken(segments) == expected(directly)
    speakers = {segment["speaker"] for segment in segments}
    assert {"Ann", "Bob"} < speakers
    assert all(name.startswith("SPEAKER_") for name in speakers - {"Ann", "Bob"})


def test_the_openai_sdk_translates(openai: dict[str, Any], demo_handler: Any, speech: bytes) -> None:
    directly = demo_handler.pipeline.transcribe(speech, parse_config({"task": "translate", "diarize": False}))
    assert openai["sync"]["translation"] == {"text": directly.text, "usage": USAGE}


@pytest.mark.parametrize(("name", "version"), [("openai_parameters", "3."), ("openai_parameters_2025", "2.8.")])
def test_every_parameter_of_the_openai_sdk_is_honoured_or_named(
    ask: Run, recording: Path, clips: dict[str, Path], name: str, version: str
) -> None:
    found = ask(name, recording, clips["Ann"])
    assert found.pop("version").startswith(version)
    assert len(found["transcriptions"]) > 10
    assert set(found["translations"]) == {"model", "prompt", "response_format", "temperature"}
    said = []
    for parameters in found.values():
        for parameter, answers in parameters.items():
            for answer in answers:
                assert answer["text"], parameter
                said += [(parameter, warning) for warning in answer["warnings"]]
    assert said == [
        (
            "chunking_strategy",
            "chunking_strategy had no effect with prefix_padding_ms and silence_duration_ms: recordings are cut in "
            "their pauses.",
        ),
        ("include", "include had no effect: srt has no place for probabilities."),
        ("timestamp_granularities", "timestamp_granularities had no effect: json has its own."),
    ]


def test_the_openai_sdk_lists_the_model(openai: dict[str, Any]) -> None:
    (model,) = openai["sync"]["models"]
    assert model == openai["sync"]["model"] == openai["async"]["model"]
    assert model["id"] == "demo/whisper"
    assert model["turnscribe"]["diarization"] is True


def test_the_openai_sdk_raises_its_own_errors(openai: dict[str, Any]) -> None:
    refusals = openai["sync"]["refusals"]
    assert {what: (error["class"], error["status"], error["code"]) for what, error in refusals.items()} == {
        "parameter": ("BadRequestError", 400, "invalid_request"),
        "audio": ("BadRequestError", 400, "invalid_request"),
        "key": ("AuthenticationError", 401, "invalid_api_key"),
        "stream": ("BadRequestError", 400, "invalid_request"),
        "path": ("NotFoundError", 404, "not_found"),
    }
    assert "response_format is 'pdf'" in refusals["parameter"]["message"]


def test_the_openai_sdk_is_refused_by_a_busy_server_and_waits_for_it(
    openai: dict[str, Any], undiarized: Transcript
) -> None:
    answered = [answer for answer in openai["async"]["rushed"] if "text" in answer]
    refused = [answer for answer in openai["async"]["rushed"] if "text" not in answer]
    assert answered
    assert refused
    for error in refused:
        assert (error["class"], error["status"], error["code"]) == ("InternalServerError", 503, "overloaded")
        assert int(error["retry_after"]) >= 1
    assert [answer["text"] for answer in openai["async"]["patient"]] == [undiarized.text] * 2


# huggingface_hub and requests ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hub_current", "hub_0_23"])
def test_huggingface_hubs_clients(ask: Run, recording: Path, diarized: Transcript, name: str) -> None:
    got = ask(name, recording)
    for answer in [*got["sync"].values(), *got["async"].values()]:
        assert answer["text"] == diarized.text
    for way in ("sync", "async"):
        assert spoken(got[way]["raw"]["chunks"]) == expected(diarized)
        assert spoken(got[way]["json"]["chunks"]) == expected(diarized)
        assert [word["word"] for word in got[way]["json"]["words"]] == [word.text for word in diarized.words]
        assert "words" not in got[way]["raw"]
    assert got["refusals"]["key"]["status"] == 401
    assert got["refusals"]["parameter"]["status"] == 400
    assert "batch_size" in json.loads(got["refusals"]["parameter"]["body"])["error"]


def test_requests(ask: Run, recording: Path, diarized: Transcript) -> None:
    got = ask("requests_client", recording)
    for way in ("json", "raw", "form"):
        assert got[way]["text"] == diarized.text
        assert spoken(got[way]["chunks"]) == expected(diarized)
        assert len(got[way]["words"]) == len(diarized.words)
    assert got["stream"][-1]["type"] == "transcript.text.done"
    assert got["refusals"]["key"]["status"] == 401
    assert got["refusals"]["parameter"]["status"] == 400
    assert "batch_size" in got["refusals"]["parameter"]["body"]["error"]


# curl ------------------------------------------------------------------------------------------------


@pytest.fixture
def curl(server: Server, needs_program: Callable[[str], str]) -> Callable[..., str]:
    program = needs_program("curl")
    common = [program, "--fail-with-body", "--silent", "--show-error", "--header", f"Authorization: Bearer {KEY}"]
    return lambda path, *arguments: checked([*common, *arguments, server.url + path], "curl")


def test_curl_sends_the_file_itself(curl: Callable[..., str], recording: Path, diarized: Transcript) -> None:
    for kind in ((), ("--header", "Content-Type: audio/wav")):
        answer = json.loads(curl("/?response_format=srt", *kind, "--data-binary", f"@{recording}"))
        assert spoken(answer["chunks"]) == expected(diarized)
        assert answer["formatted"].startswith("1\n00:00:00,")


def test_curl_sends_a_form(
    curl: Callable[..., str], recording: Path, diarized: Transcript, undiarized: Transcript
) -> None:
    assert spoken(json.loads(curl("/", "--form", f"file=@{recording}"))["chunks"]) == expected(diarized)
    form = ("--form", f"file=@{recording}", "--form", "model=whisper-1")
    path = "/v1/audio/transcriptions"
    assert json.loads(curl(path, *form)) == {"text": undiarized.text, "usage": USAGE}
    assert curl(path, *form, "--form", "response_format=vtt") == render(undiarized, "vtt")
    words = json.loads(
        curl(path, *form, "-F", "response_format=verbose_json", "-F", "timestamp_granularities[]=word")
    )["words"]
    assert len(words) == len(undiarized.words)
    streamed = curl(path, "--no-buffer", *form, "--form", "stream=true").split("\n\n")
    assert json.loads(streamed[-2].removeprefix("data: "))["text"] == undiarized.text


# The README's calls ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "marker"),
    [
        ("requests_client", "requests.post"),
        ("hub_current", "extra_body"),
        ("hub_0_23", "client.post"),
        ("openai_sdk", "from openai import OpenAI"),
    ],
)
def test_the_readmes_python(server: Server, name: str, marker: str) -> None:
    prelude = f"ENDPOINT_URL = SERVER_URL = {server.url!r}\nREAD_TOKEN = API_KEY = {KEY!r}\n"
    printed = checked([interpreter(name), "-c", prelude + block("python", marker)])
    assert "the customer is not happy" in printed


def test_the_readmes_curl(server: Server, needs_program: Callable[[str], str]) -> None:
    needs_program("curl")
    text = block("sh", '"$ENDPOINT_URL"')
    answer = json.loads(checked(["bash", "-ec", text], ENDPOINT_URL=server.url, READ_TOKEN=KEY))
    assert answer["formatted"].startswith("1\n00:00:0")
