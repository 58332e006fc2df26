"""Who said what, on conversations of real people."""

from __future__ import annotations

from typing import Any

import pytest

from tests.real.conftest import Hear
from tests.real.recording import Recording
from tests.real.speakers import cut_sentences, speaker_word_errors, wrong_speakers
from tests.real.systems import heard_by

# Words with the wrong speaker: those that were measured, and two. In know two people change places at the start.
MOST = {"conversation/sample": 3, "conversation/know": 12}


@pytest.mark.parametrize("name", MOST)
def test_few_words_have_the_wrong_speaker(hear: Hear, real_recordings: dict[str, Recording], name: str) -> None:
    row = hear(real_recordings[name])
    assert wrong_speakers(row.recording, row.spoken, row.heard.passages).part <= MOST[name], row.heard.passages


def test_no_sentence_is_cut_in_two(hear: Hear, real_recordings: dict[str, Recording]) -> None:
    """The diarizer's turns alternate four times in the first sentence. (In sample two people make one.)"""
    assert cut_sentences(hear(real_recordings["conversation/aepyx"]).heard.passages) == []


def test_two_channels_tell_who_speaks_at_once(
    hear: Hear, real_recordings: dict[str, Recording], real_handler: Any
) -> None:
    call = real_recordings["conversation/know"]
    spoken, mixed = call.load(), hear(call).heard
    split = heard_by(real_handler, spoken.audio, diarize=False, channels="split")
    of_split, of_mixed = (speaker_word_errors(call, spoken, heard.passages) for heard in (split, mixed))
    assert of_split.part <= of_mixed.part / 2, split.passages
