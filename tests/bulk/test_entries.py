"""One entry to its results, with a pipeline that runs no model."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import mammoth
import pytest

from config import parse_config
from tests.fakes import TRANSCRIPT, FakePipeline, deployed
from turnscribe.bulk import entries as entries_module
from turnscribe.bulk import places
from turnscribe.bulk.entries import FILE_FORMATS, attempt, transcribe_bundle, transcribe_entry, transcribe_file
from turnscribe.bulk.manifest import Entry
from turnscribe.bulk.places import PlaceError
from turnscribe.errors import BadAudio, BadParameters
from turnscribe.formats import FORMATS
from turnscribe.listener import Listener
from turnscribe.request import Request
from turnscribe.transcript import Speculation, Transcript
from turnscribe.transcript_json import from_json, to_json

AUDIO = b"\x00RIFF audio \xff" * 20  # for a pipeline that does not listen


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    (tmp_path / "talk.mp3").write_bytes(AUDIO)
    return Entry(str(tmp_path / "talk.mp3"), str(tmp_path / "out" / "talk.mp3"), {"language": "de"})


def test_a_file_is_read_and_transcribed_with_its_parameters(entry: Entry) -> None:
    pipeline = FakePipeline()
    assert transcribe_file(entry.uri, {"language": "de"}, deployed(pipeline)) == TRANSCRIPT
    ((audio, request, _),) = pipeline.calls
    assert audio == AUDIO
    assert request == parse_config({"language": "de"})


def test_a_wrong_parameter_and_too_large_a_file_are_refused(entry: Entry) -> None:
    pipeline = FakePipeline(max_input_bytes=10)
    with pytest.raises(BadParameters, match="batch_size"):
        transcribe_file(entry.uri, {"batch_size": 0}, deployed(pipeline))
    with pytest.raises(PlaceError, match="raise MAX_INPUT_BYTES"):
        transcribe_file(entry.uri, {}, deployed(pipeline))
    assert not pipeline.calls


def test_on_a_full_disk_nothing_is_transcribed(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnscribe.files.free_bytes", lambda folder: 1000)
    pipeline = FakePipeline()
    with pytest.raises(PlaceError, match=r"The disk of .*out is full: make room and start again\."):
        transcribe_entry(entry, deployed(pipeline))
    assert not pipeline.calls


def test_the_answer_is_written_last(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(entries_module, "write", lambda uri, text: (written.append(uri), places.write(uri, text)))
    done = transcribe_entry(entry, deployed(FakePipeline()), formats=FILE_FORMATS)
    suffixes = [FORMATS[name].suffix for name in FILE_FORMATS]
    assert written == [f"{entry.output}.{suffix}" for suffix in [*suffixes, "json"]]
    assert (done.status, done.duration, done.uri) == ("done", 3.0, entry.uri)
    answer = json.loads(Path(entry.answer).read_text())
    assert answer["text"] == TRANSCRIPT.text
    assert [word["speaker"] for word in answer["words"]] == ["SPEAKER_00"] * 2 + ["SPEAKER_01"] * 2
    assert "SPEAKER_01: good morning" in Path(entry.output + ".srt").read_text()
    assert Path(entry.output + ".rttm").read_text().startswith("SPEAKER talk 1 ")
    assert "good morning" in mammoth.extract_raw_text(io.BytesIO(Path(entry.output + ".docx").read_bytes())).value


def test_subtitles_keep_to_the_limits_of_the_entry(entry: Entry) -> None:
    narrow = replace(entry, parameters={"max_line_width": 10, "max_line_count": 1})
    transcribe_entry(narrow, deployed(FakePipeline()), formats=["vtt"])
    cues = Path(entry.output + ".vtt").read_text().split("\n\n")[1:]
    assert [cue.splitlines()[1:] for cue in cues] == [
        ["<v SPEAKER_00>hello"],
        ["<v SPEAKER_00>there"],
        ["<v SPEAKER_01>good"],
        ["<v SPEAKER_01>morning"],
    ]


def test_files_of_a_bundle_go_together_and_a_bad_one_is_reported(tmp_path: Path) -> None:
    together = threading.Barrier(3)

    def behave(audio: bytes, request: Request, listener: Listener) -> None:
        together.wait(30)  # would break if they came one by one
        if b"bad" in audio:
            raise BadAudio("The input is not audio.")
        if b"worse" in audio:
            raise RuntimeError("s3cret detail")

    entries = []
    for name in ("good", "bad", "worse", "gone"):
        if name != "gone":
            (tmp_path / name).write_bytes(AUDIO + name.encode())
        entries.append(Entry(str(tmp_path / name), str(tmp_path / "out" / name)))
    done = transcribe_bundle(entries, partial(transcribe_entry, deployment=deployed(FakePipeline(behave))))
    assert [entry.status for entry in done] == ["done", "failed", "failed", "failed"]
    assert done[1].error == "The input is not audio."
    assert done[2].error == "RuntimeError: see the worker's log."
    assert "is not there" in str(done[3].error)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.json"]


def test_whoever_attempts_an_entry_may_get_its_error(entry: Entry) -> None:
    def transcribe(_: Entry) -> Entry:
        raise BadAudio("The input is not audio.")

    errors: list[tuple[Entry, str]] = []
    failed = attempt(transcribe, entry, on_error=lambda entry, error: errors.append((entry, str(error))))
    assert errors == [(entry, "The input is not audio.")]
    assert failed.error == errors[0][1]


def test_a_signature_is_in_no_output(entry: Entry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(entries_module, "read", lambda uri, **_: AUDIO)
    signed = Entry("https://h.example/y.mp3?sig=S3CRET&x=a/b.c", str(tmp_path / "out" / "y"))
    transcribe_entry(signed, deployed(FakePipeline()), formats=FILE_FORMATS)
    written = [path.read_bytes() for path in (tmp_path / "out").iterdir()]
    assert len(written) == len(FILE_FORMATS) + 1
    assert not any(b"S3CRET" in content for content in written)
    assert any(content.startswith(b"SPEAKER y 1 ") for content in written)


def test_a_transcript_survives_json() -> None:
    whole = Transcript(
        **{**vars(TRANSCRIPT), "speculation": Speculation(5, 3), "warnings": ("One.",), "task": "translate"}
    )
    assert from_json(to_json(whole)) == whole
