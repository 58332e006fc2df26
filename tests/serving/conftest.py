"""The browser and the stand-in of the server that the page's tests have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.serving.npm import installed
from tests.serving.page import Browser, StandIn, chromium_in, uncomplaining
from turnscribe.waveform import to_wav


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], Browser]]:
    with chromium_in(tmp_path_factory.mktemp("chromium"), Browser) as start:
        yield start


@pytest.fixture
def browser(chromium: Callable[[str, str], Browser], needs_program: Callable[[str], str]) -> Iterator[Browser]:
    with uncomplaining(chromium(needs_program("chromium"), needs_program("chromedriver"))) as found:
        yield found


@pytest.fixture
def server() -> Iterator[StandIn]:
    stand_in = StandIn()
    threading.Thread(target=stand_in.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield stand_in
    stand_in.shutdown()
    stand_in.server_close()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As long as `answer()`: 10.5 s, of a quiet tone."""
    file = tmp_path_factory.mktemp("recording") / "meeting.wav"
    file.write_bytes(to_wav((0.1 * np.sin(np.arange(84_000) / 8)).astype(np.float32), sample_rate=8000))
    return file


@pytest.fixture
def axe(needs_program: Callable[[str], str]) -> Callable[[Browser], None]:
    """Holds the view that is open against axe-core's rules."""
    needs_program("npm")
    script = (installed("axe") / "node_modules" / "axe-core" / "axe.min.js").read_text()

    def check(browser: Browser) -> None:
        browser.js(script)
        found = browser.driver.execute_async_script("axe.run().then(arguments[0])")["violations"]
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []

    return check
