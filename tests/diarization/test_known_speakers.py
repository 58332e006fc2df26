"""Known speakers: one to one, a stranger stays a stranger; with made-up voices, and with the demo models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from config import ModelSettings, parse_config
from tests.diarization.pitches import PitchDiarizer, other_embed, tone
from turnscribe.diarization.known_speakers import (
    MOST_SAMPLES,
    check_clip,
    check_names,
    match_voices,
    name_known_speakers,
    voice_of,
)
from turnscribe.diarization.voice_folder import VoiceFolder, known_voice
from turnscribe.errors import BadAudio, BadParameters, SettingsError
from turnscribe.pipeline import Pipeline
from turnscribe.transcript import Turn
from turnscribe.waveform import to_wav

RATE = 16_000


def test_each_takes_the_one_it_is_most_like() -> None:
    assert match_voices(np.array([[0.9, 0.2], [0.3, 0.8]], np.float32), 0.5) == [(0, 0), (1, 1)]


def test_two_speakers_are_not_one_person() -> None:
    assert match_voices(np.array([[0.9], [0.8]], np.float32), 0.5) == [(0, 0)]


def test_all_pairs_together_count_and_not_the_first_come() -> None:
    similarities = np.array([[0.95, 0.9], [0.9, 0.1]], np.float32)
    assert match_voices(similarities, 0.5) == [(0, 1), (1, 0)]


def test_a_stranger_stays_a_stranger() -> None:
    assert match_voices(np.array([[0.49, 0.1]], np.float32), 0.5) == []
    assert match_voices(np.array([[np.nan, 0.7]], np.float32), 0.5) == [(0, 1)]


def voice(direction: int, seconds: float) -> np.ndarray:
    """Samples that all are `direction`, which `embed` finds again."""
    return np.full(int(seconds * RATE), direction / 10, np.float32)


def embed(samples: np.ndarray) -> np.ndarray:
    assert len(samples) <= MOST_SAMPLES
    return np.eye(4, dtype=np.float32)[round(float(np.median(samples)) * 10)] * 7


def test_turns_get_the_names() -> None:
    waveform = np.concatenate([voice(1, 40), voice(2, 1), voice(3, 1), voice(1, 1)])
    turns = [
        Turn("SPEAKER_00", 0, 40),
        Turn("SPEAKER_01", 40, 41),
        Turn("SPEAKER_02", 41, 42),
        Turn("SPEAKER_00", 42, 43),
    ]
    people = {"Ann": embed(voice(3, 2)), "Bob": embed(voice(1, 2)), "Cy": embed(voice(0, 2))}
    speakers = [turn.speaker for turn in name_known_speakers(turns, waveform, people, embed=embed, threshold=0.5)]
    assert speakers == ["Bob", "SPEAKER_01", "Ann", "Bob"]


def test_nobody_speaks_or_nobody_is_known() -> None:
    assert name_known_speakers([], voice(1, 1), {"Ann": embed(voice(1, 2))}, embed=embed, threshold=0.5) == []
    turns = [Turn("SPEAKER_00", 0, 1)]
    assert name_known_speakers(turns, voice(1, 1), {}, embed=embed, threshold=0.5) == turns


@pytest.mark.parametrize(
    "names", [["SPEAKER_01"], ["Ann", "Ann"], [" "], ["A\n"], ["A" * 101], [str(n) for n in range(33)]]
)
def test_names_that_could_not_be_told_apart_are_refused(names: list[str]) -> None:
    with pytest.raises(BadParameters):
        check_names(names)


@pytest.mark.parametrize("clip", [voice(1, 1.9), voice(1, 10.1), voice(0, 3)])
def test_clips_nobody_can_be_known_by_are_refused(clip: np.ndarray) -> None:
    with pytest.raises(BadAudio, match="The reference of 'Ann' is"):
        check_clip("Ann", clip)
    check_clip("Ann", voice(1, 2.0))
    check_clip("Ann", voice(1, 10.0))


@pytest.mark.models
def test_the_demo_voices_are_known_again(demo_handler, conversation: bytes, conversation_waveform) -> None:
    plain = demo_handler.pipeline.transcribe(conversation, parse_config({"num_speakers": 3}))
    longest = {}
    for turn in sorted(plain.turns, key=lambda turn: turn.end - turn.start):
        longest[turn.speaker] = turn
    ann, bob, stranger = sorted(longest)
    clips = {}
    for name, speaker in (("Ann", ann), ("Bob", bob)):
        turn = longest[speaker]
        part = conversation_waveform[int(turn.start * RATE) : int(turn.end * RATE)]
        clips[name] = to_wav(np.tile(part, 2)[: 5 * RATE])
    renamed = demo_handler.pipeline.transcribe(
        conversation, replace(parse_config({"num_speakers": 3}), known_speakers=clips)
    )
    assert renamed.text == plain.text
    names = {ann: "Ann", bob: "Bob", stranger: stranger}
    assert [chunk.speaker for chunk in renamed.chunks] == [names[chunk.speaker] for chunk in plain.chunks]
    assert {turn.speaker for turn in renamed.turns} == {"Ann", "Bob", stranger}


@pytest.mark.models
def test_known_speakers_need_a_diarization(demo_handler, conversation: bytes) -> None:
    ann, undiarized = {"Ann": conversation}, parse_config({"diarize": False})
    with pytest.raises(BadParameters, match="nobody is told apart"):
        demo_handler.pipeline.transcribe(conversation, replace(undiarized, known_speakers=ann))
    with pytest.raises(BadAudio, match="'Ann' is 48"):
        demo_handler.pipeline.transcribe(
            conversation, replace(parse_config({}), known_speakers={"Ann": conversation})
        )


@pytest.mark.models
def test_people_in_the_folder_of_voices_are_known_unless_the_request_does_not_want_it(
    demo_handler, conversation: bytes, conversation_waveform, tmp_path: Path
) -> None:
    """A clip that is sent goes before the voice of that name in the folder."""
    old = demo_handler.pipeline
    plain = old.transcribe(conversation, parse_config({"num_speakers": 3}))
    parts = {
        speaker: voice_of(conversation_waveform, plain.turns, speaker)
        for speaker in sorted({turn.speaker for turn in plain.turns})
    }
    ann, bob, stranger = parts
    folder = VoiceFolder(tmp_path)
    folder.add(known_voice("Ann", [parts[ann]], old.diarizer.embed))
    folder.add(known_voice("Bob", [parts[stranger]], old.diarizer.embed))
    settings = old.settings.model_copy(update={"voices_folder": tmp_path})
    pipeline = Pipeline(settings, old.asr, old.diarizer, detector=old.detector, device=old.device)

    def speakers(**changes: Any) -> list[str | None]:
        request = replace(parse_config({"num_speakers": 3, **changes}), known_speakers=clips)
        return [chunk.speaker for chunk in pipeline.transcribe(conversation, request).chunks]

    def renamed(names: dict[str, str]) -> list[str | None]:
        return [names[chunk.speaker] for chunk in plain.chunks]

    clips: dict[str, bytes] = {}
    assert speakers() == renamed({ann: "Ann", bob: bob, stranger: "Bob"})
    assert speakers(known_voices=False) == renamed({ann: ann, bob: bob, stranger: stranger})
    clips = {"Bob": to_wav(np.tile(parts[bob], 5)[: 5 * RATE])}
    assert speakers() == renamed({ann: "Ann", bob: "Bob", stranger: stranger})
    assert list(pipeline.known_voices({})) == ["Ann", "Bob"]


def test_a_folder_of_voices_needs_a_diarizer_and_has_to_be_there(tmp_path: Path) -> None:
    settings = ModelSettings(asr_model="any", voices_folder=tmp_path / "missing")
    with pytest.raises(SettingsError, match="VOICES_FOLDER has voices and no diarizer is loaded"):
        Pipeline(settings, SimpleNamespace())
    with pytest.raises(SettingsError, match=r"VOICES_FOLDER .*missing cannot be read"):
        Pipeline(settings, SimpleNamespace(), PitchDiarizer())


def test_voices_of_another_diarizer_are_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    VoiceFolder(tmp_path).add(known_voice("Ann", [tone(200, 3)], other_embed))
    Pipeline(ModelSettings(asr_model="any", voices_folder=tmp_path), SimpleNamespace(), PitchDiarizer())
    assert "VOICES_FOLDER has one voice of another diarizer" in caplog.text
    assert "Ann" not in caplog.text
