"""The work of the tasks over many files, without Flyte: what is listed, tried again and reported."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.environment import TOKEN, worker_environment
from adapters.flyte import shards as shards_module
from adapters.flyte.failures import TryAgain, may_pass, of_the_file
from adapters.flyte.recording import merge_recording, only_entry
from adapters.flyte.settings import load_task_settings
from adapters.flyte.shards import (
    ENDED,
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
from tests.fakes import TRANSCRIPT, FakePipeline, deployed
from turnscribe.bulk import entries as entries_module
from turnscribe.bulk.long_recordings import PartTranscript
from turnscribe.bulk.manifest import REPORT, Entry, ManifestError, from_text, parse, read_report, to_text
from turnscribe.bulk.places import Missing, PlaceError, Refused, TooLarge, Unavailable, read
from turnscribe.errors import (
    BadAudio,
    BadParameters,
    InferenceFailed,
    ModelUnavailable,
    OutOfMemory,
    SettingsError,
)
from turnscribe.listener import Listener
from turnscribe.request import Request


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_MODEL", "openai/whisper-tiny")


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


def made_by(shards: list[str]) -> dict[str, str | None]:
    """Of each recording, by its file's name: what the cache knows it by beside its parameters."""
    return {Path(entry.uri).name: entry.made_by for shard in shards for entry in from_text(shard)}


def test_another_content_of_the_same_size_is_another_shard(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"1234")
    before = list_shards([str(tmp_path)], out, {}, files=4)
    assert before == list_shards([str(tmp_path)], out, {}, files=4)
    (tmp_path / "a.wav").write_bytes(b"5678")
    after = list_shards([str(tmp_path)], out, {}, files=4)
    assert made_by(before)["a.wav"] != made_by(after)["a.wav"]
    assert made_by(before)["b.wav"] == made_by(after)["b.wav"]


def test_recordings_of_unknown_size_are_a_few_to_a_bundle() -> None:
    entries = [Entry(f"https://talks.example/{index}.mp3") for index in range(100)]
    bundles = stable_bundles(entries, files=10**9, size_bytes=1000)
    assert sum(len(bundle) for bundle in bundles) == 100
    assert max(len(bundle) for bundle in bundles) == 4


def test_what_cannot_be_looked_at_is_never_known_to_the_cache(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text(json.dumps({"uri": str(tmp_path / "none.wav")}) + "\n")
    shards = {list_shards([str(tmp_path / "list.jsonl")], str(tmp_path), {}, files=4)[0] for _ in range(2)}
    assert len(shards) == 2


def test_a_report_as_the_input_tries_again_what_failed_and_nothing_else(
    recordings: list[Entry], tmp_path: Path
) -> None:
    report = tmp_path / "report.jsonl"

    def listed(*entries: Entry) -> dict[str, str | None]:
        report.write_text(to_text(entries))
        return made_by(list_shards([str(report)], str(tmp_path / "out"), {}, files=1))

    a, b, c = recordings
    before = listed(a, b, c)
    failed = (replace(a, status="done"), replace(b, status="failed", error="Bad."), replace(c, status="exists"))
    after = listed(*failed)
    assert list(before) == list(after)
    assert [name for name in before if before[name] != after[name]] == ["b.wav"]
    assert listed(*failed)["b.wav"] not in (before["b.wav"], after["b.wav"])  # nor does the cache know it next time


def test_an_output_that_is_not_there_is_found_before_a_task_begins(recordings: list[Entry], bucket: str) -> None:
    with pytest.raises(PlaceError, match=r"s3://no-such-bucket/out/manifest\.jsonl cannot be written"):
        list_shards([recordings[0].uri], "s3://no-such-bucket/out", {}, files=4)


def test_the_report_keeps_what_is_known_while_the_tasks_run(recordings: list[Entry], tmp_path: Path) -> None:
    cluster, pipeline = Flyte(recordings), FakePipeline()
    failing(pipeline, b"b", BadAudio("The input is no audio."))
    cluster.run(pipeline)
    before = read_report(cluster.output)
    assert [entry.status for entry in before] == ["done", "failed", "done"]
    Path(recordings[2].uri).write_bytes(b"another" * 10)
    list_shards(cluster.inputs, cluster.output, {}, files=10**9)
    after = read_report(cluster.output)
    assert sorted(after, key=lambda entry: entry.uri)[:2] == before[:2]
    [replaced] = [entry for entry in after if entry.uri == recordings[2].uri]
    assert (replaced.status, replaced.outdated) == (None, True)


@pytest.mark.parametrize("files", [0, -1])
def test_the_size_of_a_task_is_checked_before_anything_is_read(files: int) -> None:
    with pytest.raises(BadParameters, match=f"files_per_task is {files}: give a number above 0"):
        list_shards(["/no/such/folder"], "out", {}, files=files)


def test_a_manifests_own_parameters_win(tmp_path: Path) -> None:
    manifest = tmp_path / "list.jsonl"
    manifest.write_text('{"uri": "/a.wav", "parameters": {"language": "de"}}\n{"uri": "/b.wav"}\n')
    shards = list_shards([str(manifest)], str(tmp_path), {"language": "en", "diarize": False}, files=100)
    assert {entry.uri: entry.parameters for shard in shards for entry in from_text(shard)} == {
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
    with pytest.raises(BadParameters, match="'pdf'"):
        format_names("srt pdf")


# --- Transcribing -------------------------------------------------------------------------------------------


class Flyte:
    """What a cluster does with the shards of some recordings: each is a task, and its result is kept."""

    def __init__(self, recordings: list[Entry]) -> None:
        self.inputs = [entry.uri for entry in recordings]
        self.output = str(Path(recordings[0].uri).parent / "out")
        self.kept: dict[str, str] = {}

    def run(self, pipeline: FakePipeline, parameters: dict[str, Any] | None = None) -> dict[str, Entry]:
        """The report's entries of a run, by their files' names; a task has one attempt."""
        shards = list_shards(self.inputs, self.output, parameters or {}, files=10**9)
        for shard in shards:
            if shard not in self.kept:
                with suppress(TryAgain):
                    self.kept[shard] = to_text(transcribe_shard(shard, deployment=deployed(pipeline)))
        results = [self.kept.get(shard) for shard in shards]
        write_report(build_report(shards, results, self.output), self.output)
        return {Path(entry.uri).name: entry for entry in read_report(self.output)}


def failing(pipeline: FakePipeline, content: bytes, error: Exception) -> None:
    def behave(audio: bytes, request: Request, listener: Listener) -> None:
        if audio.startswith(content):
            raise error

    pipeline.behave = behave


def test_a_file_at_fault_is_one_failed_entry(recordings: list[Entry]) -> None:
    pipeline = FakePipeline()
    failing(pipeline, b"b", BadAudio("The input is no audio."))
    done = transcribe_shard(to_text(recordings), formats=["srt"], deployment=deployed(pipeline))
    assert [(entry.status, entry.error) for entry in done] == [
        ("done", None),
        ("failed", "The input is no audio."),
        ("done", None),
    ]
    assert Path(done[0].answer).exists()
    assert Path(f"{done[2].output}.srt").exists()


def test_what_may_pass_is_tried_again_and_what_is_done_is_not(recordings: list[Entry]) -> None:
    pipeline = FakePipeline()
    failing(pipeline, b"b", InferenceFailed("The device failed."))
    kept: list[Entry] = []

    def keep(entries: Any) -> None:
        kept[:] = entries

    with pytest.raises(TryAgain, match=r"1 of 3 .* The device failed"):
        transcribe_shard(to_text(recordings), on_done=keep, deployment=deployed(pipeline))
    assert {entry.uri for entry in kept} == {recordings[0].uri, recordings[2].uri}
    assert Path(recordings[0].answer).exists()

    second = FakePipeline()
    done = transcribe_shard(to_text(recordings), done=from_text(to_text(kept)), deployment=deployed(second))
    assert [audio[:1] for audio, _, _ in second.calls] == [b"b"]
    assert [entry.status for entry in done] == ["done"] * 3
    assert [entry.uri for entry in done] == [entry.uri for entry in recordings]


@pytest.mark.parametrize(
    "error",
    [
        PlaceError("s3://out/b.wav.json cannot be written (PermissionError): check the access rights and the name."),
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
        transcribe_shard(
            to_text(recordings),
            on_done=lambda entries: kept.append(list(entries)),
            deployment=deployed(FakePipeline()),
        )
    assert "s3cret" not in str(raised.value)
    assert {entry.uri for entry in kept[-1]} == {recordings[0].uri, recordings[2].uri}


def test_a_file_that_its_place_refuses_fails_alone_and_is_tried_again_in_the_next_run(
    recordings: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Flyte(recordings)
    with monkeypatch.context() as patched:

        def refused(uri: str, **options: Any) -> bytes:
            if uri == recordings[1].uri:
                raise Refused("It cannot be read (PermissionError): check the access rights and the name.")
            return read(uri, **options)

        patched.setattr(entries_module, "read", refused)
        for _ in range(2):
            entries = cluster.run(FakePipeline())
            assert [entry.status for entry in entries.values()] == ["done", "failed", "done"]
            assert "PermissionError" in str(entries["b.wav"].error)
    assert {entry.status for entry in cluster.run(FakePipeline()).values()} == {"done"}


def test_where_no_file_can_be_read_it_is_not_the_files(recordings: list[Entry]) -> None:
    for entry in recordings:
        Path(entry.uri).unlink()
        Path(entry.uri).mkdir()
    with pytest.raises(TryAgain, match=r"3 of 3 .* is a folder"):
        transcribe_shard(to_text(recordings), deployment=deployed(FakePipeline()))


def test_a_recording_too_large_for_the_device_is_one_failed_entry(recordings: list[Entry]) -> None:
    pipeline = FakePipeline()
    failing(pipeline, b"b", OutOfMemory("The device has too little memory for even one window."))
    done = transcribe_shard(to_text(recordings), deployment=deployed(pipeline))
    assert [entry.status for entry in done] == ["done", "failed", "done"]


def by(name: str) -> FakePipeline:
    """A pipeline whose transcripts say who made them."""
    return FakePipeline(lambda audio, *_: replace(TRANSCRIPT, text=f"{name} {audio[:1].decode()}"))


def test_models_that_come_back_transcribe_again_what_others_did_meanwhile(
    recordings: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Flyte(recordings)
    for name, calls in (("large", 3), ("turbo", 3), ("large", 3), ("turbo", 3), ("turbo", 0)):
        monkeypatch.setenv("ASR_MODEL", name)
        pipeline = by(name)
        assert {entry.status for entry in cluster.run(pipeline).values()} == {"done"}
        assert len(pipeline.calls) == calls
        assert json.loads(Path(cluster.output, "b.wav.json").read_text())["text"] == f"{name} b"


def test_parameters_that_come_back_transcribe_again_too(recordings: list[Entry]) -> None:
    cluster = Flyte(recordings)
    for language, calls in (("en", 3), ("de", 3), ("en", 3), ("en", 0)):
        pipeline = FakePipeline()
        cluster.run(pipeline, {"language": language})
        assert [request.decoding.language for _, request, _ in pipeline.calls] == [language] * calls


def test_a_run_that_ended_before_its_report_leaves_nothing_to_the_cache_of_the_one_before(
    recordings: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Flyte(recordings)
    cluster.run(by("large"))
    monkeypatch.setenv("ASR_MODEL", "turbo")
    [shard] = list_shards(cluster.inputs, cluster.output, {}, files=10**9)
    cluster.kept[shard] = to_text(transcribe_shard(shard, deployment=deployed(by("turbo"))))
    again = FakePipeline()
    assert {entry.status for entry in cluster.run(again).values()} == {"done"}
    assert again.calls == [], "what it did is known"
    [shard] = list_shards(cluster.inputs, cluster.output, {}, files=10**9)
    transcribe_shard(shard, deployment=deployed(by("turbo")))
    monkeypatch.setenv("ASR_MODEL", "openai/whisper-tiny")
    cluster.run(by("large"))
    assert json.loads(Path(cluster.output, "b.wav.json").read_text())["text"] == "large b"


def test_a_missing_file_is_a_failed_entry(recordings: list[Entry]) -> None:
    Path(recordings[1].uri).unlink()
    done = transcribe_shard(to_text(recordings), deployment=deployed(FakePipeline()))
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
    done = transcribe_shard(to_text(entries), deployment=deployed(FakePipeline()))
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
        (OutOfMemory("too little"), True),
        (Refused("s3://a cannot be read (PermissionError): check the access rights and the name."), False),
        (PlaceError("s3://a cannot be written (PermissionError): check the access rights and the name."), False),
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
        (OutOfMemory("too little"), False),
        (ModelUnavailable("the Hub is busy"), True),
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


def test_an_answer_of_the_former_recording_is_not_there_for_a_shard_that_was_lost(recordings: list[Entry]) -> None:
    cluster = Flyte(recordings)
    cluster.run(FakePipeline())
    Path(recordings[0].uri).write_bytes(b"another recording")
    broken = FakePipeline()
    failing(broken, b"", InferenceFailed("The device failed."))
    for _ in range(2):
        entries = cluster.run(broken)
        assert [(entry.status, entry.error) for entry in entries.values()] == [
            ("failed", LOST),
            ("exists", None),
            ("exists", None),
        ]
    assert {entry.status for entry in cluster.run(FakePipeline()).values()} == {"done"}
    assert not any(entry.outdated for entry in read_report(cluster.output))


def test_of_an_answer_that_nobody_knows_more_of_it_counts_that_it_is_there(recordings: list[Entry]) -> None:
    cluster = Flyte(recordings)
    cluster.run(FakePipeline())
    known = read_report(cluster.output)
    Path(cluster.output, REPORT).write_text(to_text([replace(entry, made_by=None) for entry in known]))
    broken = FakePipeline()
    failing(broken, b"", InferenceFailed("The device failed."))
    assert {entry.status for entry in cluster.run(broken).values()} == {"exists"}


def test_of_a_workflow_that_failed_no_task_is_blamed_that_did_not(recordings: list[Entry], tmp_path: Path) -> None:
    [entry] = build_report([to_text(recordings[:1])], [None], str(tmp_path / "out"), lost=ENDED)
    assert (entry.status, entry.error) == ("failed", ENDED)


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


# --- One recording ------------------------------------------------------------------------------------------


def test_one_recording_is_in_the_report_and_another_ones_answer_is_not_written_over(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    monday, tuesday = (tmp_path / name for name in ("monday/rec.wav", "tuesday/rec.wav"))
    for file in (monday, tuesday):
        file.parent.mkdir()
        file.write_bytes(b"1234")
    entry = only_entry(str(monday), out, {"diarize": False})
    assert read_report(out) == [entry] == [Entry(str(monday), f"{out}/rec.wav", {"diarize": False}, 4)]
    whole = PartTranscript(0.0, replace(TRANSCRIPT, turns=(), speakers=(), chunks=()))
    done = merge_recording([whole], entry, out)
    assert read_report(out) == [done] == [replace(entry, status="done", duration=3.0)]
    with pytest.raises(ManifestError, match=r"holds the answer of .*monday/rec\.wav"):
        only_entry(str(tuesday), out, {})


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
    assert worker_environment(environ, without=[TOKEN]) == {"ASR_MODEL": "a", "INFERENCE_LANGUAGE": "en"}
