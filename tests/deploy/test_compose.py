"""`deploy/compose.yaml`: right for the Compose specification, and for this server."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from tests.deploy.server_facts import DEPLOY, secrets, shutdown_default, variables
from tests.manual import read
from tests.test_container_image import instructions

TEXT = (DEPLOY / "compose.yaml").read_text()
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
SERVICES = ("cpu", "gpu")


def compose(**shell: str) -> dict[str, Any]:
    """As Compose reads it with these variables: they take their places, and merge keys are merged."""
    return yaml.safe_load(VARIABLE.sub(lambda found: shell.get(found[1]) or found[2] or "", TEXT))


def seconds(text: str) -> float:
    (parts,) = re.findall(r"^(?:(\d+)m)?(?:(\d+)s)?$", text)
    return 60 * int(parts[0] or 0) + int(parts[1] or 0)


@pytest.mark.parametrize("shell", [{}, {"TURNSCRIBE_IMAGE": "ghcr.io/your-name/turnscribe:1", "HF_TOKEN": "hf_x"}])
def test_it_is_what_the_specification_allows(shell: dict[str, str]) -> None:
    parsed = PyCompose.from_yaml(yaml.safe_dump(compose(**shell)))
    assert sorted(parsed.service_names()) == sorted(SERVICES)


@pytest.mark.parametrize(
    ("field", "value"),
    [("healthchek", {}), ("stop_grace_period", "soon"), ("ports", ["x:y"]), ("restart", "sometimes")],
)
def test_a_wrong_field_would_be_found(field: str, value: Any) -> None:
    given = compose()
    given["services"]["cpu"][field] = value
    with pytest.raises(ValueError, match=field):
        PyCompose.from_yaml(yaml.safe_dump(given))


def test_one_server_at_a_time_has_the_volume_and_the_port() -> None:
    services = compose()["services"]
    for name in SERVICES:
        assert services[name]["profiles"] == [name]
        assert services[name]["volumes"] == ["data:/data"]
        assert services[name]["ports"] == ["127.0.0.1:8000:8000"]
    assert compose().keys() >= {"volumes"}
    assert "data" in compose()["volumes"]


def test_the_two_differ_in_their_model_and_the_gpus() -> None:
    given = deepcopy(compose()["services"])
    (device,) = given["gpu"].pop("deploy")["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    for name in SERVICES:
        given[name].pop("profiles")
        given[name]["environment"].pop("ASR_MODEL")
    assert given["cpu"] == given["gpu"]


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_one_of_the_servers_and_keys_are_in_a_file(service: str) -> None:
    given = compose(HF_TOKEN="hf_secret")["services"][service]
    environment = given["environment"]
    assert environment.keys() <= variables()
    assert not environment.keys() & (secrets() - {"HF_TOKEN"})
    assert environment["API_KEYS_FILE"] == "/run/secrets/api_keys"
    assert given["secrets"] == ["api_keys"]
    assert compose()["secrets"]["api_keys"]["file"] == "./api-keys.txt"
    assert compose(API_KEYS_FILE="/etc/keys")["secrets"]["api_keys"]["file"] == "/etc/keys"


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_running_is_finished_before_the_server_is_killed(service: str) -> None:
    given = compose()["services"][service]
    shutdown = float(given["environment"]["SHUTDOWN_TIMEOUT_S"])
    assert seconds(given["stop_grace_period"]) >= shutdown + 10
    assert seconds(given["stop_grace_period"]) > shutdown_default()


@pytest.mark.parametrize("service", SERVICES)
def test_its_health_is_asked_as_the_image_asks(service: str) -> None:
    given = compose()["services"][service]["healthcheck"]
    (image,) = [text for name, text in instructions() if name == "HEALTHCHECK"]
    assert given["test"] == ["CMD", *json.loads(image[image.index("[") :])]
    options = dict(re.findall(r"--([a-z-]+)=(\w+)", image))
    assert {name.replace("-", "_"): value for name, value in options.items()} == {
        name: str(value) for name, value in given.items() if name != "test"
    }


def test_the_variables_of_the_shell_are_in_the_manual() -> None:
    page = read("docs/containers.md")
    assert all(f"`{name}`" in page for name, _ in VARIABLE.findall(TEXT))


def test_the_keys_stay_out_of_the_repository_and_the_image() -> None:
    assert "/deploy/api-keys.txt" in read(".gitignore").splitlines()
    assert "deploy" in read(".dockerignore").splitlines()
