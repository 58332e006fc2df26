"""The real huggingface_hub against a stand-in of the API: what is sent, what is told, and that no token is."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from tests.cli.hub_stand_in import HubStandIn, online
from tests.conftest import REPOSITORY
from turnscribe.cli.deploy import main

MANAGER, READER = "hf_manager_token", "hf_reader_token"
CREATE = ("create", "talk", "--repository", "your-name/turnscribe")
FAST = ("--every", "0.02")

has_env = pytest.mark.skipif(
    "env" not in inspect.signature(huggingface_hub.create_inference_endpoint).parameters,
    reason="variables need huggingface_hub 0.31; what happens without is tested too",
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    with online(monkeypatch) as server:
        yield server


@pytest.fixture
def run(hub: HubStandIn, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`main` with a managing token; no token may be in what it prints."""

    def call(*argv: str, **environ: str) -> tuple[int, str, str]:
        api = HfApi(endpoint=hub.url, token=MANAGER)
        status = main(argv, api=api, environ=environ)
        out, err = capsys.readouterr()
        assert not [token for token in (MANAGER, READER, "s3cret") if token in out + err]
        return status, out, err

    return call


@pytest.fixture
def read_token(tmp_path: Path) -> str:
    file = tmp_path / "read-token.txt"
    file.write_text(READER + "\n")
    return str(file)


# --- create ---------------------------------------------------------------------------------------------------


def test_a_stock_endpoint_is_asked_for_with_its_token_as_a_secret(run, hub: HubStandIn, read_token: str) -> None:
    status, out, err = run(*CREATE, "--read-token-file", read_token, "--instance-type", "nvidia-a10g")
    assert status == 0
    assert "https://ui.endpoints.huggingface.co/your-name/endpoints/talk" in out
    assert "--asr-model" in err  # nothing names a model
    (body,) = hub.sent("POST")
    assert body["model"]["image"] == {"huggingface": {}}
    assert body["model"]["repository"] == "your-name/turnscribe"
    assert body["model"]["task"] == "custom"
    assert body["model"]["secrets"] == {"HF_TOKEN": READER}
    assert body["compute"]["instanceType"] == "nvidia-a10g"
    assert body["compute"]["scaling"] == {"minReplica": 0, "maxReplica": 1, "scaleToZeroTimeout": 15}
    assert body["provider"] == {"vendor": "aws", "region": "us-east-1"}
    assert {authorization for _, _, authorization, _ in hub.requests} == {f"Bearer {MANAGER}"}


@has_env
def test_models_and_variables_are_its_environment(run, hub: HubStandIn) -> None:
    models = ("--asr-model", "openai/whisper-large-v3", "--diarization-model", "a/b", "--assistant-model", "c/d")
    status, _, err = run(*CREATE, *models, "--env", "MAX_AUDIO_SECONDS=60", "--namespace", "acme")
    assert (status, err) == (0, "")
    (body,) = hub.sent("POST")
    assert hub.requests[0][1] == "/v2/endpoint/acme"
    assert body["model"]["env"] == {
        "ASR_MODEL": "openai/whisper-large-v3",
        "DIARIZATION_MODEL": "a/b",
        "ASSISTANT_MODEL": "c/d",
        "MAX_AUDIO_SECONDS": "60",
    }
    assert "secrets" not in body["model"]


@has_env
def test_a_custom_container_has_its_address_health_route_and_port(run, hub: HubStandIn) -> None:
    assert run(*CREATE, "--image", "ghcr.io/me/turnscribe:1", "--port", "8080")[0] == 0
    (body,) = hub.sent("POST")
    assert body["model"]["image"] == {
        "custom": {"url": "ghcr.io/me/turnscribe:1", "healthRoute": "/health", "port": 8080}
    }
    assert body["model"]["env"] == {"PORT": "8080"}


def test_the_shells_token_and_named_variables_become_secrets(run, hub: HubStandIn) -> None:
    status, _, err = run(*CREATE, "--secret", "API_KEYS", HF_TOKEN=READER, API_KEYS="s3cret")
    assert status == 0
    assert "--read-token-file" in err
    assert hub.sent("POST")[0]["model"]["secrets"] == {"HF_TOKEN": READER, "API_KEYS": "s3cret"}


def test_a_dry_run_prints_the_body_with_secrets_masked_and_sends_nothing(run, hub: HubStandIn) -> None:
    status, out, err = run(*CREATE, "--dry-run", "--secret", "API_KEYS", HF_TOKEN=READER, API_KEYS="s3cret")
    assert status == 0
    assert hub.requests == []
    printed = json.loads(out)
    assert printed["model"]["secrets"] == {"HF_TOKEN": "***", "API_KEYS": "***"}
    assert "not sent" in err
    run(*CREATE, "--secret", "API_KEYS", HF_TOKEN=READER, API_KEYS="s3cret")
    (sent,) = hub.sent("POST")  # after a dry run the session sends again
    sent["model"]["secrets"] = dict.fromkeys(sent["model"]["secrets"], "***")
    assert printed == sent


def test_a_huggingface_hub_without_variables_is_too_old() -> None:
    class Old:
        def create_inference_endpoint(self, name: str, *, repository: str, secrets: Any = None) -> None: ...

    assert main([*CREATE, "--asr-model", "a/b"], api=Old(), environ={}) == 2


def test_the_sentence_for_an_old_huggingface_hub(capsys: pytest.CaptureFixture[str]) -> None:
    test_a_huggingface_hub_without_variables_is_too_old()
    assert "install 0.31 or newer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--env", "HF_TOKEN=s3cret"], "--read-token-file"),
        (["--env", "WEBHOOK_SECRET=s3cret"], "--secret WEBHOOK_SECRET"),
        (["--env", "OTHER=hf_manager_token"], "looks like a secret"),
        (["--env", "no equals sign s3cret"], "NAME=VALUE"),
        (["--env", "PORT=1"], "use --port"),
        (["--port", "8080"], "give --image too"),
        (["--secret", "NOWHERE"], "no such variable"),
        (["--read-token-file", "/no/such/file"], "cannot be read"),
    ],
)
def test_wrong_usage_is_one_sentence_and_sends_nothing(run, hub: HubStandIn, options: list[str], words: str) -> None:
    status, out, err = run(*CREATE, *options)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert words in err
    assert err.count("\n") == 1
    assert hub.requests == []


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((409, "Endpoint already exists"), "use `update talk`"),
        ((400, "Endpoint name talk already in use"), "use `update talk`"),
        ((400, "Instance compute 'Gpu' - 'l4' - 'x9' in 'aws' - 'us-east-1' not found"), "no such instance"),
        ((403, f"token {MANAGER} lacks\nrights"), "right to manage Inference Endpoints"),
        ((400, "Quota exceeded for nvidia-l4"), "quota of your account is used up"),
        ((402, "No card"), "payment method"),
        ((400, "Repository is gated"), "accept its terms"),
        ((404, "no"), "was not found"),
        ((401, "no"), "token is not valid"),
        ((500, "oops"), "may read your-name/turnscribe"),
        ((418, "teapot"), "refused (418). The API said: teapot"),
    ],
)
def test_a_refusal_is_one_sentence(run, hub: HubStandIn, refusal: tuple[int, str], words: str) -> None:
    hub.refusals["POST /v2/endpoint/your-name"] = [refusal]
    status, out, err = run(*CREATE)
    assert (status, out) == (1, "")
    assert words in err.splitlines()[-1]
    assert err.count("error: ") == 1


def test_an_invalid_token_is_said_so(run, hub: HubStandIn) -> None:
    hub.me = None
    status, _, err = run(*CREATE)
    assert status == 1
    assert "The token is not valid" in err


def test_no_network_is_said_so(hub: HubStandIn, capsys: pytest.CaptureFixture[str]) -> None:
    hub.shutdown()
    hub.server_close()
    assert main(["status", "talk"], api=HfApi(endpoint=hub.url, token=MANAGER), environ={}) == 1
    assert "check the network" in capsys.readouterr().err


# --- update ---------------------------------------------------------------------------------------------------


@has_env
def test_an_update_sends_what_is_given_and_keeps_the_other_variables(run, hub: HubStandIn) -> None:
    hub.add_endpoint("talk", env={"ASR_MODEL": "old/one", "DIARIZATION_MODEL": "a/b"})
    update = ("update", "talk", "--asr-model", "new/one", "--max-replica", "2")
    status, out, _ = run(*update, "--dry-run")
    assert (status, hub.sent("PUT")) == (0, [])
    expected = {
        "compute": {"scaling": {"maxReplica": 2}},
        "model": {"env": {"ASR_MODEL": "new/one", "DIARIZATION_MODEL": "a/b"}},
    }
    assert json.loads(out) == expected
    assert run(*update, HF_TOKEN=MANAGER)[0] == 0
    assert hub.sent("PUT") == [expected]  # and the token that manages is not made the endpoint's


def test_an_update_replaces_the_token_when_a_file_is_named(run, hub: HubStandIn, read_token: str) -> None:
    hub.add_endpoint("talk")
    assert run("update", "talk", "--read-token-file", read_token)[0] == 0
    assert hub.sent("PUT") == [{"model": {"secrets": {"HF_TOKEN": READER}}}]


def test_an_update_of_nothing_is_wrong_usage(run) -> None:
    assert run("update", "talk")[0] == 2


def test_an_update_of_an_endpoint_that_is_not_there(run, hub: HubStandIn) -> None:
    hub.refusals["PUT /v2/endpoint/your-name/talk"] = [(404, "Endpoint not found")]
    status, _, err = run("update", "talk", "--max-replica", "2")
    assert status == 1
    assert "no endpoint talk" in err


# --- wait and status ------------------------------------------------------------------------------------------


def test_waiting_tells_each_state_once_and_ends_when_it_answers(run, hub: HubStandIn) -> None:
    hub.states = ["pending", "pending", "initializing", "initializing", "running"]
    status, out, err = run(*CREATE, "--wait", *FAST)
    assert status == 0
    assert [line.split()[-1] for line in err.splitlines() if " s  " in line] == ["pending", "initializing", "running"]
    assert f"talk runs: {hub.url}/run/talk" in out
    assert any(path.startswith("/run/talk") for _, path, _, _ in hub.requests)


def test_an_endpoint_that_fails_ends_the_waiting_with_its_reason(run, hub: HubStandIn) -> None:
    hub.add_endpoint("talk")
    hub.states = ["pending", "failed"]
    status, _, err = run("wait", "talk", *FAST)
    assert status == 1
    assert "could not start (failed: Scheduling failure: no capacity)" in err
    assert "endpoints/talk" in err


@pytest.mark.parametrize(("state", "words"), [("scaledToZero", "first request starts it"), ("paused", "resume it")])
def test_an_endpoint_at_rest_ends_the_waiting(run, hub: HubStandIn, state: str, words: str) -> None:
    hub.add_endpoint("talk")
    hub.states = ["pending", state]
    status, out, _ = run("wait", "talk", *FAST)
    assert status == 0
    assert words in out


def test_waiting_has_an_end(run, hub: HubStandIn) -> None:
    hub.add_endpoint("talk")
    status, _, err = run("wait", "talk", "--timeout", "0.1", *FAST)
    assert status == 1
    assert "does not answer after" in err
    assert "goes on starting" in err


def test_waiting_outlives_a_few_failed_looks(run, hub: HubStandIn) -> None:
    hub.add_endpoint("talk")
    hub.states = ["pending", "initializing", "running"]
    hub.refusals["GET /v2/endpoint/your-name/talk"] = [(0, ""), (503, "busy"), (503, "busy"), (0, "")]
    assert run("wait", "talk", *FAST)[0] == 0
    hub.refusals["GET /v2/endpoint/your-name/talk"] = [(0, ""), (503, "busy")]
    hub.states = ["pending"]
    assert run("wait", "talk", *FAST)[0] == 1


@pytest.mark.slow
def test_ctrl_c_ends_the_waiting_and_says_that_the_endpoint_goes_on(hub: HubStandIn) -> None:
    hub.add_endpoint("talk")
    program = (
        f"from huggingface_hub import constants, HfApi\nconstants.INFERENCE_ENDPOINTS_ENDPOINT = '{hub.url}/v2'\n"
        "import sys\nfrom turnscribe.cli.deploy import main\n"
        f"sys.exit(main(['wait', 'talk'], api=HfApi(endpoint='{hub.url}', token='{MANAGER}')))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    waiting = subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr
    assert "pending" in waiting.stderr.readline()
    time.sleep(0.2)
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert "talk goes on" in err
    assert "Traceback" not in err


def test_the_state_is_printed(run, hub: HubStandIn) -> None:
    hub.add_endpoint("talk")
    hub.states = ["running"]
    status, out, _ = run("status", "talk")
    assert status == 0
    assert out.splitlines()[:2] == ["talk: running", f"{hub.url}/run/talk"]
    assert "instance gpu nvidia-l4" in out


# --- delete ---------------------------------------------------------------------------------------------------


def test_deleting_with_yes_asks_nothing(run, hub: HubStandIn) -> None:
    hub.add_endpoint("talk")
    assert run("delete", "talk", "--yes")[:2] == (0, "talk is deleted.\n")
    assert hub.endpoints == {}


@pytest.mark.parametrize(("answer", "status"), [("talk", 0), ("yes", 2), (None, 2)])
def test_deleting_asks_for_the_name(
    run, hub: HubStandIn, monkeypatch: pytest.MonkeyPatch, answer: str | None, status: int
) -> None:
    def typed(_: str) -> str:
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", typed)
    hub.add_endpoint("talk")
    assert run("delete", "talk")[0] == status
    assert bool(hub.endpoints) == bool(status)


def test_deleting_what_is_not_there(run) -> None:
    status, _, err = run("delete", "talk", "--yes")
    assert status == 1
    assert "no endpoint talk" in err
