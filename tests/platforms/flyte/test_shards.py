"""The work of the tasks over many files, without Flyte: what is listed, tried again and reported."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.bulk.manifest import REPORT, Entry, ManifestError, from_text, parse, read_report, to_text
from scripts.bulk.places import Missing, PlaceError, TooLarge, Unavailable
from scripts.flyte import shards as shards_module
from scripts.flyte.failures import TryAgain, may_pass, of_the_file
from scripts.flyte.settings import load_task_settings, model_environment
from scripts.flyte.shards import (
    GONE,
    LOST,
    TOGETHER,
    build_report,
    format_names,
    list_shards,
    model_key,
    request_parameters,
    stable_bundles,
    transcribe_shard,
    write_report,
)
from tests.live import FakeHandler
from turnscribe.errors import BadAudio, BadParameters, InferenceFailed, SettingsError


@pytest.fixture
def recordings(tmp_path: Path) -> list[Entry]:
    entries = []
    for name in ("a", "b", "c"):
        file = tmp_path / f"{name}.wav"
        file.write_bytes(name.encode() * 100)
        entries.append(Entry(str(file), str(tmp_path / "out" / name), size=100))
    return entries


# --- Listing ------------------------------------------------------------------------------------------------


def test_every_recording_is_in_one_bundle_within_the_bounds() -> None:
    entries = [Entry(f"s3://talks/{index}.mp3", size=index % 7 * 1000) for index in range(500)]
    bundles = stable_bundles(entries, files=8, size_bytes=20_000)
    assert sorted(entry.uri for bundle in bundles for entry in bundle) == sorted(entry.uri for entry in entries)
    assert all(len(bundle) <= 16 and sum(entry.size for entry in bundle) <= 20_000 for bundle in bundles)
    assert 500 / 8 / 2 < len(bundles) < 500 / 8 * 3


def test_a_further_recording_changes_few_bundles() -> None:
    entries = [Entry(f"s3://talks/{index}.mp3", size=1000) for index in range(500)]
    before = {to_text(bundle) for bundle in stable_bundles(entries, files=8, size_bytes=10**9)}
    further = Entry("s3://talks/250a.mp3", size=1000)
    after = {to_text(bundle) for bundle in stable_bundles([*entries, further], files=8, size_bytes=10**9)}
    assert 1 <= len(after - before) <= 4
    assert len(before & after) > 0.9 * len(before)


def test_a_file_over_the_bound_is_a_bundle_alone() -> None:
    entries = [Entry("small.mp3", size=10), Entry("large.mp3", size=10**9)]
    assert [[entry.uri for entry in bundle] for bundle in stable_bundles(entries, files=100, size_bytes=1000)] == [
        ["large.mp3"],
        ["small.mp3"],
    ]


def test_another_content_of_the_same_size_is_another_version(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"1234")
    [before] = list_shards([str(tmp_path)], "out", {}, files=4)
    [same] = list_shards([str(tmp_path)], "out", {}, files=4)
    (tmp_path / "a.wav").write_bytes(b"5678")
    [after] = list_shards([str(tmp_path)], "out", {}, files=4)
    assert before == same
    assert (before.manifest, before.version) != (after.manifest, after.version)
    assert before.manifest == after.manifest


def test_recordings_of_unknown_size_are_a_few_to_a_bundle() -> None:
    entries = [Entry(f"https://talks.example/{index}.mp3") for index in range(100)]
    bundles = stable_bundles(entries, files=10**9, size_bytes=1000)
    assert sum(len(bundle) for bundle in bundles) == 100
    assert max(len(bundle) for bundle in bundles) == 4


def test_what_cannot_be_looked_at_is_never_known_to_the_cache(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text(json.dumps({"uri": str(tmp_path / "none.wav")}) + "\n")
    versions = {list_shards([str(tmp_path / "list.jsonl")], "out", {}, files=4)[0].version for _ in range(2)}
    assert len(versions) == 2


def test_a_report_as_the_input_tries_again_what_failed_and_nothing_else(
    recordings: list[Entry], tmp_path: Path
) -> None:
    report = tmp_path / "report.jsonl"

    def listed(*entries: Entry) -> dict[str, str]:
        report.write_text(to_text(entries))
        return {shard.manifest: shard.version for shard in list_shards([str(report)], "out", {}, files=1)}

    a, b, c = recordings
    before = listed(a, b, c)
    failed = (replace(a, status="done"), replace(b, status="failed", error="Bad."), replace(c, status="exists"))
    after = listed(*failed)
    assert set(before) == set(after) == {to_text([entry]) for entry in recordings}
    assert [shard for shard in before if before[shard] != after[shard]] == [to_text([b])]
    assert listed(*failed)[to_text([b])] != after[to_text([b])]  # nor does the cache know it the next time


@pytest.mark.parametrize("files", [0, -1])
def test_the_size_of_a_task_is_checked_before_anything_is_read(files: int) -> None:
    with pytest.raises(BadParameters, match=f"files_per_task is {files}: give a number above 0"):
        list_shards(["/no/such/folder"], "out", {}, files=files)


def test_a_manifests_own_parameters_win(tmp_path: Path) -> None:
    manifest = tmp_path / "list.jsonl"
    manifest.write_text('{"uri": "/a.wav", "parameters": {"language": "de"}}\n{"uri": "/b.wav"}\n')
    shards = list_shards([str(manifest)], "out", {"language": "en", "diarize": False}, files=100)
    assert {entry.uri: entry.parameters for shard in shards for entry in from_text(shard.manifest)} == {
        "/a.wav": {"language": "de", "diarize": False},
        "/b.wav": {"language": "en", "diarize": False},
    }


def test_the_cache_knows_the_models_and_defaults_and_not_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_MODEL", "openai/whisper-tiny")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    tiny = model_key()
    monkeypatch.setenv("ASR_MODEL", "openai/whisper-base")
    base = model_key()
    monkeypatch.setenv("INFERENCE_CHUNK_LENGTH_S", "15")
    shorter = model_key()
    assert len({tiny, base, shorter}) == 3
    assert "hf_secret" not in tiny


@pytest.mark.parametrize("text", ["[1]", "{", '"en"', '{"batch_size": 0}'])
def test_wrong_parameters_are_found_before_anything_runs(text: str) -> None:
    with pytest.raises(BadParameters):
        request_parameters(text)


def test_formats_are_names_of_formats() -> None:
    assert format_names("srt, vtt") == format_names("srt vtt") == ["srt", "vtt"]
    assert format_names("") == []
    with pytest.raises(BadParameters, match="'docx'"):
        format_names("srt docx")


# --- Transcribing -------------------------------------------------------------------------------------------


def failing(handler: FakeHandler, content: bytes, error: Exception) -> None:
    def behave(audio: bytes, config: Any, **_: Any) -> None:
        if audio.startswith(content):
            raise error

    handler.behave = behave


def test_a_file_at_fault_is_one_failed_entry(recordings: list[Entry]) -> None:
    handler = FakeHandler()
    failing(handler, b"b", BadAudio("The input is no audio."))
    done = transcribe_shard(to_text(recordings), formats=["srt"], handler=handler)
    assert [(entry.status, entry.error) for entry in done] == [
        ("done", None),
        ("failed", "The input is no audio."),
        ("done", None),
    ]
    assert Path(done[0].answer).exists()
    assert Path(f"{done[2].output}.srt").exists()


def test_what_may_pass_is_tried_again_and_what_is_done_is_not(recordings: list[Entry]) -> None:
    handler = FakeHandler()
    failing(handler, b"b", InferenceFailed("The device failed."))
    kept: list[Entry] = []

    def keep(entries: Any) -> None:
        kept[:] = entries

    with pytest.raises(TryAgain, match=r"1 of 3 .* The device failed"):
        transcribe_shard(to_text(recordings), on_done=keep, handler=handler)
    assert {entry.uri for entry in kept} == {recordings[0].uri, recordings[2].uri}
    assert Path(recordings[0].answer).exists()

    second = FakeHandler()
    done = transcribe_shard(to_text(recordings), done=from_text(to_text(kept)), handler=second)
    assert [audio[:1] for audio, _, _ in second.calls] == [b"b"]
    assert [entry.status for entry in done] == ["done"] * 3
    assert [entry.uri for entry in done] == [entry.uri for entry in recordings]


@pytest.mark.parametrize(
    "error",
    [
        PlaceError("s3://talks/b.wav cannot be read (PermissionError): check the access rights and the name."),
        KeyError("https://talks.example/b.wav?X-Amz-Signature=s3cret"),
    ],
)
def test_what_is_not_the_files_own_fault_is_no_result(
    recordings: list[Entry], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transcribe_entry(entry: Entry, **_: Any) -> Entry:
        if entry.uri == recordings[1].uri:
            raise error
        return replace(entry, status="done")

    monkeypatch.setattr(shards_module, "transcribe_entry", transcribe_entry)
    kept: list[list[Entry]] = []
    with pytest.raises(TryAgain, match="1 of 3") as raised:
        transcribe_shard(to_text(recordings), on_done=lambda entries: kept.append(list(entries)), handler=object())
    assert "s3cret" not in str(raised.value)
    assert {entry.uri for entry in kept[-1]} == {recordings[0].uri, recordings[2].uri}


def test_a_missing_file_is_a_failed_entry(recordings: list[Entry]) -> None:
    Path(recordings[1].uri).unlink()
    done = transcribe_shard(to_text(recordings), handler=FakeHandler())
    assert [entry.status for entry in done] == ["done", "failed", "done"]
    assert "is not there" in str(done[1].error)


def test_few_files_at_a_time_so_that_the_first_are_soon_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [Entry(f"/talks/{index}.wav", f"/out/{index}") for index in range(3 * TOGETHER)]
    running: set[str] = set()
    numbers: list[int] = []

    def transcribe_entry(entry: Entry, **_: Any) -> Entry:
        running.add(entry.uri)
        numbers.append(len(running))
        time.sleep(0.05)
        running.remove(entry.uri)
        return replace(entry, status="done")

    monkeypatch.setattr(shards_module, "transcribe_entry", transcribe_entry)
    done = transcribe_shard(to_text(entries), handler=object())
    assert [entry.status for entry in done] == ["done"] * len(entries)
    assert 1 < max(numbers) <= TOGETHER


def test_without_models_the_shard_fails_and_no_file_does(
    recordings: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASR_MODEL", raising=False)
    with pytest.raises(SettingsError):
        transcribe_shard(to_text(recordings))


@pytest.mark.parametrize(
    ("error", "own"),
    [
        (BadAudio("no audio"), True),
        (BadParameters("batch_size is 0"), True),
        (Missing("s3://a is not there: check the name."), True),
        (TooLarge("s3://a is over 1 MiB: raise MAX_INPUT_BYTES, or use a smaller file."), True),
        (PlaceError("s3://a cannot be read (PermissionError): check the access rights and the name."), False),
        (Unavailable("s3://a could not be read in 5 attempts (TimeoutError): try again later."), False),
        (InferenceFailed("12ab"), False),
        (SettingsError("no model"), False),
        (KeyError("a bug"), False),
    ],
)
def test_only_a_files_own_fault_is_a_result(error: Exception, own: bool) -> None:
    assert of_the_file(error) is own


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (Unavailable("s3://a could not be read in 5 attempts (TimeoutError): try again later."), True),
        (PlaceError("s3://a is not there: check the name."), False),
        (InferenceFailed("12ab"), True),
        (BadAudio("no audio"), False),
        (SettingsError("no model"), False),
        (KeyError("a bug"), False),
    ],
)
def test_another_attempt_is_for_what_may_pass(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes


# --- Reporting ----------------------------------------------------------------------------------------------


def test_the_report_has_every_recording_once(recordings: list[Entry], tmp_path: Path) -> None:
    a, b, c = recordings
    done = replace(a, status="done", duration=60.0)
    Path(a.answer).parent.mkdir()
    for entry in (a, b):
        Path(entry.answer).write_text("{}")
    entries = build_report([to_text([a]), to_text([b, c])], [to_text([done]), None], str(tmp_path / "out"))
    assert [(entry.uri, entry.status, entry.error) for entry in entries] == [
        (a.uri, "done", None),
        (b.uri, "exists", None),
        (c.uri, "failed", LOST),
    ]


def test_an_answer_without_a_format_that_was_asked_for_is_missed(recordings: list[Entry], tmp_path: Path) -> None:
    shard = to_text(recordings[:1])
    Path(recordings[0].answer).parent.mkdir()
    Path(recordings[0].answer).write_text("{}")

    def status() -> str | None:
        return build_report([shard], [None], str(tmp_path / "out"), formats=["srt"])[0].status

    assert status() == "failed"
    Path(f"{recordings[0].output}.srt").write_text("1")
    assert status() == "exists"


def test_a_cached_answer_that_was_removed_is_missed(recordings: list[Entry], tmp_path: Path) -> None:
    done = replace(recordings[0], status="done")
    [entry] = build_report([to_text(recordings[:1])], [to_text([done])], str(tmp_path / "out"))
    assert (entry.status, entry.error) == ("failed", GONE)


def test_another_recordings_answer_is_not_written_over_and_stays_in_the_report(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    monday, tuesday, other = (tmp_path / name for name in ("monday/rec.wav", "tuesday/rec.wav", "tuesday/other.wav"))
    for file in (monday, tuesday, other):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"1234")
    done = [Entry(str(monday), f"{out}/rec.wav", status="done", duration=1.0)]
    write_report(done, out)
    with pytest.raises(ManifestError, match=r"holds the answer of .*monday/rec\.wav"):
        list_shards([str(tuesday.parent)], out, {}, files=4)
    assert list_shards([str(other)], out, {}, files=4)
    write_report([Entry(str(other), f"{out}/other.wav", status="done")], out)
    assert {entry.uri for entry in read_report(out)} == {str(monday), str(other)}


def test_the_report_names_failures_and_is_a_manifest(tmp_path: Path) -> None:
    entries = [
        Entry(f"/talks/{index:02d}.mp3", f"/out/{index}", status="failed", error="It is bad.") for index in range(30)
    ]
    text = write_report(entries, str(tmp_path))
    assert "30 failed" in text
    assert "failed: /talks/00.mp3: It is bad." in text
    assert "and 10 more" in text
    assert [entry.uri for entry in parse((tmp_path / REPORT).read_text())] == [entry.uri for entry in entries]


# --- Settings -----------------------------------------------------------------------------------------------


def test_what_a_task_may_use_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_MEMORY", "64Gi")
    monkeypatch.setenv("TASK_GPU", "0")
    assert (load_task_settings().memory, load_task_settings().gpu) == ("64Gi", 0)
    monkeypatch.setenv("TASK_MIN_SUCCESS_RATIO", "2")
    with pytest.raises(SettingsError, match="TASK_MIN_SUCCESS_RATIO"):
        load_task_settings()


def test_the_models_variables_go_along_and_the_token_does_not() -> None:
    environ = {"ASR_MODEL": "a", "INFERENCE_LANGUAGE": "en", "HF_TOKEN": "hf_secret", "PATH": "/bin"}
    assert model_environment(environ) == {"ASR_MODEL": "a", "INFERENCE_LANGUAGE": "en"}
