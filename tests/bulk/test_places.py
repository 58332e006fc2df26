"""Files by URI: a web server that breaks, is busy or changes its mind; folders; what is written whole."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from turnscribe.bulk import places
from turnscribe.bulk.places import (
    Missing,
    PlaceError,
    Refused,
    Unavailable,
    find,
    join,
    read,
    remove,
    shown,
    version,
    write,
)

CONTENT = os.urandom(3 * places.BLOCK_BYTES + 12_345)


@dataclass
class Behaviour:
    """Of the web server: what to answer GETs with before it behaves well."""

    content: bytes = CONTENT
    statuses: list[int] = field(default_factory=list)  # of the next answers
    break_after: list[int] = field(default_factory=list)  # bytes, of the next answers
    ranges: bool = True
    sized: bool = True  # tells how long the file is
    etag: str = "one"
    on_get: list = field(default_factory=list)  # called before the next answers
    asked: list[str] = field(default_factory=list)  # the Range of every GET
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def web() -> Iterator[tuple[str, Behaviour]]:
    behaviour = Behaviour()

    class Routes(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._head(200, len(behaviour.content) if behaviour.sized else None)

        def do_GET(self) -> None:
            if behaviour.on_get:
                behaviour.on_get.pop(0)()
            wanted = self.headers.get("Range", "")
            behaviour.asked.append(wanted)
            behaviour.paths.append(self.path)
            if behaviour.statuses and (status := behaviour.statuses.pop(0)) != 200:
                self._head(status, 0)
                return
            content, status = behaviour.content, 200
            if wanted and behaviour.ranges:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                self.whole = f"bytes {first}-{last or len(content) - 1}/{len(content)}"
                content, status = content[int(first) : int(last) + 1 if last else None], 206
            self._head(status, len(content) if behaviour.sized else None)
            limit = behaviour.break_after.pop(0) if behaviour.break_after else None
            if behaviour.sized:
                self.wfile.write(content[:limit])
            else:
                self.wfile.write(f"{len(content):x}\r\n".encode() + content[:limit])
                if limit is None:
                    self.wfile.write(b"\r\n0\r\n\r\n")
            if limit is not None:
                self.close_connection = True

        def _head(self, status: int, length: int | None) -> None:
            self.send_response(status)
            if length is None:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(length))
            self.send_header("ETag", behaviour.etag)
            if behaviour.ranges:
                self.send_header("Accept-Ranges", "bytes")
            if status == 206:
                self.send_header("Content-Range", self.whole)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Routes)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/talk.mp3?signature=s3cret", behaviour
    server.shutdown()
    server.server_close()


def fetch(url: str, **options: float) -> bytes:
    return read(url, **{"max_bytes": 2**26, "wait": 0.01, **options})  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_file_is_read_whole_in_blocks(web: tuple[str, Behaviour]) -> None:
    url, behaviour = web
    assert fetch(url) == CONTENT
    assert len([wanted for wanted in behaviour.asked if wanted]) > 1


def test_a_broken_connection_is_taken_up_where_it_broke(web: tuple[str, Behaviour]) -> None:
    url, behaviour = web
    fetch(url)
    plain = len(behaviour.asked)
    behaviour.asked.clear()
    behaviour.on_get = [lambda: None] * (plain - 1) + [lambda: behaviour.break_after.append(1000)]
    assert fetch(url) == CONTENT
    firsts = [int(wanted.removeprefix("bytes=").partition("-")[0]) for wanted in behaviour.asked if wanted]
    assert firsts[-1] > 0
    assert firsts.count(0) == 1, "it started over"


@pytest.mark.parametrize("ranges", [True, False])
def test_what_passes_is_tried_again(web: tuple[str, Behaviour], ranges: bool) -> None:
    url, behaviour = web
    behaviour.ranges = ranges
    behaviour.statuses = [503, 200, 429]
    behaviour.break_after = [5000]
    assert fetch(url) == CONTENT


def test_a_broken_connection_to_a_server_that_tells_no_size_is_begun_anew(web: tuple[str, Behaviour]) -> None:
    url, behaviour = web
    behaviour.sized = behaviour.ranges = False
    assert fetch(url) == CONTENT
    behaviour.on_get = [lambda: None, lambda: behaviour.break_after.append(5000)]  # the first GET asks for the size
    assert fetch(url) == CONTENT
    assert not behaviour.break_after


def test_a_file_that_changed_between_two_attempts_is_read_anew(web: tuple[str, Behaviour]) -> None:
    url, behaviour = web
    other = bytes(len(CONTENT))

    def change() -> None:
        behaviour.content, behaviour.etag = other, "two"
        behaviour.break_after.append(10)

    behaviour.on_get = [lambda: None, lambda: None, change]
    assert fetch(url) == other


def test_a_file_that_changes_while_it_is_read_is_read_anew(web: tuple[str, Behaviour]) -> None:
    url, behaviour = web
    other = bytes(len(CONTENT))

    def change() -> None:
        behaviour.content, behaviour.etag = other, "two"

    behaviour.on_get = [lambda: None, change]
    assert fetch(url) == other
    behaviour.on_get = [change]
    assert fetch(url) == other


def test_a_signed_url_is_sent_as_it_is(web: tuple[str, Behaviour]) -> None:
    url, behaviour = web
    fetch(url.replace("s3cret", "a%2Fb%2Bc%3D") + "&x=%7E")
    assert set(behaviour.paths) == {"/talk.mp3?signature=a%2Fb%2Bc%3D&x=%7E"}
    fetch(url.partition("talk")[0] + "a b ä.mp3")
    assert behaviour.paths[-1] == "/a%20b%20%C3%A4.mp3"


@pytest.mark.parametrize(
    ("status", "sentence", "attempts"),
    [(404, "is not there", 1), (403, "check the access rights", 1), (500, "in 3 attempts", 3)],
)
def test_what_stays_wrong_is_one_sentence_without_the_query(
    web: tuple[str, Behaviour], status: int, sentence: str, attempts: int
) -> None:
    url, behaviour = web
    behaviour.statuses = [status] * 100
    with pytest.raises(PlaceError, match=sentence) as caught:
        fetch(url, attempts=3)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert "talk.mp3" in str(caught.value)
    assert isinstance(caught.value, Unavailable) == (status == 500)
    assert len(behaviour.asked) >= attempts
    assert (len(behaviour.asked) > 2) == (status == 500)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_over_the_limit_is_not_read_to_its_end(web: tuple[str, Behaviour], ranges: bool) -> None:
    url, behaviour = web
    behaviour.ranges = ranges
    with pytest.raises(PlaceError, match="is over 1 MiB: raise MAX_INPUT_BYTES"):
        fetch(url, max_bytes=2**20)


def test_a_server_that_is_away_is_named(web: tuple[str, Behaviour]) -> None:
    with pytest.raises(PlaceError, match=r"127\.0\.0\.1:9/a\.mp3 could not be read in 2 attempts"):
        fetch("http://127.0.0.1:9/a.mp3", attempts=2)


def test_a_path_is_read_and_a_folder_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"1234")
    assert fetch(str(tmp_path / "a.wav")) == b"1234"
    with pytest.raises(PlaceError, match="is not there"):
        fetch(str(tmp_path / "b.wav"))
    with pytest.raises(Refused, match="is a folder"):
        fetch(str(tmp_path))
    (tmp_path / "a.wav").unlink()
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(PlaceError, match="is a folder") as caught:
        write(str(tmp_path / "a.wav"), "text", attempts=1)
    assert not isinstance(caught.value, Refused | Missing), "nothing is wrong with a file that is read"


def test_a_pipe_and_a_link_without_end_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    with pytest.raises(Refused, match=r"pipe\.wav is no file but a pipe or a device: save the recording first\."):
        read(str(tmp_path / "pipe.wav"), max_bytes=1)
    with pytest.raises(Refused, match=r"loop\.wav cannot be read \(OSError\)"):
        read(str(tmp_path / "loop.wav"), max_bytes=1)


def test_a_file_that_is_large_on_the_disk_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "sparse.wav", "wb") as sparse:
        sparse.truncate(12 * 2**30)
    with pytest.raises(PlaceError, match="is over 1 MiB"):
        read(str(tmp_path / "sparse.wav"), max_bytes=2**20)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "talks" / "closed").mkdir(parents=True)
    (tmp_path / "talks" / "a.wav").touch()
    scandir = os.scandir

    def listed(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listed)
    with pytest.raises(PlaceError, match=r"talks cannot be listed \(PermissionError\): check the access rights"):
        find(str(tmp_path / "talks"))


@pytest.mark.parametrize(
    ("uri", "sentence"), [("zz://a/b", "has a scheme that is not known"), ("gs://a/b", "needs the package gcsfs")]
)
def test_a_scheme_that_cannot_be_read_is_named(uri: str, sentence: str) -> None:
    with pytest.raises(PlaceError, match=sentence):
        fetch(uri)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "new" / "a.json"
    write(str(target), "first ä")
    assert target.read_text() == "first ä"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(places.os, "replace", full)
    with pytest.raises(PlaceError, match="could not be written in 2 attempts"):
        write(str(target), "second", attempts=2, wait=0.01)
    assert target.read_text() == "first ä"
    assert list(target.parent.iterdir()) == [target]


def test_many_threads_may_write_the_same_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    texts = [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write, args=(str(target), text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() in texts


def test_files_are_found_with_their_sizes(tmp_path: Path) -> None:
    for name in ("b/two.mp3", "one.wav", "b/c/three.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert find(str(tmp_path)) == {
        str(tmp_path / name): len(name) for name in ("b/c/three.mp4", "b/two.mp3", "one.wav")
    }
    assert find(str(tmp_path / "one.wav")) == {str(tmp_path / "one.wav"): 7}
    assert list(find(str(tmp_path), depth=1)) == [str(tmp_path / "one.wav")]
    assert find(str(tmp_path / "nothing")) == {}
    assert find("https://store.example/a.mp3?x=1") == {"https://store.example/a.mp3?x=1": 0}


@pytest.mark.parametrize("name", ["talk #1?.wav", "a::b.wav", "100%.wav", "語" * 78, "[a]*.wav", "line\nbreak.wav"])
def test_odd_names_are_written_found_and_read(tmp_path: Path, name: str) -> None:
    uri = str(tmp_path / name)
    write(uri, "whole")
    assert fetch(uri) == b"whole"
    assert find(str(tmp_path)) == {uri: 5} == find(uri)


def test_a_name_that_is_too_long_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match="cannot be written") as caught:
        write(str(tmp_path / ("x" * 300)), "whole", wait=60)
    assert not isinstance(caught.value, Unavailable)


def test_a_version_tells_contents_apart(web: tuple[str, Behaviour], tmp_path: Path) -> None:
    url, behaviour = web
    first = version(url)
    assert version(url) == first
    behaviour.etag = "two"
    assert version(url) != first
    with pytest.raises(Missing):
        version(str(tmp_path / "none"))


@pytest.mark.parametrize("mark", ["ETag", "etag", "Last-Modified", "LastModified", "last_modified", "mtime"])
def test_every_file_systems_mark_tells_contents_apart(mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = MemoryFileSystem()
    monkeypatch.setattr(places, "_opened", lambda uri: (fs, uri))
    versions = set()
    for value in ("one", "two"):
        monkeypatch.setattr(fs, "info", lambda path, value=value: {"name": path, "size": 4, mark: value})
        versions.add(version("abfs://talks/a.wav"))
    assert len(versions) == 2


def test_secrets_of_a_uri_are_not_shown() -> None:
    assert shown("https://key:secret@store.example/a b.mp3?signature=1#x") == "https://store.example/a b.mp3"
    assert shown("talks/a?.mp3") == "talks/a?.mp3"
    assert shown("s3://bucket/talk #1?.mp3") == "s3://bucket/talk #1?.mp3"
    assert join("/", "a.json") == "/a.json"


# What is removed


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_a_folder_is_removed_with_all_that_is_in_it_and_nothing_else(scheme: str, tmp_path: Path) -> None:
    base = f"{scheme}{tmp_path}"
    for name in ("a.parts/plan.json", "a.parts/key/0000", "a.parts2/0000", "a"):
        write(join(base, name), "x")
    remove(join(base, "a.parts"))
    assert [uri.removeprefix(f"{base}/") for uri in find(base)] == ["a", "a.parts2/0000"]
    remove(join(base, "a.parts"))  # there is none any more
