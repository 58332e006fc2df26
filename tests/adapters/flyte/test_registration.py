"""What a cluster is told: `pyflyte package` writes what `pyflyte register` sends, and needs no cluster."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.core.security_pb2 import Secret
from flyteidl.core.tasks_pb2 import Resources

from tests.adapters.flyte.conftest import REPOSITORY, finished

MODEL_TASKS = ("transcribe_shard", "map_transcribe_shard", "split_recording", "transcribe_one_part")


def package(folder: Path) -> dict[str, bytes]:
    """The registration files, by the names of tasks and workflows."""
    file = folder / "package.tgz"
    command = [str(Path(sys.executable).with_name("pyflyte")), "--pkgs", "adapters.flyte.workflow", "package"]
    done = finished([*command, "--image", "registry/turnscribe-flyte:1", "--source", ".", "--output", str(file)])
    assert done.returncode == 0, done.stdout
    with tarfile.open(file) as archive:
        return {
            member.name.split("adapters.flyte.workflow.")[1]: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive.getmembers()
        }


def task_of(files: dict[str, bytes], name: str) -> Any:
    [content] = [content for file, content in files.items() if file.startswith((f"{name}_1.pb", f"{name}_"))][:1]
    spec = TaskSpec()
    spec.ParseFromString(content)
    return spec.template


def test_what_a_task_may_use_is_the_environments(
    models: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "TASK_MEMORY": "24Gi",
        "TASK_ACCELERATOR": "nvidia-l4",
        "TASK_RETRIES": "5",
        "TASK_SECRET_GROUP": "huggingface",
        "HF_TOKEN": "hf_secret",
        "INFERENCE_LANGUAGE": "en",
    }.items():
        monkeypatch.setenv(name, value)
    files = package(tmp_path)
    for name in MODEL_TASKS:
        task = task_of(files, name)
        requests = {resource.name: resource.value for resource in task.container.resources.requests}
        assert requests == {Resources.CPU: "4", Resources.MEMORY: "24Gi", Resources.GPU: "1"}, name
        assert task.extended_resources.gpu_accelerator.device == "nvidia-l4"
        assert task.metadata.retries.retries == 5
        assert {pair.key: pair.value for pair in task.container.env} == {
            "ASR_MODEL": "demo/whisper",
            "INFERENCE_LANGUAGE": "en",
        }
        [secret] = task.security_context.secrets
        assert (secret.group, secret.key, secret.env_var) == ("huggingface", "HF_TOKEN", "HF_TOKEN")
        assert secret.mount_requirement == Secret.ENV_VAR
    assert not any(b"hf_secret" in content for content in files.values())
    assert task_of(files, "map_transcribe_shard").container.args[0] == "pyflyte-map-execute"
    assert task_of(files, "transcribe_shard").metadata.discoverable  # cached
    assert not task_of(files, "list_shards").metadata.discoverable


def test_without_a_gpu_none_is_asked_for(models: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_GPU", "0")
    task = task_of(package(tmp_path), "transcribe_shard")
    assert Resources.GPU not in {resource.name for resource in task.container.resources.requests}
    assert not task.security_context.secrets


def test_the_image_is_the_repositorys_with_flytekit() -> None:
    lines = (REPOSITORY / "adapters" / "flyte" / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert copied == ["requirements.txt", "requirements-flyte.txt"]
    assert all((REPOSITORY / name).exists() for name in copied)
    assert "ENTRYPOINT []" in lines  # or the server would start, with Flyte's command as its arguments
    assert "ENV HOME=/tmp HF_HOME=/tmp/huggingface" in lines  # the user has no home to write to
