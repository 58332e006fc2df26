"""A long recording in parts, without a cluster: what one actor cuts, all transcribe and the job merges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adapters.ray import passes
from adapters.ray.parts import CutEntry, cut_or_transcribe, transcribe_part_entry
from adapters.ray.passes import Pool, transcribe_parts
from adapters.repository import REPOSITORY
from config import parse_config
from tests.fakes import deployed
from turnscribe.bulk.entries import attempt
from turnscribe.bulk.manifest import Entry, list_entries
from turnscribe.deployment import Deployment
from turnscribe.errors import BadAudio
from turnscribe.waveform import to_wav

PART_SECONDS = 50.0
PARAMETERS = {"chunk_length_s": 15}


@pytest.fixture(scope="module")
def long(conversation_waveform: NDArray[np.float32]) -> bytes:
    """Ninety-seven seconds."""
    return to_wav(np.tile(conversation_waveform, 2))


@pytest.fixture
def entry(long: bytes, tmp_path: Path) -> Entry:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "day.wav").write_bytes(long)
    (found,) = list_entries([str(tmp_path / "in")], str(tmp_path / "out"))
    return replace(found, parameters=PARAMETERS)


@pytest.fixture(scope="module")
def models(demo_handler: Any) -> Deployment:
    return deployed(demo_handler.pipeline)


@pytest.fixture
def actors(models: Deployment, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In place of Ray's: the names of the parts that they transcribed."""
    done: list[str] = []

    def transcribe_all(entries: Sequence[Entry], pool: Pool, **_: Any) -> Any:
        assert pool.of_parts
        for entry in entries:
            done.append(Path(entry.uri).name)
            yield attempt(lambda part: transcribe_part_entry(part, deployment=models), entry)

    monkeypatch.setattr(passes, "transcribe_all", transcribe_all)
    monkeypatch.setattr(REPOSITORY, "load_settings", models.load_settings)
    return done


def in_parts(cut: Sequence[Entry], output: Path, *formats: str) -> tuple[list[Entry], list[str]]:
    """What became of the recordings, and what was said of it."""
    said: list[str] = []
    pool = Pool(2, {}, {}, formats, part_seconds=PART_SECONDS)
    return list(transcribe_parts(cut, pool, output=str(output), on_message=said.append)), said


def parts_in(output: Path) -> list[str]:
    return sorted(file.name for file in output.glob("day.wav.parts/*/*"))


def test_parts_over_actors_are_the_single_actors_transcript_with_one_numbering_of_speakers(
    entry: Entry, long: bytes, models: Deployment, actors: list[str], tmp_path: Path
) -> None:
    cut = cut_or_transcribe(entry, part_seconds=PART_SECONDS, deployment=models)
    assert cut == replace(entry, status=None)
    assert parts_in(tmp_path / "out") == ["0000", "0001"]
    (done,), said = in_parts([cut], tmp_path / "out", "srt")
    assert (done.status, done.error) == ("done", None)
    assert said == ["1 long recordings have 2 parts, 0 of them there already."]
    assert actors == ["0000", "0001"]

    answer = json.loads((tmp_path / "out" / "day.wav.json").read_text())
    alone = models.pipeline().transcribe(long, parse_config(PARAMETERS))
    assert answer["text"] == alone.text
    assert done.duration == pytest.approx(alone.duration)
    pairs = {(ours["speaker"], theirs.speaker) for ours, theirs in zip(answer["words"], alone.words, strict=True)}
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({theirs for _, theirs in pairs}) == 3
    assert (tmp_path / "out" / "day.wav.srt").read_text().count("-->") > 2
    assert not (tmp_path / "out" / "day.wav.parts").exists()


def test_a_job_that_was_stopped_goes_on_with_the_parts_that_are_missing(
    entry: Entry, models: Deployment, actors: list[str], tmp_path: Path
) -> None:
    cut = cut_or_transcribe(entry, part_seconds=PART_SECONDS, deployment=models)
    first, second = CutEntry.read(cut).parts
    transcribe_part_entry(first, deployment=models)
    written = Path(second.uri).stat().st_mtime_ns

    again = cut_or_transcribe(entry, part_seconds=PART_SECONDS, deployment=models)
    assert again == cut
    assert Path(second.uri).stat().st_mtime_ns == written  # it is not cut anew
    (done,), said = in_parts([again], tmp_path / "out")
    assert done.status == "done"
    assert actors == ["0001"]
    assert said == ["1 long recordings have 2 parts, 1 of them there already."]


def test_parts_of_another_content_or_other_parameters_are_not_taken(
    entry: Entry, models: Deployment, conversation_waveform: NDArray[np.float32]
) -> None:
    def key(entry: Entry, seconds: float = PART_SECONDS) -> str:
        return CutEntry.read(cut_or_transcribe(entry, part_seconds=seconds, deployment=models)).plan.key

    first = key(entry)
    german = key(replace(entry, parameters={**PARAMETERS, "language": "de"}))
    shorter = key(entry, 30.0)
    Path(entry.uri).write_bytes(to_wav(np.tile(conversation_waveform, 2)[16_000:]))
    assert len({first, german, shorter, key(entry)}) == 4


def test_what_is_short_or_has_split_channels_is_transcribed_whole(
    entry: Entry, models: Deployment, tmp_path: Path
) -> None:
    whole = cut_or_transcribe(entry, part_seconds=70, deployment=models, formats=["srt"])
    assert whole.status == "done"
    assert (tmp_path / "out" / "day.wav.srt").exists()
    apart = replace(entry, parameters={**PARAMETERS, "channels": "split"})
    assert cut_or_transcribe(apart, part_seconds=20, deployment=models).status == "done"
    assert not (tmp_path / "out" / "day.wav.parts").exists()


def test_a_part_that_fails_is_the_recordings_failure_and_the_others_stay(
    entry: Entry, models: Deployment, actors: list[str], tmp_path: Path
) -> None:
    cut = cut_or_transcribe(entry, part_seconds=PART_SECONDS, deployment=models)
    recording = CutEntry.read(cut)
    Path(recording.parts[1].uri).write_bytes(b"damaged")
    (failed,), _ = in_parts([cut], tmp_path / "out")
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.startswith(f"The part from {recording.plan.offsets[1]:.0f} s: ")
    assert "0000.json" in parts_in(tmp_path / "out")
    assert not (tmp_path / "out" / "day.wav.json").exists()


def test_a_plan_that_is_gone_fails_its_recording_alone(
    entry: Entry, models: Deployment, actors: list[str], tmp_path: Path
) -> None:
    cut = cut_or_transcribe(entry, part_seconds=PART_SECONDS, deployment=models)
    other = replace(cut, uri="/elsewhere.wav", output=str(tmp_path / "out" / "elsewhere.wav"))
    (failed, done), _ = in_parts([other, cut], tmp_path / "out")
    assert (failed.status, done.status) == ("failed", "done")
    assert failed.error == f"{tmp_path}/out/elsewhere.wav.parts/plan.json is gone: start again."


def test_what_is_no_recording_is_refused_before_it_is_cut(entry: Entry, models: Deployment) -> None:
    Path(entry.uri).write_bytes(b"no audio at all")
    with pytest.raises(BadAudio):
        cut_or_transcribe(entry, part_seconds=PART_SECONDS, deployment=models)
