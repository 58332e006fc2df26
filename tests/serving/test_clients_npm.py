"""The npm package openai against `python -m server` with the demo models, over TLS: it opens nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.serving import npm, test_clients, test_clients_realtime
from tests.serving.test_clients import CLIENTS, KEY, Server, checked
from tests.serving.test_clients_realtime import TRANSCRIPTION, of, similarity
from turnscribe.waveform import to_int16

server, sound, pytestmark = test_clients.server, test_clients_realtime.sound, test_clients.pytestmark
openai, ask = test_clients_realtime.openai, test_clients.ask


@pytest.fixture(scope="module")
def programs() -> None:
    """Without them the tests are skipped; in CI, which installs them, they fail."""
    for program, package in (("openssl", "openssl"), ("node", "nodejs"), ("npm", "npm")):
        if shutil.which(program) is None:
            message = f"install {program} (Debian: apt-get install {package}) to run this test"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(message)


@pytest.fixture(scope="module")
def certificate(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of localhost, with its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    key, file = folder / "key.pem", folder / "certificate.pem"
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    checked([*new, "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(file)])
    (folder / "both.pem").write_text(file.read_text() + key.read_text())
    return folder / "both.pem"


@pytest.fixture(scope="module")
def over_tls(server: Server, certificate: Path) -> Iterator[str]:
    """An address at which TLS ends before the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    port = int(server.url.rpartition(":")[2])
    loop, ready = asyncio.new_event_loop(), threading.Event()
    found: list[str] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    async def listen() -> None:
        listening = await asyncio.start_server(connected, "localhost", 0, ssl=context)
        found.append(f"https://localhost:{listening.sockets[0].getsockname()[1]}")
        ready.set()

    def run() -> None:
        loop.run_until_complete(listen())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(30)
    yield found[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture(scope="module")
def installed(programs: None) -> Path:
    """A folder with the client and what it needs, made once."""
    folder = npm.installed("realtime_npm")
    shutil.copy(CLIENTS / "realtime_npm" / "client.mjs", folder)
    return folder


@pytest.fixture(scope="module")
def events(
    over_tls: str,
    certificate: Path,
    sound: NDArray[np.float32],
    installed: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[dict[str, Any]]:
    pcm = tmp_path_factory.mktemp("audio") / "speech.pcm"
    pcm.write_bytes(to_int16(sound).astype("<i2").tobytes())
    command = ["node", str(installed / "client.mjs"), over_tls, KEY, str(pcm)]
    printed = checked(command, "the npm client", NODE_EXTRA_CA_CERTS=str(certificate))
    return [json.loads(line) for line in printed.splitlines()]


def test_the_npm_package_gets_a_session_from_its_beginning_to_its_end(events: list[dict[str, Any]]) -> None:
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["session.created", "session.updated"]
    assert kinds[-2:] == ["session.closed", "closed"]
    assert events[-1]["code"] == 1000
    assert events[-2]["turnscribe"]["job"]
    assert "error" not in kinds


def test_the_npm_package_gets_what_the_python_package_gets(
    events: list[dict[str, Any]], openai: dict[str, list[dict[str, Any]]]
) -> None:
    def text(said: list[dict[str, Any]]) -> str:
        return " ".join(event["transcript"] for event in of(said, f"{TRANSCRIPTION}.completed"))

    assert of(events, f"{TRANSCRIPTION}.delta")
    assert {event["speaker"] for event in of(events, f"{TRANSCRIPTION}.segment")} >= {"SPEAKER_00"}
    assert similarity(text(events), text(openai["sync"])) > 0.8
