"""The commands of docs/containers.md, with stand-ins for Docker, Kubernetes and Helm that see whether their files are
there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.manual import block

STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
for word in "$@"; do
    case $word in deploy/*) [ -e "$word" ] || exit 3 ;; esac
done
"""


@pytest.fixture
def run(tmp_path: Path, needs_program: Callable[[str], str]) -> Callable[[str], list[str]]:
    """A block in a folder with a copy of `deploy`; the commands that the stand-ins got."""
    needs_program("openssl")
    shutil.copytree(REPOSITORY / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("api-keys.txt"))
    (tmp_path / "bin").mkdir()
    for name in ("docker", "kubectl", "helm", "curl"):
        (tmp_path / "bin" / name).write_text(STAND_IN)
        (tmp_path / "bin" / name).chmod(0o755)

    def run_block(text: str) -> list[str]:
        environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "LOG": str(tmp_path / "log")}
        subprocess.run(["bash", "-euc", text], cwd=tmp_path, env=environment, check=True, timeout=60)
        return (tmp_path / "log").read_text().splitlines()

    return run_block


def test_compose_starts_with_a_key_that_others_than_its_owner_may_read(
    run: Callable[[str], list[str]], tmp_path: Path
) -> None:
    up, asked = run(block("sh", "docker compose --file"))
    keys = tmp_path / "deploy" / "api-keys.txt"
    assert len(keys.read_text().strip()) == 48
    assert keys.stat().st_mode & 0o777 == 0o644, "the container's user is another"
    assert "--profile cpu up" in up
    assert asked.endswith("/health")


def test_the_secret_has_a_key_for_prometheus_among_the_keys(run: Callable[[str], list[str]]) -> None:
    create, apply, wait = run(block("sh", "kubectl create secret"))
    given = dict(
        word.removeprefix("--from-literal=").split("=") for word in create.split() if "--from-literal" in word
    )
    keys = given["API_KEYS"].split(",")
    assert len(set(keys)) == 2
    assert given["METRICS_KEY"] == keys[1]
    assert apply == "kubectl apply --kustomize deploy/kubernetes/cpu"
    assert wait.startswith("kubectl rollout status deployment/turnscribe ")


def test_autoscaling_has_its_metrics_before_it_begins(run: Callable[[str], list[str]]) -> None:
    monitor, adapter, apply = run(block("sh", "helm upgrade"))
    assert monitor.startswith("kubectl apply")
    assert adapter.startswith("helm upgrade")
    assert apply == "kubectl apply --kustomize deploy/kubernetes/autoscaled"
