"""Windows and macOS, as far as they can be told from here: what they lack is not needed, or asked for in vain in one
sentence. docs/systems.md says what else is known of them.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DEMO, REPOSITORY
from tests.other_system import MODULES, NAMES

PRETEND = "from tests.other_system import pretend; pretend()\n"
# Where the package uses what Windows lacks: each is behind a look whether it is there, or below `DEVICES`.
GUARDED = {
    "turnscribe/checkpoints/store.py": {"getuid"},
    "turnscribe/cli/checks/machine.py": {"sysconf"},
    "turnscribe/serving/connections.py": {"fcntl", "resource", "termios"},
    "turnscribe/serving/devices/channel.py": {"memfd_create", "AF_UNIX"},
    "turnscribe/serving/devices/device.py": {"SIGKILL"},
    "turnscribe/threads.py": {"sched_getaffinity", "sysconf"},
}

pytestmark = pytest.mark.slow


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRETEND + code, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_module_can_be_imported() -> None:
    """All but the program of a device's process, which runs on Linux alone."""
    imported = run(
        "import importlib, pkgutil, turnscribe\n"
        "for module in pkgutil.walk_packages(turnscribe.__path__, 'turnscribe.'):\n"
        "    if module.name != 'turnscribe.__main__':\n"
        "        importlib.import_module(module.name); print(module.name)\n"
    )
    assert {"turnscribe.serving.server", "turnscribe.serving.devices.device"} <= set(imported.split())
    run("import handler, server")


@pytest.mark.parametrize("command", ["transcribe", "serve", "live", "doctor", "models", "evaluate", "deploy"])
def test_the_command_line_is_there(command: str) -> None:
    assert "usage:" in run(
        "import sys; from turnscribe.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: sys.exit(end.code)\n",
        command,
        "--help",
    )


@pytest.mark.models
def test_a_recording_is_transcribed(tmp_path: Path) -> None:
    given = ["--asr-model", DEMO["asr_model"], "--diarization-model", DEMO["diarization_model"], "--quiet"]
    code = "import sys; from turnscribe.cli.main import main\nsys.exit(main(['transcribe', *sys.argv[1:]]))"
    assert "SPEAKER_02" in run(code, "demo/conversation.flac", *given)


def test_jobs_and_live_sessions_are_kept(tmp_path: Path) -> None:
    code = """
import io, sys
from pathlib import Path
import numpy as np
from turnscribe.errors import SettingsError
from turnscribe.live.spool import Spool
from turnscribe.serving.jobs.store import JobStore
folder = Path(sys.argv[1])
store = JobStore(folder, retention_s=10)
job = store.add(io.BytesIO(b"audio"), name="a", url=None, parameters={}, webhook=None)
try:
    JobStore(folder, retention_s=10)
except SettingsError as error:
    print(error)
assert store.upload(job.id).read_bytes() == b"audio"
store.close()
JobStore(folder, retention_s=10).close()
spool = Spool(folder / "spool")
spool.append(np.zeros(100, np.float32))
assert len(spool.read(0, 100)) == 100 and len(spool.wav().read()) == 44 + 200
spool.close()
"""
    assert run(code, str(tmp_path)) == "JOBS_FOLDER is another server's: give every server its own.\n"


def test_what_only_linux_can_is_refused_and_what_is_not_known_is_said_so() -> None:
    said = run("""
from turnscribe.checkpoints.store import homes
from turnscribe.cli.checks.machine import this_machine
from turnscribe.errors import SettingsError
from turnscribe.serving.connections import most_connections
from turnscribe.serving.devices.choice import chosen_devices
from turnscribe.threads import cores
assert most_connections(1000) == 1000 and homes() and cores() >= 1
print(this_machine().memory)
try:
    chosen_devices("cpu,cpu")
except SettingsError as error:
    print(error)
""")
    memory, sentence = said.splitlines()
    assert memory == "inf"
    assert sentence.startswith("DEVICES needs Linux")


def test_nothing_else_is_used_that_windows_lacks() -> None:
    found: dict[str, set[str]] = {}
    for file in (REPOSITORY / "turnscribe").rglob("*.py"):
        names: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names |= {node.attr} & NAMES.get(node.value.id, set())
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names} & MODULES
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names |= {node.module or ""} & MODULES
                names |= {alias.name for alias in node.names} & NAMES.get(node.module or "", set())
        if names:
            found[str(file.relative_to(REPOSITORY))] = names
    assert found == GUARDED
