"""schemathesis reads /openapi.json and sends whatever it can think of: nothing of it may be a 5xx."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.fakes import FakePipeline
from tests.serving.live import serving

EXAMPLES = "12"  # of each route and phase


@pytest.mark.property
@pytest.mark.serving
def test_no_request_the_schema_suggests_is_a_5xx(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    with serving(FakePipeline(), tmp_path) as client:
        url = f"{client.base_url}/openapi.json"
        program = "from schemathesis.cli import schemathesis; schemathesis()"
        options = ["--checks=not_a_server_error", "--seed=1", f"--max-examples={EXAMPLES}", "--warnings=off"]
        done = subprocess.run(
            [sys.executable, "-c", program, "run", url, "--generation-deterministic", *options],
            cwd=tmp_path,  # where it may keep what it likes
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        print(done.stdout[-1500:])
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert client.get("/health").status_code == 200
