"""What is to be done, what was done, and in which bundles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from turnscribe.bulk import manifest as manifest_module
from turnscribe.bulk.manifest import (
    Entry,
    ManifestError,
    add_to_report,
    bundles,
    from_text,
    left_to_do,
    list_entries,
    merge_report,
    parse,
    read_report,
    summary,
    to_text,
)
from turnscribe.bulk.places import PlaceError, find


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    for name, size in (("a.mp3", 3), ("a.wav", 5), ("monday/a.mp3", 7), ("notes.txt", 9), (".hidden.mp3", 11)):
        file = tmp_path / "talks" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))
    return tmp_path / "talks"


def test_a_folder_is_listed_with_its_structure(talks: Path) -> None:
    entries = list_entries([str(talks)], "/out")
    assert {(entry.uri, entry.output, entry.size) for entry in entries} == {
        (str(talks / "a.mp3"), "/out/a.mp3", 3),
        (str(talks / "a.wav"), "/out/a.wav", 5),
        (str(talks / "monday/a.mp3"), "/out/monday/a.mp3", 7),
    }
    assert entries[0].answer == entries[0].output + ".json"


def test_same_names_get_different_outputs_and_the_same_file_counts_once(talks: Path) -> None:
    entries = list_entries([str(talks / "a.mp3"), str(talks / "monday"), str(talks / "a.mp3")], "s3://bucket/out/")
    assert [entry.uri for entry in entries] == [str(talks / "a.mp3"), str(talks / "monday/a.mp3")]
    first, second = (entry.output for entry in entries)
    assert first != second
    assert all(output.startswith("s3://bucket/out/a.mp3.") for output in (first, second))
    again = list_entries([str(talks / "monday"), str(talks / "a.mp3")], "s3://bucket/out/")
    assert {entry.output for entry in again} == {first, second}, "names may not depend on the order"


def test_a_manifest_says_what_it_wants(tmp_path: Path) -> None:
    manifest = tmp_path / "list.jsonl"
    manifest.write_text(
        '{"uri": "s3://b/x.mp4", "parameters": {"language": "de"}, "size": 5}\n\n'
        '{"uri": "https://h.example/y.mp3?key=1", "output": "s3://c/y", "note": "kept out"}\n'
    )
    first, second = list_entries([str(manifest)], "/out")
    assert first == Entry("s3://b/x.mp4", "/out/x.mp4", {"language": "de"}, 5)
    assert second == Entry("https://h.example/y.mp3?key=1", "s3://c/y")


def test_a_manifest_behind_a_signed_url_is_a_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "read", lambda uri, **_: b'{"uri": "s3://b/x.mp4"}')
    [entry] = list_entries(["https://h.example/list.jsonl?X-Amz-Signature=1"], "/out")
    assert entry.uri == "s3://b/x.mp4"


def test_a_list_that_grows_renames_no_result(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    first = [Entry("s3://b/mon/rec.wav", f"{out}/rec.wav")]
    manifest = tmp_path / "list.jsonl"
    manifest.write_text('{"uri": "s3://b/mon/rec.wav"}\n')
    assert list_entries([str(manifest)], out) == first
    add_to_report([replace(entry, status="done") for entry in first], out, [])
    manifest.write_text(manifest.read_text() + '{"uri": "s3://b/tue/rec.wav"}\n')
    entries = list_entries([str(manifest)], out, read_report(out))
    assert entries[0] == first[0]
    assert entries[1].output.startswith(f"{out}/rec.wav.")
    add_to_report(entries, out, read_report(out))
    assert list_entries([f"{out}/manifest.jsonl"], out, read_report(out)) == entries
    [moved] = list_entries([str(manifest)], str(tmp_path / "copied"), read_report(out))[:1]
    assert moved.output.startswith(str(tmp_path / "copied")), "a report that was copied names another folder"


def test_an_own_list_may_lie_where_the_report_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "out" / "manifest.jsonl"
    own.parent.mkdir()
    own.write_text('{"uri": "talks/a.mp3"}\n{"uri": "talks/b.mp3", "parameters": {"language": "de"}}\n')
    before: list[Entry] = []
    for _ in range(2):
        entries = list_entries([str(own)], "out", read_report("out"))
        assert [Path(entry.uri).name for entry in entries] == ["a.mp3", "b.mp3"]
        add_to_report(entries, "out", read_report("out"))
        assert read_report("out") == entries
        assert before in ([], entries)
        before = entries


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{uri: 1}", "line 2 is not JSON"),
        ('["s3://b/x"]', "line 2 has no uri"),
        ('{"uri": " "}', "line 2 has no uri"),
        ('{"uri": "a.mp3", "parameters": "x"}', "line 2: parameters must be an object"),
        ('{"uri": "a.mp3", "output": 5}', "line 2: parameters must be an object, and output a text"),
        ('{"uri": "a.mp3", "output": "s3://b/out/"}', "line 2: output is a folder"),
    ],
)
def test_a_wrong_line_is_named(line: str, sentence: str) -> None:
    with pytest.raises(ManifestError, match=sentence):
        parse('{"uri": "a.mp3"}\n' + line)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('{"uri": "a.mp3", "output": "x"}\n{"uri": "b.mp3", "output": "x"}', "is the output of 2 recordings"),
        (
            '{"uri": "a.mp3"}\n{"uri": "a.mp3", "parameters": {"task": "translate"}}',
            "named twice with other parameters",
        ),
        ('{"uri": "a.mp3"}\n{"uri": "a.mp3", "output": "x"}', "named twice with other parameters or outputs"),
    ],
)
def test_what_would_overwrite_another_is_refused(tmp_path: Path, lines: str, sentence: str) -> None:
    manifest = tmp_path / "list.jsonl"
    manifest.write_text(lines)
    with pytest.raises(ManifestError, match=sentence):
        list_entries([str(manifest)], "/out")


def test_letters_that_look_like_line_breaks_break_no_line(tmp_path: Path) -> None:
    entries = [Entry("/talks/a\u2028b\x85.mp3", "/out/a\u2028b", {"prompt": "x\u2029"}), Entry("/talks/\udcff.mp3")]
    assert from_text(to_text(entries)) == entries
    manifest = tmp_path / "list.jsonl"
    manifest.write_bytes(b"\xef\xbb\xbf" + to_text(entries[:1]).encode())
    assert list_entries([str(manifest)], "/out") == entries[:1]


def test_an_input_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match="nothing is not there, or holds nothing"):
        list_entries([str(tmp_path / "nothing")], "/out")


def test_a_report_is_a_manifest() -> None:
    entry = Entry("/talks/a b.mp3", "/out/ä", {"language": "de"}, 12)
    done = replace(entry, status="done", duration=3.5, seconds=0.5)
    failed = replace(entry, uri="/talks/c.mp3", status="failed", error="It is not audio.")
    text = to_text([done, failed])
    assert from_text(text) == [done, failed]
    assert parse(text) == [entry, replace(entry, uri="/talks/c.mp3", status="failed")]
    assert [json.loads(line).get("status") for line in text.splitlines()] == ["done", "failed"]
    assert json.loads(text.splitlines()[1])["error"] == "It is not audio."


def test_what_has_an_answer_is_not_done_again(talks: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    entries = list_entries([str(talks)], str(out))
    entries[1] = replace(entries[1], output=str(elsewhere / "x"))
    assert left_to_do(entries, str(out)) == (entries, [])
    for answer in (entries[0].answer, entries[1].answer, entries[2].output + ".srt"):
        Path(answer).parent.mkdir(parents=True, exist_ok=True)
        Path(answer).write_text("{}")
    left, done = left_to_do(entries, str(out))
    assert left == [entries[2]], "subtitles alone are no answer"
    assert done == [replace(entry, status="exists") for entry in entries[:2]]
    assert left_to_do(entries, str(out), ["srt"]) == (entries, []), "what is asked for besides is missing"
    Path(entries[0].output + ".srt").write_text("1")
    assert left_to_do(entries, str(out), ["srt"])[0] == entries[1:]
    Path(entries[0].answer).write_text("")
    assert entries[0] in left_to_do(entries, str(out))[0], "an empty answer is none"


def test_of_a_folder_with_outputs_no_other_folder_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "archive" / "old").mkdir(parents=True)
    (tmp_path / "archive" / "old" / "b.json").write_text("{}")
    (tmp_path / "archive" / "a.json").write_text("{}")
    listed: list[str] = []

    def looked(place: str, **options: Any) -> dict[str, int]:
        found = find(place, **options)
        listed.extend(found)
        return found

    monkeypatch.setattr(manifest_module, "find", looked)
    _, done = left_to_do([Entry("/a.mp3", str(tmp_path / "archive" / "a"))], str(tmp_path / "out"))
    assert [entry.uri for entry in done] == ["/a.mp3"]
    assert listed == [str(tmp_path / "archive" / "a.json")]


def test_outputs_in_many_folders_are_looked_for_one_by_one(tmp_path: Path) -> None:
    entries = [Entry(f"/talks/{number}.mp3", str(tmp_path / str(number) / "x")) for number in range(40)]
    Path(entries[7].answer).parent.mkdir()
    Path(entries[7].answer).write_text("{}")
    left, done = left_to_do(entries, str(tmp_path / "out"))
    assert [entry.uri for entry in done] == ["/talks/7.mp3"]
    assert len(left) == 39


def test_an_answer_of_another_recording_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    monday = Entry("/monday/rec.wav", "/out/rec.wav", status="done", duration=3.0, seconds=1.0)
    tuesday = Entry("/tuesday/rec.wav", "/out/rec.wav", status="exists")
    with pytest.raises(ManifestError, match=r"/out/rec\.wav holds the answer of /monday/rec\.wav, and not"):
        merge_report([tuesday], [monday])
    again, other = replace(monday, status="exists", duration=None, seconds=None), Entry("/x.wav", "/out/x.wav")
    assert merge_report([other, again], [monday]) == [other, replace(monday, status="exists")]
    assert merge_report([other], [monday]) == [other, monday], "an earlier run's stay in the report"


@pytest.mark.parametrize("status", [None, "failed"])
def test_an_output_is_a_recordings_once_its_answer_is_there(tmp_path: Path, status: str | None) -> None:
    monday = Entry("/monday/rec.wav", str(tmp_path / "rec.wav"), status=status)
    tuesday = Entry("/tuesday/rec.wav", str(tmp_path / "rec.wav"))
    assert merge_report([tuesday], [monday]) == [tuesday]
    Path(monday.answer).write_text("{}")  # a run that was stopped before it could say so
    with pytest.raises(ManifestError, match=r"holds the answer of /monday/rec\.wav"):
        merge_report([tuesday], [monday])


def test_an_answer_with_other_parameters_is_not_taken_for_this_runs() -> None:
    english = Entry("/a.wav", "/out/a.wav", {"language": "en"}, status="done", duration=3.0, made_by="x")
    there = Entry("/a.wav", "/out/a.wav", {"language": "en"}, status="exists")
    assert merge_report([there], [english]) == [replace(english, status="exists")]
    for parameters in ({"language": "de"}, {}):
        with pytest.raises(ManifestError, match=r"/out/a\.wav\.json was made with other parameters"):
            merge_report([replace(there, parameters=parameters)], [english])
        again = replace(there, parameters=parameters, status=None)  # it is to be transcribed again
        assert merge_report([again], [english]) == [again]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("https://h.example/d?id=1", "https://h.example/d?id=2", False),
        ("https://h.example/d?X-Amz-Signature=1", "https://h.example/d?X-Amz-Signature=2", True),
    ],
)
def test_a_signature_is_no_part_of_a_name_and_other_queries_are(first: str, second: str, same: bool) -> None:
    earlier = Entry(first, "/out/d", status="done")
    if same:
        assert merge_report([Entry(second, "/out/d")], [earlier])
    else:
        with pytest.raises(ManifestError):
            merge_report([Entry(second, "/out/d")], [earlier])


def test_an_earlier_report_is_read_and_anything_else_in_its_place_refused(tmp_path: Path) -> None:
    assert read_report(str(tmp_path)) == []
    entry = Entry("/a.mp3", "/out/a", status="done", duration=1.0)
    (tmp_path / "manifest.jsonl").write_text(to_text([entry]))
    assert read_report(str(tmp_path)) == [entry]
    (tmp_path / "manifest.jsonl").write_text("notes")
    with pytest.raises(ManifestError, match="is no report of an earlier run"):
        read_report(str(tmp_path))


def test_bundles_hold_every_file_once_and_keep_to_their_limits() -> None:
    entries = [Entry(str(number), size=size) for number, size in enumerate([5, 1, 90, 2, 3, 0, 40, 4])]
    made = bundles(entries, files=3, size_bytes=10)
    assert sorted(entry.uri for bundle in made for entry in bundle) == sorted(entry.uri for entry in entries)
    assert all(len(bundle) <= 3 for bundle in made)
    sizes = [[entry.size or 2 for entry in bundle] for bundle in made]  # unknown: a quarter of a bundle
    assert all(sum(bundle) <= 10 or len(bundle) == 1 for bundle in sizes)
    assert sizes[0] == [90]
    assert any(len(bundle) == 3 for bundle in sizes), "short files share a bundle"
    unknown = bundles([Entry(str(number)) for number in range(8)], files=16, size_bytes=10)
    assert max(map(len, unknown)) <= 5
    assert bundles([], files=3, size_bytes=10) == []


def test_the_summary_counts() -> None:
    done = Entry("a", status="done", duration=90.0)
    text = summary([done, done, Entry("b", status="failed"), Entry("c", status="exists", duration=60.0)])
    assert text == "2 done (3.0 minutes of audio), 1 there already, 1 failed"
