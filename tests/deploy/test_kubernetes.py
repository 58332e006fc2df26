"""The manifests: right for Kubernetes' own schemas, and for this server."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from tests.deploy.kustomize import rendered
from tests.deploy.server_facts import (
    DEPLOY,
    documents,
    metric_names,
    routes,
    secrets,
    shutdown_default,
    variables,
)
from tests.fakes import FakePipeline
from tests.serving.live import serving

FOLDER = DEPLOY / "kubernetes"
OVERLAYS = ("base", "cpu", "gpu", "autoscaled")
NAME = {"app.kubernetes.io/name": "turnscribe"}
OLDEST, NEWEST = "1.28", kubernetes_validate.latest_version()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(FakePipeline(), tmp_path_factory.mktemp("server")) as client:
        yield client


def of_kind(kind: str, overlay: str) -> dict[str, Any]:
    (found,) = (one for one in rendered(FOLDER / overlay) if one["kind"] == kind)
    return found


def pod(overlay: str) -> dict[str, Any]:
    return of_kind("Deployment", overlay)["spec"]["template"]["spec"]


def container(overlay: str) -> dict[str, Any]:
    (only,) = pod(overlay)["containers"]
    return only


def environment(overlay: str) -> dict[str, Any]:
    given = container(overlay)["env"]
    by_name = {one["name"]: one.get("value", one.get("valueFrom")) for one in given}
    assert len(by_name) == len(given), "a variable is set twice"
    return by_name


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_is_what_kubernetes_takes(overlay: str, version: str) -> None:
    for resource in rendered(FOLDER / overlay):
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_example_of_a_secret_is_what_kubernetes_takes(version: str) -> None:
    (example,) = documents(FOLDER / "secret.example.yaml")
    kubernetes_validate.validate(example, version, strict=True)


def test_a_wrong_field_would_be_found() -> None:
    resource = of_kind("Deployment", "base")
    resource["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, NEWEST, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="beside kubectl, where it is; the merge has its own tests"
)
def test_kubectl_renders_the_same(overlay: str) -> None:
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER / overlay)], capture_output=True, text=True, check=True)
    theirs = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
    ours = {one["kind"]: one for one in rendered(FOLDER / overlay)}
    assert theirs.keys() == ours.keys()
    for kind, resource in ours.items():
        assert without_order(theirs[kind]) == without_order(resource), kind


def without_order(value: Any) -> Any:
    """Named things, whose order kustomize chooses, by their names."""
    if isinstance(value, dict):
        return {key: without_order(one) for key, one in value.items()}
    if isinstance(value, list) and all(isinstance(one, dict) and "name" in one for one in value):
        return {one["name"]: without_order(one) for one in value}
    return value


# --- The server's own -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_probes_ask_a_route_that_is_there_and_needs_no_key(overlay: str, server: httpx.Client) -> None:
    ports = {port["name"]: port["containerPort"] for port in container(overlay)["ports"]}
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container(overlay)[name]["httpGet"]
        assert asked["path"] in routes(server)
        assert server.get(asked["path"]).status_code == 200
        assert ports[asked["port"]] == 8000, "where the image listens"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_server_that_loads_is_not_restarted(overlay: str) -> None:
    probe = container(overlay)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 1800, "the image's own start period"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_running_is_finished_before_the_server_is_killed(overlay: str) -> None:
    shutdown = float(environment(overlay)["SHUTDOWN_TIMEOUT_S"])
    wait = float(container(overlay)["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = pod(overlay)["terminationGracePeriodSeconds"]
    assert grace >= wait + shutdown + 10
    assert grace > wait + shutdown_default()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_is_one_of_the_servers_and_secrets_come_from_the_secret(overlay: str) -> None:
    given = environment(overlay)
    assert given.keys() <= variables()
    (example,) = documents(FOLDER / "secret.example.yaml")
    for name in given.keys() & secrets():
        source = given[name]["secretKeyRef"]
        assert (source["name"], source["key"]) == (example["metadata"]["name"], name)
        assert name in example["stringData"]
    assert secrets() <= given.keys()
    assert not given["API_KEYS"]["secretKeyRef"].get("optional"), "without keys it would be open to all"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pods_are_those_that_service_and_budget_mean(overlay: str) -> None:
    assert of_kind("Deployment", overlay)["spec"]["template"]["metadata"]["labels"] == NAME
    assert of_kind("Deployment", overlay)["spec"]["selector"]["matchLabels"] == NAME
    assert of_kind("Service", overlay)["spec"]["selector"] == NAME
    assert of_kind("PodDisruptionBudget", overlay)["spec"]["selector"]["matchLabels"] == NAME
    (port,) = of_kind("Service", overlay)["spec"]["ports"]
    assert port["targetPort"] in [one["name"] for one in container(overlay)["ports"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_volume_is_where_the_image_keeps_its_data_and_is_the_images_users(overlay: str) -> None:
    (mount,) = container(overlay)["volumeMounts"]
    (volume,) = pod(overlay)["volumes"]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/data")
    start, dockerfile = ((DEPLOY.parent / name).read_text() for name in ("scripts/container/start.sh", "Dockerfile"))
    assert '"${DATA:=/data}"' in start
    assert f"\nUSER {pod(overlay)['securityContext']['runAsUser']}\n" in dockerfile


@pytest.mark.parametrize("overlay", ["base", "cpu", "gpu"])
def test_one_server_at_a_time_has_the_jobs(overlay: str) -> None:
    deployment, claim = of_kind("Deployment", overlay), of_kind("PersistentVolumeClaim", overlay)
    assert deployment["spec"].get("replicas", 1) == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    (volume,) = pod(overlay)["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_several_servers_have_a_volume_each() -> None:
    (volume,) = pod("autoscaled")["volumes"]
    assert volume.keys() == {"name", "ephemeral"}
    assert "PersistentVolumeClaim" not in {one["kind"] for one in rendered(FOLDER / "autoscaled")}
    assert of_kind("Deployment", "autoscaled")["spec"]["strategy"]["type"] == "RollingUpdate"


def test_only_those_for_gpus_ask_for_one() -> None:
    gpus = {overlay: container(overlay)["resources"]["limits"].get("nvidia.com/gpu", 0) for overlay in OVERLAYS}
    assert gpus == {"base": 0, "cpu": 0, "gpu": 1, "autoscaled": 1}


# --- Metrics --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_autoscaler_goes_by_metrics_that_the_server_has_and_the_adapter_hands_on(server: httpx.Client) -> None:
    autoscaler = of_kind("HorizontalPodAutoscaler", "autoscaled")["spec"]
    asked = [one["pods"]["metric"]["name"] for one in autoscaler["metrics"]]
    assert set(asked) <= metric_names(server)
    assert "turnscribe_requests_waiting" in asked
    deployment = of_kind("Deployment", "autoscaled")
    target = autoscaler["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"], "whoever applies it again would set the number back"
    (values,) = documents(FOLDER / "monitoring" / "prometheus-adapter.yaml")
    (rule,) = values["rules"]["custom"]
    (pattern,) = re.findall(r'__name__=~"([^"]+)"', rule["seriesQuery"])
    assert all(re.fullmatch(pattern, name) for name in asked)


@pytest.mark.slow
def test_prometheus_asks_the_pods_for_their_metrics_with_a_key(server: httpx.Client) -> None:
    (monitor,) = documents(FOLDER / "monitoring" / "pod-monitor.yaml")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["path"] in routes(server)
    assert endpoint["port"] in [one["name"] for one in container("base")["ports"]]
    assert monitor["spec"]["selector"]["matchLabels"] == NAME
    (example,) = documents(FOLDER / "secret.example.yaml")
    credentials = endpoint["authorization"]["credentials"]
    assert credentials["name"] == example["metadata"]["name"]
    key = example["stringData"][credentials["key"]]
    assert key in example["stringData"]["API_KEYS"].split(",")


def test_merging_adds_changes_and_takes_away(tmp_path: Path) -> None:
    from tests.deploy.kustomize import merged

    before = {"keep": 1, "gone": 2, "list": [{"name": "a", "x": 1}, {"name": "b"}], "plain": [1, 2]}
    change = {"gone": None, "new": {"y": 1}, "list": [{"name": "a", "x": 2}, {"name": "c"}], "plain": [3]}
    assert merged(before, change) == {
        "keep": 1,
        "list": [{"name": "a", "x": 2}, {"name": "b"}, {"name": "c"}],
        "plain": [3],
        "new": {"y": 1},
    }
