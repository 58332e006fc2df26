"""What the image is made of: its scripts run for real, with stubs for what only a container has."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

START = REPOSITORY / "scripts" / "container" / "start.sh"
INSTALL = REPOSITORY / "scripts" / "container" / "install.sh"
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
SERVER = """
import json, os, signal, sys, time
import beside
names = ("PORT", "HOST", "HF_HOME", "TURNSCRIBE_HOME", "JOBS_FOLDER", "ASR_MODEL")
shown = {name: os.environ.get(name) for name in names}
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print(json.dumps({**shown, "folder": os.getcwd(), "pid": os.getpid(), "code": beside.__file__}), flush=True)
if "stay" in sys.argv:
    time.sleep(60)
"""


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A stub of the server in `app`; `python` is this one. The tests may run as root, which the script refuses."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "server.py").write_text(SERVER)
    (tmp_path / "app" / "beside.py").touch()
    folders = {"APP": tmp_path / "app", "DATA": tmp_path / "data", "REPOSITORY": tmp_path / "repository"}
    kept = {name: os.environ[name] for name in ("PATH",)}
    return {
        **kept,
        **{name: str(folder) for name, folder in folders.items()},
        "PYTHON": sys.executable,
        "ALLOW_ROOT": "1",
    }


def start(environment: dict[str, str], **variables: str) -> dict[str, str]:
    done = subprocess.run(
        ["sh", str(START)], env={**environment, **variables}, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def test_without_a_model_repository_everything_is_in_the_data_folder(environment: dict[str, str]) -> None:
    said = start(environment)
    assert (said["PORT"], said["HOST"], said["ASR_MODEL"]) == ("8000", "0.0.0.0", None)
    assert said["HF_HOME"] == f"{environment['DATA']}/huggingface"
    assert said["TURNSCRIBE_HOME"] == f"{environment['DATA']}/turnscribe"
    assert said["JOBS_FOLDER"] == f"{environment['DATA']}/jobs"


def test_what_is_set_stays(environment: dict[str, str]) -> None:
    Path(environment["REPOSITORY"]).mkdir()
    (Path(environment["REPOSITORY"]) / "config.json").touch()
    given = {"PORT": "80", "HOST": "::", "HF_HOME": "/h", "JOBS_FOLDER": "/j", "ASR_MODEL": "openai/whisper-large-v3"}
    given |= {"TURNSCRIBE_HOME": "/t"}
    said = start(environment, **given)
    assert {name: said[name] for name in given} == given


def test_a_whisper_in_the_model_repository_is_served(environment: dict[str, str]) -> None:
    repository = Path(environment["REPOSITORY"])
    repository.mkdir()
    (repository / "config.json").touch()
    said = start(environment)
    assert said["ASR_MODEL"] == str(repository)
    assert said["HF_HOME"] == f"{repository}/.cache/huggingface"
    assert said["TURNSCRIBE_HOME"] == f"{repository}/.cache/turnscribe"


def test_the_images_code_serves_in_the_folder_of_the_model_repository(environment: dict[str, str]) -> None:
    repository = Path(environment["REPOSITORY"])
    repository.mkdir()
    (repository / "server.py").write_text("raise SystemExit('the wrong one')")
    (repository / "beside.py").write_text("raise SystemExit('the wrong one')")
    said = start(environment)
    assert said["folder"] == str(repository)
    assert said["code"] == str(Path(environment["APP"]) / "beside.py")


def test_the_server_takes_the_shells_place_and_its_signals(environment: dict[str, str]) -> None:
    started = subprocess.Popen(
        ["sh", str(START), "stay"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert started.stdout
    assert json.loads(started.stdout.readline())["pid"] == started.pid
    time.sleep(0.1)
    started.send_signal(signal.SIGTERM)
    assert started.wait(timeout=30) == 7
    started.stdout.close()


def test_it_refuses_to_serve_as_root(environment: dict[str, str], tmp_path: Path) -> None:
    stub(tmp_path, "id", "echo 0")
    path = f"{tmp_path / 'bin'}:{environment['PATH']}"
    done = subprocess.run(
        ["sh", str(START)], env={**environment, "ALLOW_ROOT": "", "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "refuses to serve as root" in done.stderr


def stub(folder: Path, name: str, script: str) -> Path:
    (folder / "bin").mkdir(exist_ok=True)
    file = folder / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_the_installation_installs_the_servers_packages_and_a_user_without_rights(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("python", "useradd", "chown"):
        stub(tmp_path, name, f'echo {name} "$@" >> {log}')
    stub(tmp_path, "id", "exit 1")  # no such user yet
    variables = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "DATA": str(tmp_path / "data")}
    subprocess.run(["sh", str(INSTALL)], cwd=REPOSITORY, env=variables, check=True, timeout=60)
    lines = log.read_text().splitlines()
    assert lines[0].startswith("python -m pip install ")
    assert lines[0].endswith("--require-hashes --requirement requirements-lock.txt")
    assert any(line.startswith("useradd --uid 1000 ") and "nologin" in line for line in lines)
    assert lines[-1] == f"chown -R turnscribe {tmp_path / 'data'}"
    assert sorted(folder.name for folder in (tmp_path / "data").iterdir()) == ["huggingface", "jobs", "turnscribe"]


def test_a_failed_installation_fails_the_build(tmp_path: Path) -> None:
    stub(tmp_path, "python", "exit 3")
    variables = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "DATA": str(tmp_path / "data")}
    assert subprocess.run(["sh", str(INSTALL)], env=variables, timeout=60).returncode == 3


@pytest.mark.slow
def test_pip_understands_the_servers_requirements() -> None:
    """With nothing to fetch: where this environment has the packages, `pip install` has nothing to do."""
    from turnscribe.cli.checks.packages import check_versions

    if check_versions("server", REPOSITORY / "requirements-server.txt").status != "ok":
        pytest.skip("pip install -r requirements-server.txt to run this test")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "-r", "requirements-server.txt"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", [START, INSTALL], ids=lambda script: script.name)
def test_the_scripts_are_shell(script: Path) -> None:
    for shell in ("sh", "bash"):
        subprocess.run([shell, "-n", str(script)], check=True)


# --- The Dockerfile -------------------------------------------------------------------------------------------


def is_ignored(path: str) -> bool:
    """Docker's rule, as far as the file uses it: a pattern starts at the root unless `**/` begins it, and takes the
    folders below along."""
    parts = path.split("/")
    below = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    for pattern in (REPOSITORY / ".dockerignore").read_text().splitlines():
        if pattern and not pattern.startswith("#"):
            names = parts if pattern.startswith("**/") else below
            if any(fnmatch.fnmatch(name, pattern.removeprefix("**/")) for name in names):
                return True
    return False


def test_what_is_copied_and_run_is_there_and_not_ignored() -> None:
    needed = [word for name, text in instructions() if name == "COPY" for word in text.split()[:-1]]
    needed += re.findall(
        r"[\w/]+\.sh", " ".join(text for name, text in instructions() if name in ("RUN", "ENTRYPOINT"))
    )
    needed += [
        "server.py",
        "handler.py",
        "config.py",
        "diarization_utils.py",
        "turnscribe",
        "demo",
        "requirements.txt",
    ]
    for path in needed:
        assert (REPOSITORY / path).exists(), path
        assert not is_ignored(path), path


@pytest.mark.parametrize(
    "name", [".git", ".venv", ".venv-oldest", "build", ".env", "read-token.txt", "a/b-token.txt"]
)
def test_the_image_gets_no_environments_history_or_tokens(name: str) -> None:
    assert is_ignored(name)


def test_the_server_runs_without_rights_and_the_image_holds_no_secret() -> None:
    users = [text.strip() for name, text in instructions() if name == "USER"]
    assert users == ["1000"]
    names = [name for name, _ in instructions()]
    assert names.index("USER") > max(index for index, name in enumerate(names) if name in ("RUN", "COPY"))
    assert "ARG" not in names
    assert not [text for name, text in instructions() if name == "ENV" and re.search("TOKEN|SECRET|KEY|PASSW", text)]


def test_health_is_asked_at_the_servers_port() -> None:
    (health,) = [text for name, text in instructions() if name == "HEALTHCHECK"]
    command = json.loads(health[health.index("[") :])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "/health" in command[2]
    assert "os.environ['PORT']" in command[2]
    assert ("EXPOSE", "8000") in instructions()
    assert instructions()[-1] == ("ENTRYPOINT", '["sh", "scripts/container/start.sh"]')
