"""The manual's commands for Flyte as they are written there; `docker` is not run, and the cluster is a stand-in."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from flyteidl.admin import launch_plan_pb2, workflow_pb2
from flyteidl.core.tasks_pb2 import Resources
from flyteidl.service import admin_pb2
from google.protobuf.message_factory import GetMessageClass

from tests.adapters.flyte.conftest import REPOSITORY, finished
from tests.manual import block
from turnscribe.bulk.manifest import REPORT, from_text

LOCAL = block("sh", "requirements-flyte.txt")
CLUSTER = block("sh", "adapters/flyte/Dockerfile")


class Cluster:
    """Flyte's admin service: it keeps what is created, and answers with it as a cluster that has compiled it."""

    def __init__(self) -> None:
        self.created: dict[str, list[Any]] = {}
        service = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]
        self.server = grpc.server(ThreadPoolExecutor(2))
        handlers = {method.name: self._handler(method) for method in service.methods}
        generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
        self.server.add_generic_rpc_handlers((generic,))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def _handler(self, method: Any) -> Any:
        empty = GetMessageClass(method.output_type)

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            if method.name.startswith("Create"):
                self.created.setdefault(method.name, []).append(request)
            found = getattr(self, f"_{method.name}", None)
            return found(request) if found else empty()

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=empty.SerializeToString,
        )

    def _GetWorkflow(self, request: Any) -> workflow_pb2.Workflow:
        spec = self._spec("CreateWorkflow", request.id)
        answer = workflow_pb2.Workflow(id=request.id)
        compiled = answer.closure.compiled_workflow
        compiled.primary.template.CopyFrom(spec.template)
        for task in self.created["CreateTask"]:
            compiled.tasks.add().template.CopyFrom(task.spec.template)
        return answer

    def _GetLaunchPlan(self, request: Any) -> launch_plan_pb2.LaunchPlan:
        return launch_plan_pb2.LaunchPlan(id=request.id, spec=self._spec("CreateLaunchPlan", request.id))

    def _spec(self, call: str, wanted: Any) -> Any:
        (spec,) = [one.spec for one in self.created[call] if one.id == wanted]
        return spec


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    started = Cluster()
    yield started
    started.server.stop(None).wait()


def run_shell(text: str) -> str:
    """In the repository, in this environment, where everything is installed: pip may fetch nothing."""
    here = text.replace("python -m venv .venv-flyte && ", "").replace(
        ".venv-flyte/bin/", f"{Path(sys.executable).parent}/"
    )
    done = finished(["bash", "-ec", here])
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.models
def test_both_workflows_run_on_this_machine(models: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    run_shell(LOCAL.replace("build/transcripts", str(tmp_path / "out")))
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert {f"conversation.flac.{suffix}" for suffix in ("json", "srt", "vtt")} < written
    entries = from_text((tmp_path / "out" / REPORT).read_text())
    assert {entry.status for entry in entries} == {"done"}
    assert "SPEAKER_02" in (tmp_path / "out" / "conversation.flac.srt").read_text()


def test_the_image_that_docker_pushes_is_what_the_tasks_run_in() -> None:
    (base, image, pushed) = (shlex.split(line) for line in CLUSTER.splitlines() if line.startswith("docker "))
    assert base == ["docker", "build", "--tag", "turnscribe", "."]
    dockerfile = (REPOSITORY / image[image.index("--file") + 1]).read_text()
    assert f"ARG IMAGE={base[base.index('--tag') + 1]}\nFROM ${{IMAGE}}\n" in dockerfile
    assert pushed[-1] == image[image.index("--tag") + 1]
    assert f"--image {pushed[-1]} " in CLUSTER


def test_the_workflows_are_registered_and_started_on_a_cluster(
    models: None, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTE_PLATFORM_URL", cluster.address)
    monkeypatch.setenv("FLYTE_PLATFORM_INSECURE", "true")
    run_shell("\n".join(line for line in CLUSTER.splitlines() if not line.startswith("docker ")))
    tasks = {task.id.name.rpartition(".")[2]: task.spec.template for task in cluster.created["CreateTask"]}
    assert {task.id.version for task in tasks.values()} == {"1"}
    assert {task.container.image for task in tasks.values()} == {"your-registry/turnscribe-flyte:1"}
    assert {task.container.args[0] for task in tasks.values()} == {"pyflyte-execute", "pyflyte-map-execute"}
    shard = tasks["transcribe_shard"]
    given = {request.name: request.value for request in shard.container.resources.requests}
    assert (given[Resources.GPU], given[Resources.MEMORY]) == ("1", "24Gi")
    assert {pair.key: pair.value for pair in shard.container.env} == {
        "ASR_MODEL": "openai/whisper-large-v3",
        "DIARIZATION_MODEL": "pyannote/speaker-diarization-community-1",
    }
    assert [secret.group for secret in shard.security_context.secrets] == ["huggingface"]
    (execution,) = cluster.created["CreateExecution"]
    assert execution.spec.launch_plan.name == "adapters.flyte.workflow.transcribe_files"
    literals = execution.inputs.literals
    inputs = [one.scalar.primitive.string_value for one in literals["inputs"].collection.literals]
    assert inputs == ["s3://bucket/talks/"]
    assert literals["output"].scalar.primitive.string_value == "s3://bucket/transcripts"
    nodes = cluster.created["CreateWorkflow"][0].spec.template.nodes
    assert {node.array_node.parallelism for node in nodes if node.HasField("array_node")} == {32}
