"""The number of speakers that was asked for, held against that which was found."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from turnscribe.asr.protocol import Recognition
from turnscribe.bulk.long_recordings import PartTranscript, merge
from turnscribe.diarization.diarizer import count_warnings
from turnscribe.parameters import parse_parameters
from turnscribe.pipeline import Pipeline
from turnscribe.request import Request
from turnscribe.settings import ModelSettings
from turnscribe.transcript import Chunk, Transcript, Turn
from turnscribe.waveform import to_wav


def turns_of(speakers: int) -> list[Turn]:
    return [Turn(f"SPEAKER_{index % speakers:02d}", index, index + 1) for index in range(2 * speakers)]


@pytest.mark.parametrize(
    ("asked", "found", "said"),
    [
        ({"num_speakers": 5}, 4, "num_speakers is 5, and 4 speakers were found."),
        ({"num_speakers": 2}, 1, "num_speakers is 2, and 1 speaker was found."),
        ({"num_speakers": 2}, 3, "num_speakers is 2, and 3 speakers were found."),
        ({"min_speakers": 3, "max_speakers": 5}, 2, "min_speakers is 3, and 2 speakers were found."),
        ({"max_speakers": 1}, 2, "max_speakers is 1, and 2 speakers were found."),
    ],
)
def test_another_number_than_was_asked_for_is_told(asked: dict[str, int], found: int, said: str) -> None:
    request = Request(**cast("dict[str, Any]", asked))
    assert count_warnings(request, turns_of(found)) == [said]
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    asr = SimpleNamespace(transcribe=lambda *_, **__: Recognition((Chunk(" Hm.", 0.0, 1.0),), "en"))
    pipeline = Pipeline(
        ModelSettings(asr_model="fake"),
        cast("Any", asr),
        cast("Any", object()),
        diarize=lambda *_: turns_of(found),
    )
    assert pipeline.transcribe(to_wav(noise), parse_parameters({**asked, "vad": False})).warnings == (said,)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, 4),
        ({"num_speakers": 2}, 2),
        ({"min_speakers": 2, "max_speakers": 3}, 3),
        ({"num_speakers": 2}, 0),  # nobody speaks
    ],
)
def test_nothing_is_told_of_the_number_that_was_asked_for(asked: dict[str, int], found: int) -> None:
    assert count_warnings(Request(**cast("dict[str, Any]", asked)), turns_of(found) if found else []) == []


def test_the_parts_of_a_recording_are_counted_together() -> None:
    parts = [
        PartTranscript(
            60.0 * index,
            Transcript(
                "Hm.", (Chunk(" Hm.", 0.0, 1.0, speaker="SPEAKER_00"),), 60.0, turns=(Turn("SPEAKER_00", 0, 1),)
            ),
            {"SPEAKER_00": [1.0, 0.0]},
        )
        for index in range(2)
    ]
    assert merge(parts, Request(max_speakers=2)).warnings == ()
    assert merge(parts, Request(num_speakers=3)).warnings == ("num_speakers is 3, and 2 speakers were found.",)
