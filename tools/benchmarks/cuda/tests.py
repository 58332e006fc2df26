"""The tests marked `cuda`, run by pytest where it is installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from tools.benchmarks.cuda.report import Row

SECTION = "Tests marked cuda"
FILES = (
    "tests/engine/test_gpu.py",
    "tests/engine/test_proof.py",
    "tests/test_side_by_side.py",
    "tests/test_gpu_branches.py",
    "tests/diarization/test_gpu_windows.py",
    "tests/cli/test_doctor.py",
)


def tested(marker: str, *, seconds: float) -> Row | None:
    """What pytest says of them; `None` where it is not installed. They are stopped after so many seconds."""
    if importlib.util.find_spec("pytest") is None:
        return None
    quietly = ["-q", "--continue-on-collection-errors", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *quietly, "-m", marker]
    repository = Path(__file__).resolve().parents[3]
    try:
        done = subprocess.run(
            [*command, *FILES], cwd=repository, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Row(SECTION, "pytest", passed=False, note=f"stopped after {seconds:.0f} s")
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    summary = lines[-1] if lines else done.stderr.strip()[-200:]
    failures = [line for line in lines if re.match(r"(FAILED|ERROR) ", line)]
    return Row(SECTION, "pytest", passed=done.returncode == 0, note=" / ".join([summary, *failures[:20]]))
