"""Every command of the README and the manual, run: the calls against an endpoint on loopback with the demo models
behind it, the deployment against a stand-in of the Hub that keeps what the real client sends. `make demo` and
`make test` are CI's; those of the platforms are run in `adapters/`, in each one's environment.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from config import InferenceConfig, ModelSettings, ServerSettings
from tests.cli.hub_stand_in import HubStandIn, listening
from tests.conftest import REPOSITORY
from tests.fakes import FakePipeline
from tests.manual import PAGES, block, blocks, read
from tests.serving import live

HUB_VERSION = tuple(int(part) for part in huggingface_hub.__version__.split(".")[:2])

RUN = {  # the blocks that each file runs: their language and a marker
    ".ci/run": [("sh", "make demo")],
    "tests/test_readme.py": [
        ("python", "api.upload_folder"),
        ("python", "create_inference_endpoint"),
        ("python", "requests.post"),
        ("python", "extra_body"),
        ("python", "client.post"),
        ("json", "speculation"),
        ("sh", "/v1/jobs"),
        ("sh", "scripts.transcribe"),
        ("sh", "deploy_endpoint update"),
        ("sh", "docker push ghcr.io"),
        ("sh", "scripts.doctor"),
        ("sh", '"$ENDPOINT_URL"'),
        ("sh", "scripts.evaluate demo"),
        ("python", "transcript.to("),
        ("python", "should_stop=stop.is_set"),
    ],
    "tests/cli/test_watch.py": [
        ("sh", "--watch"),
    ],
    "tests/tools/test_estimates.py": [
        ("sh", "tools.benchmarks.estimates"),
    ],
    "tests/cli/test_models.py": [
        ("sh", "scripts.models get"),
    ],
    "tests/cli/test_voices.py": [
        ("sh", "turnscribe voices add"),
    ],
    "tests/serving/test_render.py": [
        ("python", "/v1/render"),
    ],
    "tests/serving/test_server.py": [
        ("json", "No CUDA graphs"),
    ],
    "tests/serving/test_clients.py": [
        ("sh", "make serve"),
        ("python", "from openai import OpenAI"),
    ],
    "tests/serving/test_clients_realtime.py": [
        ("python", "client.realtime.connect"),
    ],
    "tests/docs/test_recipes.py": [
        ("python", "def speaker_of"),
        ("python", "needs_speakers=True"),
        ("python", "class OwnAsr"),
        ("python", "max_new_tokens: Annotated"),
        ("python", "min(limit, len(initial)"),
    ],
    "tests/docs/test_clouds.py": [
        ("sh", "adapters/hf_serve/Dockerfile"),
        ("sh", "base64 --wrap=0"),
        ("yaml", "scoring_route"),
        ("sh", "az ml online-deployment"),
        ("sh", "gcloud ai models upload"),
        ("json", "instances"),
    ],
    "tests/deploy/test_commands.py": [
        ("sh", "docker compose --file"),
        ("sh", "kubectl create secret"),
        ("sh", "helm upgrade"),
    ],
    "tests/adapters/aws/test_readme_aws.py": [
        ("sh", "scripts.sagemaker choose"),
        ("sh", "scripts.sagemaker package"),
        ("sh", "asynchronous create"),
        ("sh", "real-time create"),
        ("sh", "transform create"),
        ("sh", "cloudformation deploy"),
        ("python", "build_archive"),
        ("python", "invoke_endpoint"),
    ],
    "tests/adapters/flyte/test_readme_flyte.py": [
        ("sh", "requirements-flyte.txt"),
        ("sh", "adapters/flyte/Dockerfile"),
    ],
    "tests/adapters/ray/test_readme_ray.py": [
        ("json", "monday.mp4"),  # the manifest, which Flyte reads by the same code
        ("sh", "requirements-ray.txt"),
        ("sh", "ray start"),
    ],
}
LONG = (  # pages whose commands take minutes or hours: each is held against the program's own command line
    "CONTRIBUTING.md",
    "demo/README.md",
    "docs/accuracy.md",
    "docs/figures/index.md",
    "docs/figures/platforms.md",
    "docs/figures/serving.md",
    "docs/formats.md",
    "docs/speech-map.md",
)
PRELUDE = """
import os
from huggingface_hub import constants
constants.INFERENCE_ENDPOINTS_ENDPOINT = os.environ["STAND_IN"] + "/v2"
ENDPOINT_URL = os.environ["STAND_IN"]
READ_TOKEN, WRITE_TOKEN = "hf_read", "hf_write"
"""


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    with listening() as server:
        yield server


@pytest.fixture(scope="module")
def endpoint(demo_handler) -> Iterator[HubStandIn]:
    with listening(demo_handler) as server:
        yield server


def run(command: list[str], folder: Path, server: HubStandIn | None = None, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    if server:
        environment |= {"STAND_IN": server.url, "HF_ENDPOINT": server.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(text: str, folder: Path, server: HubStandIn) -> str:
    return run([sys.executable, "-c", PRELUDE + text], folder, server)


def run_shell(text: str, folder: Path, server: HubStandIn | None = None, **variables: str) -> str:
    return run(["bash", "-ec", text.replace(".venv/bin/python", sys.executable)], folder, server, **variables)


def test_the_front_matter_makes_it_an_endpoint_template() -> None:
    import yaml

    matter = yaml.safe_load(read("README.md").split("---")[1])
    assert matter["license"] == "apache-2.0"
    assert matter["pipeline_tag"] == "automatic-speech-recognition"
    assert "endpoints-template" in matter["tags"]


def test_every_block_is_run_here_or_by_ci() -> None:
    known = {block(language, marker) for markers in RUN.values() for language, marker in markers}
    assert len(known) == sum(map(len, RUN.values()))
    written = {text for page in PAGES if page not in LONG for _, text in blocks(page)}
    assert known == written
    ci = read(".ci/run")
    assert all(command in ci for command in block("sh", "make demo").split("\n"))


def test_every_block_of_a_platform_is_run_there() -> None:
    """As those of every other file: it names the marker where it runs the block. `RUN` is in this one."""
    for file, markers in RUN.items():
        fewest = {".ci/run": 0, "tests/test_readme.py": 2}.get(file, 1)
        for _, marker in markers:
            quoted = f"'{marker}'" if '"' in marker else f'"{marker}"'
            assert read(file).count(quoted) >= fewest, f"{file} does not run {marker}"


class Parsed(Exception):
    """A program has read its command line, and goes no further."""


@pytest.mark.parametrize("page", LONG)
def test_commands_that_take_long_are_right_for_their_programs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parse_args = argparse.ArgumentParser.parse_args

    def parsed(*args: Any, **options: Any) -> None:
        parse_args(*args, **options)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    commands = [words for language, text in blocks(page) if language == "sh" for words in command_lines(text)]
    assert commands or not blocks(page)
    for program, *words in commands:
        if program == "make":
            assert all(re.search(rf"^{target}:", read("Makefile"), flags=re.MULTILINE) for target in words)
        elif words[:2] == ["-m", "pytest"]:
            assert all((REPOSITORY / word).is_file() for word in words if word.endswith(".py"))
        else:
            assert Path(program).name == "python"
            assert words[0] == "-m"
            with pytest.raises(Parsed):
                importlib.import_module(words[1]).main(words[2:])


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each command, without the variables before it."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        if words:
            yield words


def test_every_parameter_and_variable_is_in_its_table() -> None:
    parameters, variables = read("docs/parameters.md"), read("docs/deploying.md")
    missing = [name for name in InferenceConfig.model_fields if f"`{name}`" not in parameters]
    assert not missing, "no line in the table of docs/parameters.md"
    missing = [name.upper() for name in ModelSettings.model_fields if f"`{name.upper()}`" not in variables]
    assert not missing, "no line in the table of docs/deploying.md"


def test_the_copy_uploads_the_repository_without_its_environments(hub: HubStandIn, tmp_path: Path) -> None:
    for name in ("handler.py", "README.md"):
        shutil.copy(REPOSITORY / name, tmp_path)
    for folder in (".venv", ".venv-oldest", "build"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file.txt").write_text("not to be uploaded")
    run_python(block("python", "api.upload_folder"), tmp_path, hub)
    created = hub.body_of("/api/repos/create")
    assert created.get("private") is True or created.get("visibility") == "private"
    lines = hub.body_of("/api/models/your-name/turnscribe/commit/")
    assert {line["value"]["path"] for line in lines if line["key"] == "file"} == {"handler.py", "README.md"}


has_env = pytest.mark.skipif(
    "env" not in inspect.signature(huggingface_hub.create_inference_endpoint).parameters,
    reason="the README asks for a current huggingface_hub on the machine that deploys, not in the container",
)


@has_env
def test_the_endpoint_is_created_with_the_token_as_a_secret(hub: HubStandIn, tmp_path: Path) -> None:
    printed = run_python(block("python", "create_inference_endpoint"), tmp_path, hub)
    assert printed.split() == ["turnscribe", "pending"]
    asked = hub.body_of("/v2/endpoint/your-name")
    assert asked["model"]["task"] == "custom"
    assert asked["model"]["repository"] == "your-name/turnscribe"
    assert asked["model"]["env"]["ASR_MODEL"] == "openai/whisper-large-v3"
    assert asked["model"]["secrets"] == {"HF_TOKEN": "hf_read"}
    assert "hf_read" not in json.dumps(asked["model"]["env"])


def deploy(text: str, folder: Path, server: HubStandIn) -> str:
    """Lines of `scripts.deploy_endpoint`, in a folder with the read token; the API's address is no setting of
    huggingface_hub's, so that Python's own start changes it."""
    (folder / "read-token.txt").write_text("hf_read\n")
    (folder / "sitecustomize.py").write_text(
        f"from huggingface_hub import constants\nconstants.INFERENCE_ENDPOINTS_ENDPOINT = '{server.url}/v2'\n"
    )
    variables = {"HF_ENDPOINT": server.url, "HF_TOKEN": "hf_write", "PYTHONPATH": f"{folder}:{REPOSITORY}"}
    printed = run_shell(text, folder, **variables)
    managing = {authorization for _, path, authorization, _ in server.requests if path.startswith("/v2/")}
    assert managing == {"Bearer hf_write"}  # of its own, huggingface_hub 2 asks the Hub for a public list without one
    return printed


@has_env
def test_the_commands_create_an_endpoint_wait_for_it_change_it_and_delete_it(tmp_path: Path) -> None:
    with listening() as server:
        server.states = ["running"]
        printed = deploy(block("sh", "deploy_endpoint update"), tmp_path, server)
    done = ("is created", f"runs: {server.url}/run/turnscribe", "is updated", "is deleted")
    assert all(words in line for words, line in zip(done, printed.splitlines(), strict=True))
    (created,), (updated,) = server.sent("POST"), server.sent("PUT")
    assert created["model"]["repository"] == "your-name/turnscribe"
    models = {name: created["model"]["env"][name] for name in ("ASR_MODEL", "DIARIZATION_MODEL")}
    assert models == {"ASR_MODEL": "openai/whisper-large-v3", "DIARIZATION_MODEL": "open"}
    assert created["model"]["secrets"] == {"HF_TOKEN": "hf_read"}
    assert updated == {"compute": {"scaling": {"maxReplica": 2}}}
    assert server.endpoints == {}


@has_env
def test_the_container_that_docker_pushes_is_the_one_that_is_deployed(tmp_path: Path) -> None:
    """Docker itself is not run: `test_container_image.py` has what goes into the image."""
    text = block("sh", "docker push ghcr.io")
    commands = [line for line in text.splitlines() if not line.startswith("docker ")]
    with listening() as server:
        deploy("\n".join(commands), tmp_path, server)
    (created,) = server.sent("POST")
    image = created["model"]["image"]["custom"]
    assert (image["port"], created["model"]["env"]["PORT"]) == (8000, "8000")
    assert f"docker build --tag {image['url']} .\ndocker push {image['url']}\n" in text


@pytest.mark.slow
def test_the_check_before_the_deployment_passes_with_the_demo_models() -> None:
    assert run_shell(block("sh", "scripts.doctor"), REPOSITORY).splitlines()[-1].endswith("checks passed.")


@pytest.mark.models
def test_the_call_with_requests(endpoint: HubStandIn) -> None:
    printed = run_python(block("python", "requests.post"), REPOSITORY, endpoint)
    assert len({line.split()[2] for line in printed.splitlines()}) == 3
    assert "the customer is not happy" in printed
    assert endpoint.requests[-1][2] == "Bearer hf_read"


@pytest.mark.models
def test_the_call_with_this_versions_inference_client(endpoint: HubStandIn) -> None:
    marker = "extra_body" if HUB_VERSION >= (0, 31) else "client.post"
    printed = run_python(block("python", marker), REPOSITORY, endpoint)
    assert "the customer is not happy" in printed


@pytest.mark.models
def test_the_package_in_a_program() -> None:
    printed = run([sys.executable, "-c", block("python", "transcript.to(")], REPOSITORY)
    assert "the customer is not happy" in printed
    assert "00:00:0" in printed, "subtitles"
    followed = run([sys.executable, "-c", block("python", "should_stop=stop.is_set")], REPOSITORY)
    assert "100%" in followed
    assert "the customer is not happy" in followed


@pytest.mark.models
def test_the_call_with_curl(endpoint: HubStandIn) -> None:
    if shutil.which("curl") is None:
        pytest.fail("install curl to run this test")
    text = block("sh", '"$ENDPOINT_URL"')
    printed = run_shell(text, REPOSITORY, ENDPOINT_URL=endpoint.url, READ_TOKEN="hf_read")
    assert json.loads(printed)["formatted"].startswith("1\n00:00:0")


@pytest.mark.models
def test_the_answer_that_is_shown_has_the_keys_of_an_answer(endpoint: HubStandIn) -> None:
    shown = json.loads(block("json", "speculation"))
    printed = run_python(block("python", "requests.post") + "print(sorted(answer))", REPOSITORY, endpoint)
    keys = set(ast.literal_eval(printed.splitlines()[-1]))
    assert shown.keys() - keys == {"warnings", "speculation", "formatted"}
    assert keys <= shown.keys()


@pytest.mark.models
def test_the_command_line_writes_subtitles(tmp_path: Path) -> None:
    run_shell(block("sh", "scripts.transcribe").replace("build/transcripts", str(tmp_path)), REPOSITORY)
    (subtitles,) = tmp_path.iterdir()
    assert subtitles.name == "conversation.srt"
    assert "-->" in subtitles.read_text()


@pytest.mark.models
def test_the_evaluation_prints_its_table() -> None:
    assert "WER" in run_shell(block("sh", "scripts.evaluate demo"), REPOSITORY)


@pytest.mark.models
def test_a_job_becomes_subtitles(demo_handler, tmp_path: Path) -> None:
    with live.serving(demo_handler.pipeline, tmp_path) as client:
        text = block("sh", "/v1/jobs").replace("conversation.srt", str(tmp_path / "conversation.srt"))
        run_shell(text, REPOSITORY, SERVER_URL=str(client.base_url).rstrip("/"))
    subtitles = (tmp_path / "conversation.srt").read_text()
    assert subtitles.startswith("1\n00:00:0")
    assert "SPEAKER_02: " in subtitles


def test_every_setting_of_the_server_is_in_its_table() -> None:
    assert all(f"`{name.upper()}`" in read("docs/operating.md") for name in ServerSettings.model_fields)


def test_every_route_is_in_its_table(tmp_path: Path) -> None:
    with live.serving(FakePipeline(), tmp_path) as client:
        paths = client.get("/openapi.json").json()["paths"]
    routes = read("docs/serving.md")
    assert all(
        f"{path}`" in routes for path in paths if not path.startswith(("/api/", "/v1/models/", "/v1/jobs/{id}/"))
    )
