"""The page of the clouds: its requests to a handler, its commands and its image held against what hf-serve needs."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.adapters.hf_serve.cases import HEALTH
from tests.adapters.hf_serve.image import FILE, variables
from tests.cli.hub_stand_in import listening
from tests.conftest import REPOSITORY
from tests.manual import block, read
from tests.test_handler import TONE, FakeAsr, handler_with
from turnscribe.settings import ModelSettings

PREDICT = "/predict"


def commands(marker: str) -> list[list[str]]:
    return [shlex.split(line) for line in block("sh", marker).replace("\\\n", "").splitlines()]


def options(words: list[str]) -> dict[str, str]:
    """`--name=value` of a command."""
    return dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--") and "=" in word)


def test_what_is_sent_to_try_it_is_answered(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.fail("install curl to run this test")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "conversation.flac").write_bytes(TONE)
    with listening(handler_with(FakeAsr())) as server:
        text = block("sh", "base64 --wrap=0").replace("http://localhost:8080/predict", f"{server.url}/")
        done = subprocess.run(["bash", "-ec", text], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [word["word"] for word in json.loads(done.stdout)["words"]] == [" hello"]


def test_the_instances_that_are_shown_are_answered() -> None:
    shown = block("json", "instances").replace("<base64>", base64.b64encode(TONE).decode())
    asr = FakeAsr()
    asr.capabilities = type(asr.capabilities)(frozenset({"en", "de"}), asr.capabilities.tasks)
    answers = handler_with(asr)(json.loads(shown))["predictions"]
    assert ["words" in answer for answer in answers] == [True, True]
    assert [options.language for options in asr.options] == [None, "de"]


def test_the_image_has_what_hf_serve_needs_and_starts_it_for_sagemaker_too() -> None:
    assert {"MODEL_DIR", "TASK", "TRUST_REMOTE_CODE", "HF_SERVE_LOGGING_LEVEL"} <= variables().keys()
    text = read(FILE)
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", text, flags=re.MULTILINE)
    stand_in = [word.replace("hf-serve", "echo started") for word in json.loads(entry)]
    done = subprocess.run([*stand_in, "serve"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "started\n"
    tested = read("tests/adapters/hf_serve/requirements.txt")
    (package,) = re.findall(r'"(hf-serve.*)"', text)
    assert package in tested.splitlines()
    built, started = commands("adapters/hf_serve/Dockerfile")
    assert (REPOSITORY / built[built.index("--file") + 1]).is_file()
    assert started[-1] == built[built.index("--tag") + 1]


def test_azures_routes_and_probes_are_hf_serves() -> None:
    deployment = yaml.safe_load(block("yaml", "scoring_route"))
    routes = deployment["environment"]["inference_config"]
    assert routes["scoring_route"] == {"path": PREDICT, "port": 8080}
    assert routes["liveness_route"] == routes["readiness_route"] == {"path": HEALTH, "port": 8080}
    assert_variables(deployment["environment_variables"], "azure")
    longest_s = deployment["request_settings"]["request_timeout_ms"] / 1000
    for probe in (deployment["liveness_probe"], deployment["readiness_probe"]):
        assert probe["period"] * probe["failure_threshold"] > longest_s
    endpoint, made, asked = commands("az ml online-deployment")
    assert {command[-1] if "endpoint" in command[2] else "" for command in (endpoint,)} == {
        deployment["endpoint_name"]
    }
    assert made[made.index("--file") + 1] == "deployment.yml"
    assert asked[asked.index("--request-file") + 1] == "request.json"


def test_vertex_ais_routes_are_hf_serves() -> None:
    (upload,) = commands("gcloud ai models upload")
    given = options(upload)
    assert (given["container-predict-route"], given["container-health-route"]) == (PREDICT, HEALTH)
    assert given["container-ports"] == "8080"
    assert_variables(dict(pair.split("=") for pair in given["container-env-vars"].split(",")), "google")


def assert_variables(given: dict[str, str], cloud: str) -> None:
    assert given.pop("CLOUD") == cloud
    assert {name.lower() for name in given} <= ModelSettings.model_fields.keys()
