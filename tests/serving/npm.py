"""Packages of npm that tests run, each in a folder of its own that is made once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

QUIET = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--loglevel", "error")


def installed(name: str) -> Path:
    """The folder with what `clients/<name>/package.json` wants."""
    wanted = (Path(__file__).parent / "clients" / name / "package.json").read_text()
    folder = REPOSITORY / ".venv-clients" / name
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / "package.json"
    if not (folder / "node_modules").exists() or package.read_text() != wanted:
        shutil.rmtree(folder / "node_modules", ignore_errors=True)
        package.write_text(wanted)
        command = ["npm", "install", "--prefix", str(folder), *QUIET]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=570)
        if done.returncode:
            pytest.fail(f"this test installs a package: {' '.join(command)}\n{done.stderr[-3000:]}")
    return folder
