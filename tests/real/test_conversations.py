"""The two telephone calls, as whoever sends them would look at the answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.real.conftest import Hear
from tests.real.recording import Recording
from tests.real.scoring import normalise

SHEILA = "originally from chicago"


@pytest.mark.real_oldest
def test_the_call_is_told_by_two_people(hear: Hear, real_recordings: dict[str, Recording]) -> None:
    row = hear(real_recordings["conversation/sample"])
    heard, figures = row.heard, row.figures
    text = " ".join(normalise(heard.text, "en"))
    assert heard.language == "en"
    assert "this is diane in new jersey" in text
    assert SHEILA in text
    assert {passage.speaker for passage in heard.passages} == {turn.speaker for turn in heard.turns or ()}
    assert figures.speakers_found is not None
    assert figures.speakers_found.part == 2
    diane, sheila = ({p.speaker for p in heard.passages if name in p.text} for name in ("Diane", "Sheila"))
    assert diane
    assert sheila
    assert diane != sheila


def test_the_channels_of_a_call_are_two_people(real_handler: Any, real_recordings: dict[str, Recording]) -> None:
    call = real_recordings["conversation/know"]
    answer = real_handler({"inputs": call.load().audio, "parameters": {"channels": "split"}})
    said = dict.fromkeys(("CHANNEL_00", "CHANNEL_01"), "")
    for chunk in answer["chunks"]:
        said[chunk["speaker"]] += chunk["text"]
    texts = {name: " ".join(normalise(text, "en")) for name, text in said.items()}
    told = [name for name, text in texts.items() if "everyone tells you" in text]
    assert len(told) == 1, texts
    other = next(name for name in texts if name not in told)
    assert "really do not have to put up with" in texts[other], texts
