"""People are told apart by six seconds of their real voices: how often one is taken for two, and two for one."""

from __future__ import annotations

from pathlib import Path

from tests.real.recordings import fetch
from tests.real.voices import write_clips
from turnscribe.cli.voices import compare
from turnscribe.diarization.diarizer import load_diarizer

# Seen: 4 of 161 pairs of clips of one person, and 23 of 2,185 of two. The bounds leave room for another CPU.
MOST_REJECTED = 0.05
MOST_ACCEPTED = 0.02


def test_clips_of_real_people_are_told_apart(real_models: Path, tmp_path: Path) -> None:
    write_clips(fetch(), tmp_path)
    told = compare(tmp_path, load_diarizer(str(real_models / "open-diarizer")))
    assert told.people >= 12
    assert told.rejected <= MOST_REJECTED * told.same
    assert told.accepted <= MOST_ACCEPTED * told.different
