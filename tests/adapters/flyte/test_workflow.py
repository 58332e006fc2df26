"""The workflows as users run them, by `pyflyte run`, on the demo models."""

from __future__ import annotations

import functools
import json
import re
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adapters.flyte import shards, workflow
from adapters.flyte.shards import ENDED, GONE, LOST, list_shards
from adapters.flyte.workflow import retried, split_recording, transcribe_shard
from config import parse_config
from tests.adapters.flyte.conftest import BusyStore, PyFlyte
from tests.fakes import FakePipeline, deployed
from turnscribe.bulk.manifest import REPORT, Entry, from_text
from turnscribe.bulk.places import Unavailable, find, read, write
from turnscribe.errors import BadParameters
from turnscribe.waveform import to_wav

pytestmark = pytest.mark.models
WINDOW = {"chunk_length_s": 15}  # seconds: what the demo models hear best


def reported(output: Path) -> dict[str, Entry]:
    return {Path(entry.uri).name: entry for entry in from_text((output / REPORT).read_text())}


def spoken(text: dict[str, Any]) -> list[tuple[str, str]]:
    return [(word["word"], word["speaker"]) for word in text["words"]]


def files_command(inputs: list[str], output: str, **more: str) -> list[str]:
    words = ["transcribe_files", "--inputs", json.dumps(inputs), "--output", output]
    return words + [word for name, value in more.items() for word in (f"--{name}", value)]


def test_many_files_are_transcribed_once_and_a_poison_file_is_reported(
    pyflyte: PyFlyte, talks: Path, tmp_path: Path, demo_handler: Any
) -> None:
    (talks / "poison.mp3").write_bytes(b"this is no recording")
    output = tmp_path / "out"
    command = files_command([str(talks)], str(output), formats="srt text", files_per_task="2")

    first = pyflyte(*command)
    assert first.returncode == 0, first.stdout
    entries = reported(output)
    assert {name: entry.status for name, entry in entries.items()} == {
        "poison.mp3": "failed",
        "talk0.wav": "done",
        "talk1.wav": "done",
    }
    assert "2 done" in first.stdout
    assert f"failed: {talks / 'poison.mp3'}: The input is not audio" in first.stdout
    request = parse_config({"diarize": False})
    for name in ("talk0.wav", "talk1.wav"):
        alone = demo_handler.pipeline.transcribe((talks / name).read_bytes(), request)
        assert json.loads((output / f"{name}.json").read_text())["text"] == alone.text != ""
        assert "-->" in (output / f"{name}.srt").read_text()
        assert (output / f"{name}.txt").read_text().strip() == alone.text

    marked = output / "talk0.wav.json"
    marked.write_text("by hand")  # whoever transcribed it again would replace this
    second = pyflyte(*command)
    assert second.returncode == 0, second.stdout
    assert marked.read_text() == "by hand"
    assert reported(output) == entries

    (talks / "talk0.wav").write_bytes((talks / "talk1.wav").read_bytes())  # of the same size
    third = pyflyte(*command)
    assert third.returncode == 0, third.stdout
    texts = [json.loads((output / f"{name}.json").read_text())["text"] for name in ("talk0.wav", "talk1.wav")]
    assert texts[0] == texts[1]

    (output / "talk1.wav.json").unlink()
    missed = pyflyte(*command)
    assert missed.returncode == 0, missed.stdout
    assert reported(output)["talk1.wav"].error == GONE
    again = pyflyte(*files_command([str(output / REPORT)], str(output), formats="srt text", files_per_task="2"))
    assert again.returncode == 0, again.stdout
    assert reported(output)["talk1.wav"].status == "done"
    assert json.loads((output / "talk1.wav.json").read_text())["text"] == texts[1]


def test_a_share_of_the_tasks_may_fail(
    pyflyte: PyFlyte, talks: Path, busy_store: BusyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASK_MIN_SUCCESS_RATIO", "0.3")
    inputs = [str(talks / "talk0.wav"), busy_store.uri]
    done = pyflyte(*files_command(inputs, str(tmp_path / "out"), files_per_task="1"))
    assert done.returncode == 0, done.stdout
    entries = reported(tmp_path / "out")
    assert (entries["talk0.wav"].status, entries["later.wav"].status) == ("done", "failed")
    assert entries["later.wav"].error == LOST
    assert f"failed: {busy_store.uri}" in done.stdout


def test_too_many_failed_tasks_fail_the_workflow_and_the_report_is_there(
    pyflyte: PyFlyte, talks: Path, busy_store: BusyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASK_MIN_SUCCESS_RATIO", "0.9")
    inputs = [str(talks / "talk0.wav"), busy_store.uri]
    failed = pyflyte(*files_command(inputs, str(tmp_path / "out"), files_per_task="1"))
    assert failed.returncode != 0
    assert "try again later" in failed.stdout
    entries = reported(tmp_path / "out")
    assert (entries["later.wav"].status, entries["later.wav"].error) == ("failed", ENDED)
    assert (entries["talk0.wav"].status == "exists") is (tmp_path / "out" / "talk0.wav.json").exists()


def test_what_is_wrong_is_found_before_a_model_is_loaded(pyflyte: PyFlyte, talks: Path, tmp_path: Path) -> None:
    wrong = pyflyte(*files_command([str(talks)], str(tmp_path / "out"), formats="pdf"))
    assert wrong.returncode != 0
    assert "formats has 'pdf'" in wrong.stdout
    assert "Loading weights" not in wrong.stdout


def test_recordings_of_a_bucket_get_their_transcripts_there(pyflyte: PyFlyte, talks: Path, bucket: str) -> None:
    for file in talks.iterdir():
        write(f"{bucket}/monday/{file.name}", file.read_bytes())
    done = pyflyte(*files_command([f"{bucket}/monday"], f"{bucket}/transcripts"))
    assert done.returncode == 0, done.stdout
    assert "s3cret" not in done.stdout
    names = ["manifest.jsonl", "talk0.wav.json", "talk0.wav.srt", "talk1.wav.json", "talk1.wav.srt"]
    assert list(find(f"{bucket}/transcripts")) == [f"{bucket}/transcripts/{name}" for name in names]
    assert json.loads(read(f"{bucket}/transcripts/talk0.wav.json", max_bytes=2**20))["text"]


def test_a_replaced_object_is_another_shard(models: None, bucket: str) -> None:
    def listed() -> list[str]:
        return list_shards([f"{bucket}/tuesday"], f"{bucket}/out", {}, files=4)

    write(f"{bucket}/tuesday/a.wav", b"1234")
    before = listed()
    assert listed() == before
    write(f"{bucket}/tuesday/a.wav", b"5678")
    assert listed() != before


def test_a_long_recording_in_parts_is_the_single_machines_transcript(
    pyflyte: PyFlyte,
    conversation_waveform: NDArray[np.float32],
    demo_handler: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIARIZATION_MODEL", "demo/diarizer")
    recording = tmp_path / "day.wav"
    recording.write_bytes(to_wav(np.tile(conversation_waveform, 4)))  # over three minutes
    words = ["transcribe_recording", "--recording", str(recording), "--output", str(tmp_path / "out")]
    words += ["--part_minutes", "1", "--parameters", json.dumps({**WINDOW, "unknown": 1}), "--formats", "srt rttm"]

    done = pyflyte(*words)
    assert done.returncode == 0, done.stdout
    answer = json.loads((tmp_path / "out" / "day.wav.json").read_text())
    alone = demo_handler.pipeline.transcribe(recording.read_bytes(), parse_config(WINDOW))
    assert answer["text"] == alone.text
    assert answer["duration"] == alone.duration
    assert answer["language"] == alone.language == "en"
    assert answer["warnings"] == ["Unknown parameters were ignored: unknown."]
    pairs = {(theirs.speaker, ours["speaker"]) for theirs, ours in zip(alone.words, answer["words"], strict=True)}
    assert len(pairs) == len({theirs for theirs, _ in pairs}) == len({ours for _, ours in pairs}) == 3
    assert "-->" in (tmp_path / "out" / "day.wav.srt").read_text()
    assert "SPEAKER_02" in (tmp_path / "out" / "day.wav.rttm").read_text()
    entry = reported(tmp_path / "out")["day.wav"]
    assert (entry.status, entry.duration, entry.parameters) == ("done", alone.duration, {**WINDOW, "unknown": 1})


def test_a_file_is_one_shard_however_it_was_listed(models: None, bucket: str, tmp_path: Path) -> None:
    write(f"{bucket}/friday/a.wav", b"1234")
    manifest = tmp_path / "list.jsonl"
    manifest.write_text(json.dumps({"uri": f"{bucket}/friday/a.wav", "size": 4}) + "\n")
    shards = {
        list_shards([given], f"{bucket}/out", {}, files=4)[0]
        for given in (f"{bucket}/friday", f"{bucket}/friday/a.wav", str(manifest))
    }
    assert len(shards) == 1


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_the_length_of_a_part_is_checked_before_anything_is_read(minutes: float) -> None:
    with pytest.raises(BadParameters, match=r"part_minutes is .*: give a number above 0"):
        split_recording.task_function(
            recording="/no/such.mp3", output="out", parameters="{}", formats="", part_minutes=minutes
        )


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("https://talks.example/a.mp3 could not be read in 5 attempts: try again later."),
        BadParameters("batch_size is 0: give a whole number from 1 to 512."),
    ],
)
def test_an_error_brings_no_url_with_its_query_along(error: Exception) -> None:
    @retried()
    def read() -> None:
        try:
            raise ConnectionError("https://talks.example/a.mp3?X-Amz-Signature=s3cret")
        except ConnectionError as e:
            raise error from e

    with pytest.raises(Exception, match=re.escape(str(error))) as raised:
        read()
    assert "s3cret" not in "".join(traceback.format_exception(raised.value))


class Checkpoint:
    """A store that is out of reach."""

    def read(self) -> bytes:
        raise ConnectionError("https://store.example/?X-Amz-Signature=s3cret")

    def write(self, content: bytes) -> None:
        raise ConnectionError("https://store.example/?X-Amz-Signature=s3cret")


def test_without_checkpoints_a_shard_is_done_all_the_same(
    models: None, talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    [shard] = list_shards([str(talks)], str(tmp_path / "out"), {}, files=10**9)
    transcribe = functools.partial(shards.transcribe_shard, deployment=deployed(FakePipeline()))
    monkeypatch.setattr(shards, "transcribe_shard", transcribe)
    monkeypatch.setattr(workflow, "current_context", lambda: SimpleNamespace(checkpoint=Checkpoint()))
    done = transcribe_shard.task_function(shard=shard, formats="")
    assert [entry.status for entry in from_text(done)] == ["done", "done"]
    assert "cannot be read (ConnectionError)" in caplog.text
    assert "cannot be written (ConnectionError)" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("parameters", "said"),
    [('{"channels": "split"}', "parts are mono"), ('{"batch_size": 0}', "batch_size is 0")],
)
def test_what_no_part_can_do_is_refused(
    pyflyte: PyFlyte, talks: Path, tmp_path: Path, parameters: str, said: str
) -> None:
    words = ["transcribe_recording", "--recording", str(talks / "talk0.wav"), "--output", str(tmp_path / "out")]
    refused = pyflyte(*words, "--parameters", parameters)
    assert refused.returncode != 0
    assert said in refused.stdout
