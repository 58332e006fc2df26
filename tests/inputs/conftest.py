from __future__ import annotations

import subprocess

import pytest

from tests.inputs.media import FILES, Make


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """make(arguments, extension) -> the bytes ffmpeg writes; make(name) -> one of FILES. Each is built once."""
    folder = tmp_path_factory.mktemp("audio")
    built: dict[tuple[str, ...], bytes] = {}

    def run(arguments: str | list[str], extension: str = "") -> bytes:
        if isinstance(arguments, str):
            arguments, extension, _ = FILES[arguments]
        key = (*arguments, extension)
        if key not in built:
            path = folder / f"{len(built)}.{extension}"
            command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments, str(path)]
            subprocess.run(command, check=True, capture_output=True)
            built[key] = path.read_bytes()
        return built[key]

    return run
