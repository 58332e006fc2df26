"""The manual's commands for Ray as they are written there. Those of a cluster are parsed, by Ray itself and by the
job; what they do is in `test_cluster.py`."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from pathlib import Path

import pytest
from numpy.typing import NDArray

from adapters.ray.command import parse_arguments
from config import parse_config
from tests.adapters.ray.cluster import Cluster
from tests.conftest import REPOSITORY
from tests.manual import block
from tests.test_readme import run_shell
from turnscribe.bulk.manifest import REPORT, parse
from turnscribe.waveform import to_wav

CLUSTER = block("sh", "ray start").replace("\\\n", "")


@pytest.mark.models
def test_a_folder_is_transcribed_on_this_machine(conversation_waveform: NDArray, tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "monday.wav").write_bytes(to_wav(conversation_waveform[: 8 * 16_000]))
    for name in ("requirements.txt", "requirements-ray.txt"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    text = block("sh", "requirements-ray.txt")
    for name, model in {
        "ASR_MODEL=openai/whisper-large-v3": "whisper",
        "DIARIZATION_MODEL=open": "diarizer",
    }.items():
        assert name in text
        text = text.replace(name, f"{name.partition('=')[0]}={REPOSITORY / 'demo' / model}")
    text = text.replace("python -m", "exec python -m")  # a Ray ends with its job, and the job with this process
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as short:  # Ray's sockets are in it
        own = {"PATH": path, "PYTHONPATH": str(REPOSITORY), "RAY_TMPDIR": short}
        run_shell(text, tmp_path, **own, PIP_NO_INDEX="1", OMP_NUM_THREADS="1")  # everything is installed
    written = {file.name for file in (tmp_path / "transcripts").iterdir()}
    assert written == {"monday.wav.json", "monday.wav.srt", REPORT}
    assert json.loads((tmp_path / "transcripts" / "monday.wav.json").read_text())["speakers"]


@pytest.mark.filterwarnings("ignore")  # of Ray's own modules
def test_ray_knows_the_commands_that_start_and_stop_the_cluster() -> None:
    from ray.scripts.scripts import cli

    commands = [shlex.split(line, comments=True) for line in CLUSTER.splitlines() if line.startswith("ray ")]
    contexts = [cli.commands[name].make_context(name, options) for _, name, *options in commands]
    head, node, stop = (context.params for context in contexts)
    assert (head["head"], head["port"], head["disable_usage_stats"]) == (True, 6379, True)
    assert (node["head"], node["address"], node["disable_usage_stats"]) == (False, "FIRST:6379", True)
    assert stop["force"] is False


def test_the_cluster_lets_in_who_has_its_token(tmp_path: Path) -> None:
    """By the variables of the real one."""
    (exported,) = [line for line in CLUSTER.splitlines() if line.startswith("export ")]
    variables = dict(pair.split("=") for pair in shlex.split(exported, comments=True)[1:])
    assert variables.keys() == {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"}
    assert Cluster(tmp_path).environment["RAY_AUTH_MODE"] == variables["RAY_AUTH_MODE"]


def test_the_job_for_the_cluster_is_a_valid_one() -> None:
    (command,) = [line for line in CLUSTER.splitlines() if line.startswith("python ")]
    _, _, module, *words = shlex.split(command, comments=True)
    assert module == "scripts.ray"
    args = parse_arguments(words)
    assert (args.inputs, args.output) == (["s3://bucket/talks"], "s3://bucket/transcripts")
    assert (args.address, args.format, args.upload) == ("auto", ["srt", "vtt"], True)
    assert parse_config(args.parameters).decoding.language == "en"


def test_the_line_of_a_manifest_is_read() -> None:
    (entry,) = parse(block("json", "monday.mp4"))
    assert (entry.uri, entry.output) == ("s3://bucket/talks/monday.mp4", "s3://bucket/transcripts/monday")
    assert parse_config(entry.parameters).decoding.language == "en"
