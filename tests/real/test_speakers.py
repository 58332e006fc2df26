"""Who said what, on conversations of real people."""

from __future__ import annotations

from typing import Any

import pytest

from tests.real.conftest import Measured
from tests.real.speakers import cut_sentences, speaker_word_errors, wrong_speakers
from tests.real.systems import heard_by

# Words with the wrong speaker: those that were measured, and two. In know two people change places at the start.
MOST = {"conversation/sample": 3, "conversation/know": 12}


@pytest.mark.parametrize("name", MOST)
def test_few_words_have_the_wrong_speaker(measured: Measured, name: str) -> None:
    recording, spoken, heard, _ = measured[name]
    assert wrong_speakers(recording, spoken, heard.passages).part <= MOST[name], heard.passages


@pytest.mark.parametrize("name", ["aepyx", "sample"])
def test_no_sentence_is_cut_in_two(measured: Measured, name: str) -> None:
    """The diarizer's turns alternate four times in the first sentence of aepyx."""
    assert cut_sentences(measured[f"conversation/{name}"][2].passages) == []


def test_two_channels_tell_who_speaks_at_once(measured: Measured, real_handler: Any) -> None:
    call, spoken, mixed, _ = measured["conversation/know"]
    split = heard_by(real_handler, spoken.audio, diarize=False, channels="split")
    of_split, of_mixed = (speaker_word_errors(call, spoken, heard.passages) for heard in (split, mixed))
    assert of_split.part <= of_mixed.part / 2, split.passages
