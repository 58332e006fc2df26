"""The job on a real cluster of two nodes on this machine, with the demo models: what is lost, stopped or bad."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.adapters.ray.cluster import Cluster, cluster, start_job
from tests.conftest import DEMO, REPOSITORY
from turnscribe.bulk.manifest import REPORT
from turnscribe.waveform import to_wav

TOKEN = "hf_a_token_that_no_log_may_hold"
WITNESS = REPOSITORY / "tests" / "adapters" / "ray" / "witness"
CLIPS = 5  # different ones
CLIP_SECONDS = 3
A_WHILE = 300  # seconds; on a busy machine


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with a line for each time that a recording was opened: by which node, and its name."""
    return tmp_path_factory.mktemp("witness") / "opened.log"


@pytest.fixture(scope="module")
def running(opened: Path) -> Iterator[Cluster]:
    with cluster(nodes=2, PYTHONPATH=str(WITNESS), WITNESS_LOG=str(opened)) as started:
        yield started


@pytest.fixture
def nodes(running: Cluster, opened: Path) -> Cluster:
    """Two of them, also where a test has killed one; nothing opened yet."""
    opened.write_bytes(b"")
    if any(node.poll() is not None for node in running.nodes[1:]):
        running.nodes[1:] = []
        running.add_node(PYTHONPATH=str(WITNESS), WITNESS_LOG=str(opened))
        running.wait()
    return running


@pytest.fixture(scope="module")
def clips(conversation_waveform: Any) -> list[bytes]:
    rate = 16_000
    starts = [index * 8 * rate for index in range(CLIPS)]
    return [to_wav(conversation_waveform[start : start + CLIP_SECONDS * rate]) for start in starts]


@pytest.fixture(scope="module")
def texts(clips: list[bytes]) -> list[str]:
    """What one process hears in the clips, without a cluster."""
    from config import ModelSettings, parse_config
    from handler import EndpointHandler

    pipeline = EndpointHandler(str(REPOSITORY), ModelSettings(asr_model=DEMO["asr_model"])).pipeline
    return [pipeline.transcribe(clip, parse_config({"language": "en"})).text for clip in clips]


@pytest.fixture
def start(nodes: Cluster, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the job over `in` with its results in `out`; whatever is left of it ends with the test."""
    jobs = []

    def started(*argv: str, **environ: str) -> subprocess.Popen[str]:
        given = (str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--address", nodes.address)
        models = {"ASR_MODEL": DEMO["asr_model"], "HF_TOKEN": TOKEN}
        jobs.append(
            start_job(
                *given, "--parameters", '{"language": "en"}', *argv, environ=nodes.environment | models | environ
            )
        )
        return jobs[-1]

    yield started
    for job in jobs:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()


def fill(folder: Path, clips: list[bytes], number: int) -> list[str]:
    folder.mkdir()
    names = [f"{index:03}.wav" for index in range(number)]
    for index, name in enumerate(names):
        (folder / name).write_bytes(clips[index % len(clips)])
    return names


def answers(folder: Path) -> dict[str, dict[str, Any]]:
    """By recording; reading them fails where one is not whole."""
    return {file.name.removesuffix(".json"): json.loads(file.read_text()) for file in folder.glob("[!.]*.json")}


def report(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / REPORT).read_text().splitlines()]


def opened_by(log: Path, *nodes: str) -> list[str]:
    lines = (line.split() for line in log.read_text().splitlines())
    return [name for node, name in lines if node in nodes]


def wait_for(job: subprocess.Popen[str], condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + A_WHILE
    while not condition():
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_a_node_lost_midway_costs_no_file(
    start: Callable[..., Any], nodes: Cluster, clips: list[bytes], texts: list[str], opened: Path, tmp_path: Path
) -> None:
    names = fill(tmp_path / "in", clips, 40)
    job = start("--files-per-bundle", "4", "--format", "srt")
    wait_for(job, lambda: set(opened_by(opened, "1")) - set(answers(tmp_path / "out")))
    nodes.kill_node(1)
    assert len(answers(tmp_path / "out")) < 36
    _, err = job.communicate(timeout=A_WHILE)
    assert job.returncode == 0, err
    assert "were with workers that died or had no models: again, each by itself" in err
    assert "40 done" in err
    written = answers(tmp_path / "out")
    assert [written[name]["text"] for name in names] == [texts[index % CLIPS] for index in range(40)]
    assert sorted(written) == names
    assert sorted(file.name for file in (tmp_path / "out").glob("*.srt")) == [f"{name}.srt" for name in names]
    assert [Path(entry["uri"]).name for entry in report(tmp_path / "out")] == names
    assert {entry["status"] for entry in report(tmp_path / "out")} == {"done"}


def test_a_stopped_job_goes_on_with_the_rest(
    start: Callable[..., Any], nodes: Cluster, clips: list[bytes], texts: list[str], opened: Path, tmp_path: Path
) -> None:
    names = fill(tmp_path / "in", clips, 24)
    job = start("--files-per-bundle", "2")
    wait_for(job, lambda: nodes.actors() and len(answers(tmp_path / "out")) >= 5)
    os.killpg(job.pid, signal.SIGINT)  # as a terminal does
    _, err = job.communicate(timeout=A_WHILE)
    assert job.returncode == 130, err
    nodes.wait_for_actors()  # what they wrote until then counts
    first = answers(tmp_path / "out")
    assert len(first) < 24
    told = {Path(entry["uri"]).name: entry.get("status") for entry in report(tmp_path / "out")}
    assert sorted(told) == names
    done = {name for name, status in told.items() if status == "done"}  # as far as the job had heard
    assert done <= set(first)
    assert {told[name] for name in set(names) - done} == {None}
    assert f"{len(done)} done (" in err.splitlines()[-1]

    opened.write_bytes(b"")
    job = start()
    _, err = job.communicate(timeout=A_WHILE)
    assert job.returncode == 0, err
    assert f"{24 - len(first)} done" in err
    assert f"{len(first)} there already" in err
    assert Counter(opened_by(opened, "0", "1")) == dict.fromkeys(sorted(set(names) - set(first)), 1)
    assert [answers(tmp_path / "out")[name]["text"] for name in names] == [texts[i % CLIPS] for i in range(24)]
    statuses = {Path(entry["uri"]).name: entry["status"] for entry in report(tmp_path / "out")}
    assert statuses == {name: "exists" if name in first else "done" for name in names}


def test_a_second_ctrl_c_ends_the_job_at_once(start: Callable[..., Any], clips: list[bytes], tmp_path: Path) -> None:
    fill(tmp_path / "in", clips, 30)
    job = start("--files-per-bundle", "2")
    wait_for(job, lambda: len(answers(tmp_path / "out")) >= 2)
    os.killpg(job.pid, signal.SIGINT)
    time.sleep(0.05)
    os.killpg(job.pid, signal.SIGINT)
    began = time.monotonic()
    job.communicate(timeout=A_WHILE)
    assert time.monotonic() - began < 5
    assert job.returncode in (130, -signal.SIGINT)
    assert len(answers(tmp_path / "out")) < 30


def test_files_that_fail_or_kill_their_worker_are_reported_and_the_others_done(
    start: Callable[..., Any], clips: list[bytes], texts: list[str], opened: Path, tmp_path: Path
) -> None:
    names = fill(tmp_path / "in", clips, 8)
    (tmp_path / "in" / "no-audio.wav").write_bytes(b"not audio" * 10_000)
    (tmp_path / "in" / "kills-its-worker.wav").write_bytes(clips[0])
    job = start("--files-per-bundle", "3")
    _, err = job.communicate(timeout=A_WHILE)
    assert job.returncode == 1, err
    assert "8 done" in err
    assert "2 failed" in err
    entries = {Path(entry["uri"]).name: entry for entry in report(tmp_path / "out")}
    assert {name for name, entry in entries.items() if entry["status"] == "done"} == set(names)
    assert "not audio" in entries["no-audio.wav"]["error"]
    assert "died with it or had no models 3 times" in entries["kills-its-worker.wav"]["error"]
    assert Counter(opened_by(opened, "0", "1"))["kills-its-worker.wav"] == 3
    written = answers(tmp_path / "out")
    assert [written[name]["text"] for name in names] == [texts[i % CLIPS] for i in range(8)]
    assert sorted(written) == names


def test_a_worker_whose_device_is_broken_starts_anew_and_fails_no_file(
    start: Callable[..., Any], clips: list[bytes], texts: list[str], opened: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    names = [f"breaks-a-device-{index:02}.wav" for index in range(12)]
    for index, name in enumerate(names):
        (tmp_path / "in" / name).write_bytes(clips[index % CLIPS])
    _, err = start("--files-per-bundle", "6").communicate(timeout=A_WHILE)
    assert (tmp_path / "in" / "broken").exists()
    assert "6 files were with workers that died" in err
    assert "12 done" in err
    assert [answers(tmp_path / "out")[name]["text"] for name in names] == [texts[i % CLIPS] for i in range(12)]


def test_a_wrong_token_is_one_sentence(
    start: Callable[..., Any], nodes: Cluster, clips: list[bytes], tmp_path: Path
) -> None:
    fill(tmp_path / "in", clips, 1)
    wrong = "f" * 32
    job = start(RAY_AUTH_TOKEN=wrong)
    out, err = job.communicate(timeout=A_WHILE)
    assert job.returncode == 2, err
    (said,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert f"at {nodes.address} could not be joined (" in said
    assert "RAY_AUTH_TOKEN" in said
    assert "Traceback" not in err
    assert wrong not in out + err


def test_recordings_and_results_in_s3_with_the_shells_keys(
    start: Callable[..., Any], nodes: Cluster, clips: list[bytes], texts: list[str], s3: Any
) -> None:
    for index, clip in enumerate(clips):
        s3.put_object(Bucket="talks", Key=f"in/monday/{index}.wav", Body=clip)
    keys = {
        "AWS_ENDPOINT_URL": s3.meta.endpoint_url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "s3cret-key",
    }
    given = [argument for name in keys for argument in ("--env", name)]
    job = start_job(
        *("s3://talks/in", "--output", "s3://talks/out", "--address", nodes.address, "--format", "vtt", *given),
        environ=nodes.environment | keys | {"ASR_MODEL": DEMO["asr_model"], "INFERENCE_LANGUAGE": "en"},
    )
    _, err = job.communicate(timeout=A_WHILE)
    assert job.returncode == 0, err
    written = {item["Key"] for item in s3.list_objects_v2(Bucket="talks", Prefix="out/")["Contents"]}
    expected = {f"out/monday/{index}.wav.{suffix}" for index in range(CLIPS) for suffix in ("json", "vtt")}
    assert written == expected | {f"out/{REPORT}"}

    def body(key: str) -> str:
        return str(s3.get_object(Bucket="talks", Key=key)["Body"].read().decode())

    assert [json.loads(body(f"out/monday/{index}.wav.json"))["text"] for index in range(CLIPS)] == texts
    assert {json.loads(line)["status"] for line in body(f"out/{REPORT}").splitlines()} == {"done"}
    assert _files_with(b"s3cret-key", nodes.folder) == []


def test_no_log_of_the_cluster_has_the_token(
    start: Callable[..., Any], nodes: Cluster, clips: list[bytes], tmp_path: Path
) -> None:
    fill(tmp_path / "in", clips, 1)
    out, err = start("--worker-logs").communicate(timeout=A_WHILE)
    assert TOKEN not in out + err
    assert "1 done" in err
    assert _files_with(b"working_dir", nodes.folder)  # the logs are there
    assert _files_with(TOKEN.encode(), nodes.folder) == []


def _files_with(text: bytes, folder: Path) -> list[Path]:
    return [file for file in folder.rglob("logs/**/*") if file.is_file() and text in file.read_bytes()]


@pytest.fixture
def s3() -> Iterator[Any]:
    """A client of a server on loopback that has an empty bucket "talks"."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        client = boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="s3cret-key",
        )
        client.create_bucket(Bucket="talks")
        yield client
        reset = urllib.request.Request(f"{client.meta.endpoint_url}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset).close()  # servers of one process share their buckets
    finally:
        server.stop()


def test_a_long_recording_is_shared_out_among_the_nodes(
    start: Callable[..., Any], clips: list[bytes], texts: list[str], conversation_waveform: Any, tmp_path: Path
) -> None:
    from config import ModelSettings, parse_config
    from handler import EndpointHandler

    fill(tmp_path / "in", clips, 2)
    long = to_wav(np.tile(conversation_waveform, 3))
    (tmp_path / "in" / "day.wav").write_bytes(long)
    job = start("--part-minutes", "0.5", "--format", "srt")
    _, err = job.communicate(timeout=A_WHILE)
    assert job.returncode == 0, err
    assert "1 long recordings have 5 parts, 0 of them there already." in err
    assert "3 done" in err
    pipeline = EndpointHandler(str(REPOSITORY), ModelSettings(asr_model=DEMO["asr_model"])).pipeline
    written = answers(tmp_path / "out")
    assert written["day.wav"]["text"] == pipeline.transcribe(long, parse_config({"language": "en"})).text
    assert [written[name]["text"] for name in ("000.wav", "001.wav")] == texts[:2]
    assert sorted(file.name for file in (tmp_path / "out").iterdir() if not file.name.startswith(".")) == sorted(
        [*(f"{name}.{suffix}" for name in written for suffix in ("json", "srt")), REPORT]
    )
