"""A folder of known voices: what is kept, what changes while it is in use, and what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.diarization.pitches import RATE, embed, other_embed, tone
from turnscribe.diarization.voice_folder import SUFFIX, VoiceFolder, known_voice
from turnscribe.errors import BadParameters, SettingsError


@pytest.fixture
def folder(tmp_path: Path) -> VoiceFolder:
    return VoiceFolder(tmp_path / "voices")


def test_a_person_is_kept_without_the_audio(folder: VoiceFolder) -> None:
    path = folder.add(known_voice("Ann Lee", [tone(200, 3), tone(201, 5)], embed))
    assert path.name.startswith("Ann-Lee-")
    (voice,) = VoiceFolder(folder.path).voices()
    assert (voice.name, voice.clips, voice.seconds) == ("Ann Lee", 2, 8.0)
    people = folder.people(embed)
    assert people["Ann Lee"] @ embed(tone(200, 2)) > 0.99
    assert path.stat().st_size < 8 * RATE * 2 / 10
    assert set(json.loads(path.read_text())) == {"name", "embedding", "probe", "clips", "seconds"}


def test_who_is_added_again_is_replaced_and_who_is_removed_is_gone(folder: VoiceFolder) -> None:
    for name, pitch in (("Ann", 200), ("Bob", 400), ("Ann", 800)):
        folder.add(known_voice(name, [tone(pitch, 3)], embed))
    assert [voice.name for voice in folder.voices()] == ["Ann", "Bob"]
    assert folder.people(embed)["Ann"] @ embed(tone(800, 2)) > 0.99
    folder.remove("Ann")
    assert list(folder.people(embed)) == ["Bob"]
    with pytest.raises(BadParameters, match="Nobody is called 'Ann'"):
        folder.remove("Ann")


def test_a_change_is_seen_while_the_folder_is_in_use(folder: VoiceFolder) -> None:
    folder.add(known_voice("Ann", [tone(200, 3)], embed))
    assert list(folder.people(embed)) == ["Ann"]
    VoiceFolder(folder.path).add(known_voice("Bob", [tone(400, 3)], embed))
    assert list(folder.people(embed)) == ["Ann", "Bob"]


@pytest.mark.parametrize(
    "names", [("../Ann", "..\\Ann"), ("A/B", "A B"), ("Ann", "ann"), ("Žofie", "Zofie"), ("李", "王")]
)
def test_every_name_has_a_file_of_its_own_in_the_folder(folder: VoiceFolder, names: tuple[str, str]) -> None:
    for name in names:
        assert folder.add(known_voice(name, [tone(200, 3)], embed)).parent == folder.path
    assert {voice.name for voice in folder.voices()} == set(names)


def test_a_voice_of_another_diarizer_is_not_compared(folder: VoiceFolder) -> None:
    folder.add(known_voice("Ann", [tone(200, 3)], other_embed))
    folder.add(known_voice("Bob", [tone(400, 3)], embed))
    assert len(folder.voices()) == 2
    assert list(folder.people(embed)) == ["Bob"]
    assert list(VoiceFolder(folder.path).people(other_embed)) == ["Ann"]


def test_the_same_weights_on_another_device_are_the_same_diarizer(folder: VoiceFolder) -> None:
    folder.add(known_voice("Ann", [tone(200, 3)], embed))
    noise = np.random.default_rng(0).normal(scale=1e-4, size=len(embed(tone(1, 1)))).astype(np.float32)
    assert list(folder.people(lambda samples: embed(samples) + noise)) == ["Ann"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"name": "A", "embedding": [1], "probe": [[1]], "clips": 1, "seconds": 1}', "\x00"]
)
def test_a_file_that_is_no_voice_is_named(folder: VoiceFolder, text: str) -> None:
    folder.path.mkdir()
    (folder.path / f"ann{SUFFIX}").write_text(text)
    (folder.path / "notes.txt").write_text("not looked at")
    with pytest.raises(SettingsError, match=f"ann{SUFFIX} in VOICES_FOLDER is no voice: remove it"):
        folder.voices()


def test_a_folder_that_is_not_there_is_named(folder: VoiceFolder) -> None:
    with pytest.raises(SettingsError, match=r"VOICES_FOLDER .*voices cannot be read \(No such file"):
        folder.people(embed)


def test_a_name_that_strangers_have_is_refused() -> None:
    with pytest.raises(BadParameters, match="starts with SPEAKER_"):
        known_voice("SPEAKER_00", [tone(200, 3)], embed)
