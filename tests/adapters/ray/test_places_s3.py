"""`turnscribe.bulk.places` and a manifest against an S3 on loopback, through the real s3fs."""

from __future__ import annotations

import os

import fsspec
import pytest

from turnscribe.bulk.manifest import left_to_do, list_entries, to_text
from turnscribe.bulk.places import BLOCK_BYTES, PlaceError, find, read, write

CONTENT = os.urandom(2 * BLOCK_BYTES + 99)


def test_a_file_is_written_found_and_read(bucket: str) -> None:
    write(f"{bucket}/monday/a b ä.mp3", CONTENT)
    write(f"{bucket}/monday/notes.txt", "no recording")
    assert find(f"{bucket}/monday") == {
        f"{bucket}/monday/a b ä.mp3": len(CONTENT),
        f"{bucket}/monday/notes.txt": 12,
    }
    assert read(f"{bucket}/monday/a b ä.mp3", max_bytes=2**26) == CONTENT
    with pytest.raises(PlaceError, match="over 1 MiB"):
        read(f"{bucket}/monday/a b ä.mp3", max_bytes=2**20)


def test_a_prefix_is_listed_and_what_has_an_answer_is_left_out(bucket: str) -> None:
    for name in ("a.mp3", "deep/b.mp4", "c.txt"):
        write(f"{bucket}/in/{name}", name)
    entries = list_entries([f"{bucket}/in"], f"{bucket}/out")
    assert [(entry.uri, entry.output) for entry in entries] == [
        (f"{bucket}/in/a.mp3", f"{bucket}/out/a.mp3"),
        (f"{bucket}/in/deep/b.mp4", f"{bucket}/out/deep/b.mp4"),
    ]
    assert left_to_do(entries, f"{bucket}/out") == (entries, [])
    write(entries[0].answer, "{}")
    assert left_to_do(entries, f"{bucket}/out")[0] == entries[1:]
    assert left_to_do(entries, f"{bucket}/elsewhere")[0] == entries[1:]
    assert list(find(f"{bucket}/in", depth=1)) == [f"{bucket}/in/a.mp3", f"{bucket}/in/c.txt"]
    write(f"{bucket}/list.jsonl", to_text(entries))
    assert list_entries([f"{bucket}/list.jsonl"], f"{bucket}/elsewhere") == entries


def test_what_is_not_there_is_named_once(bucket: str) -> None:
    with pytest.raises(PlaceError, match=r"s3://talks/none\.mp3 is not there"):
        read(f"{bucket}/none.mp3", max_bytes=10)
    assert find(f"{bucket}/none/") == {}


def test_a_bucket_that_is_not_there_is_no_missing_file_of_whoever_writes(bucket: str) -> None:
    with pytest.raises(PlaceError, match="s3://no-such-bucket-here/a cannot be written, its bucket") as caught:
        write("s3://no-such-bucket-here/a", "x", attempts=1)
    assert type(caught.value) is PlaceError


def test_without_credentials_the_sentence_says_so_at_once(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(PlaceError, match=r"s3://talks/a\.mp3 cannot be read .*check the access rights"):
        read(f"{bucket}/a.mp3", max_bytes=10)
