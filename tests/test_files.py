from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from turnscribe.files import disk_is_full, whole, write_whole


def test_text_and_bytes_are_written_and_folders_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "deep" / "a.txt", "naïve\n")
    write_whole(tmp_path / "b.bin", b"\xff")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "naïve\n".encode()
    assert (tmp_path / "b.bin").read_bytes() == b"\xff"
    assert len(list(tmp_path.rglob("*"))) == 3, "nothing else is left"


def test_a_file_that_is_there_stays_unless_it_may_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_whole(file, "before")
    with pytest.raises(FileExistsError, match=r"a\.txt"):
        write_whole(file, "after", overwrite=False)
    assert file.read_text() == "before"
    write_whole(file, "after")
    assert file.read_text() == "after"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_fails_halfway_leaves_nothing(tmp_path: Path) -> None:
    def write_half() -> None:
        with whole(tmp_path / "a.bin") as unfinished:
            unfinished.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert not os.listdir(tmp_path)


def test_a_full_disk_is_told_from_other_errors(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "small.sqlite3")
    database.execute("CREATE TABLE rows (value)")
    database.execute("PRAGMA max_page_count=4")
    with pytest.raises(sqlite3.OperationalError) as full:
        database.execute("INSERT INTO rows VALUES (?)", ("x" * 100_000,))
    with pytest.raises(sqlite3.OperationalError) as wrong:
        database.execute("SELECT nothing FROM nowhere")
    database.close()
    assert disk_is_full(full.value)
    assert disk_is_full(OSError(errno.ENOSPC, "No space left on device"))
    assert not disk_is_full(wrong.value)
    assert not disk_is_full(OSError(errno.EACCES, "Permission denied"))
    assert not disk_is_full(ValueError("disk"))
