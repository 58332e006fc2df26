"""One file to its results, with a handler that runs no model."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from config import parse_config
from tests.serving.live import AUDIO, TRANSCRIPT, FakeHandler
from turnscribe.bulk import files, places
from turnscribe.bulk.files import FORMATS, attempt, transcribe_bundle, transcribe_entry, transcribe_file
from turnscribe.bulk.manifest import Entry
from turnscribe.bulk.places import PlaceError
from turnscribe.bulk.transcripts import from_json, to_json
from turnscribe.errors import BadAudio, BadParameters
from turnscribe.transcript import Speculation, Transcript


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    (tmp_path / "talk.mp3").write_bytes(AUDIO)
    return Entry(str(tmp_path / "talk.mp3"), str(tmp_path / "out" / "talk.mp3"), {"language": "de"})


def test_a_file_is_read_and_transcribed_with_its_parameters(entry: Entry, handler: FakeHandler) -> None:
    assert transcribe_file(entry.uri, {"language": "de"}, handler=handler) == TRANSCRIPT
    ((audio, config, _),) = handler.calls
    assert audio == AUDIO
    assert config == parse_config({"language": "de"})


def test_a_wrong_parameter_and_too_large_a_file_are_refused(entry: Entry, handler: FakeHandler) -> None:
    with pytest.raises(BadParameters, match="batch_size"):
        transcribe_file(entry.uri, {"batch_size": 0}, handler=handler)
    handler.limits = type(handler.limits)(max_bytes=10)
    with pytest.raises(PlaceError, match="raise MAX_INPUT_BYTES"):
        transcribe_file(entry.uri, handler=handler)
    assert not handler.calls


def test_the_answer_is_written_last(entry: Entry, handler: FakeHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(files, "write", lambda uri, text: (written.append(uri), places.write(uri, text)))
    done = transcribe_entry(entry, formats=FORMATS, handler=handler)
    assert written == [f"{entry.output}.{suffix}" for suffix in ("txt", "srt", "vtt", "tsv", "rttm", "json")]
    assert (done.status, done.duration, done.uri) == ("done", 3.0, entry.uri)
    answer = json.loads(Path(entry.answer).read_text())
    assert answer["text"] == TRANSCRIPT.text
    assert [word["speaker"] for word in answer["words"]] == ["SPEAKER_00"] * 2 + ["SPEAKER_01"] * 2
    assert "SPEAKER_01: good morning" in Path(entry.output + ".srt").read_text()
    assert Path(entry.output + ".rttm").read_text().startswith("SPEAKER talk 1 ")


def test_files_of_a_bundle_go_together_and_a_bad_one_is_reported(tmp_path: Path, handler: FakeHandler) -> None:
    together = threading.Barrier(3)

    def behave(audio: bytes, config: Any, **_: Any) -> None:
        together.wait(30)  # would break if they came one by one
        if b"bad" in audio:
            raise BadAudio("The input is not audio.")
        if b"worse" in audio:
            raise RuntimeError("s3cret detail")

    handler.behave = behave
    entries = []
    for name in ("good", "bad", "worse", "gone"):
        if name != "gone":
            (tmp_path / name).write_bytes(AUDIO + name.encode())
        entries.append(Entry(str(tmp_path / name), str(tmp_path / "out" / name)))
    done = transcribe_bundle(entries, handler=handler)
    assert [entry.status for entry in done] == ["done", "failed", "failed", "failed"]
    assert done[1].error == "The input is not audio."
    assert done[2].error == "RuntimeError: see the worker's log."
    assert "is not there" in str(done[3].error)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.json"]


def test_whoever_attempts_an_entry_may_hear_of_its_error(entry: Entry) -> None:
    def work(_: Entry) -> Entry:
        raise BadAudio("The input is not audio.")

    told: list[tuple[Entry, str]] = []
    failed = attempt(work, entry, on_error=lambda entry, error: told.append((entry, str(error))))
    assert told == [(entry, "The input is not audio.")]
    assert failed.error == told[0][1]


def test_a_signature_is_in_no_output(
    entry: Entry, handler: FakeHandler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(files, "read", lambda uri, **_: AUDIO)
    signed = Entry("https://h.example/y.mp3?sig=S3CRET&x=a/b.c", str(tmp_path / "out" / "y"))
    transcribe_entry(signed, formats=FORMATS, handler=handler)
    written = [path.read_text() for path in (tmp_path / "out").iterdir()]
    assert len(written) == 6
    assert not any("S3CRET" in text for text in written)
    assert any(text.startswith("SPEAKER y 1 ") for text in written)


def test_a_transcript_survives_json() -> None:
    whole = Transcript(
        **{**vars(TRANSCRIPT), "speculation": Speculation(5, 3), "warnings": ("One.",), "task": "translate"}
    )
    assert from_json(to_json(whole)) == whole
