"""Files anywhere: a path, `s3://bucket/key`, `https://...` or whatever else fsspec knows, by their URI.

A file is read in blocks, so that one over the limit ends early, and a connection that breaks is taken up again where
it broke. A file is written whole or not at all. A package that a scheme needs (`s3fs`) is
named when it is missing.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from turnscribe.files import disk_is_full, has_room, write_whole

BLOCK_BYTES = 2**22  # of one read: an object store takes a request for each
ATTEMPTS = 5
FIRST_WAIT_SECONDS = 0.5  # before the second attempt; doubled before each further one
LASTING = (errno.ENAMETOOLONG, errno.EROFS, errno.ELOOP)
MARKS = ("ETag", "etag", "Last-Modified", "LastModified", "last_modified", "mtime")  # each file system has its own
PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)  # of HTTP: worth another try

Result = TypeVar("Result")


class PlaceError(ValueError):
    """One sentence: which file cannot be read or written, and why; holds no credentials."""


class Missing(PlaceError):
    """Nothing is there."""


class TooLarge(PlaceError):
    """It is over the limit."""


class Refused(PlaceError):
    """It cannot be read, and another attempt would not help: access is denied, or it is a folder."""


class Unavailable(PlaceError):
    """What was wrong may pass: it was tried several times, and may be tried again later."""


def read(uri: str, *, max_bytes: int, attempts: int = ATTEMPTS, wait: float = FIRST_WAIT_SECONDS) -> bytes:
    """The bytes of the file at `uri`, at most `max_bytes` of them.

    What passes (a time-out, a server that is busy, a broken connection) is tried `attempts` times, `wait` seconds
    apart and twice as long each time. Raises `PlaceError`.
    """
    reading = _Reading(uri, max_bytes)
    return _persistently(reading.go_on, uri, "read", attempts, wait)


def write(uri: str, content: str | bytes, *, attempts: int = ATTEMPTS, wait: float = FIRST_WAIT_SECONDS) -> None:
    """All of `content` at `uri`, or nothing; folders are made, what was there is replaced.

    Raises `PlaceError`, and no `Missing` or `Refused`, which are about a file that is read.
    """
    data = content.encode("utf-8", errors="replace") if isinstance(content, str) else content
    fs, path = _opened(uri)

    def put() -> None:
        if not _is_local(fs):
            fs.pipe_file(path, data)  # an object appears when its last byte has arrived
            return
        write_whole(Path(path), data)

    try:
        _persistently(put, uri, "written", attempts, wait)
    except Missing:
        raise PlaceError(
            f"{shown(uri)} cannot be written, its bucket or folder is not there: check the name."
        ) from None


def remove(folder: str, *, attempts: int = ATTEMPTS, wait: float = FIRST_WAIT_SECONDS) -> None:
    """The files in a folder or below a prefix, and of a disk the folders too. Raises `PlaceError`."""
    fs, path = _opened(folder)

    def removed() -> None:
        fs.invalidate_cache()
        if fs.exists(path):
            fs.rm(path, recursive=True)

    _persistently(removed, folder, "removed", attempts, wait)


def check_room(uri: str) -> None:
    """Before what is to be written at `uri` is worked on. Raises `PlaceError` where it is on a disk that is full."""
    fs, path = _opened(uri)
    if _is_local(fs) and not has_room(Path(path).parent):
        raise PlaceError(f"The disk of {Path(path).parent} is full: make room and start again.")


def find(
    place: str, *, depth: int | None = None, attempts: int = ATTEMPTS, wait: float = FIRST_WAIT_SECONDS
) -> dict[str, int]:
    """The URIs of the files in a folder or below a prefix, in order, with their sizes in bytes (0: unknown).

    With `depth` 1, those of the folder itself, and none of a folder in it. A single file is itself; a place where
    nothing is holds no files. Raises `PlaceError`.
    """
    if _is_web(place):  # a web server has no listing
        return {place: 0}
    fs, path = _opened(place)

    def listed() -> dict[str, int]:
        fs.invalidate_cache()  # others may have written since
        if os.path.isdir(path) and _is_local(fs):  # fsspec 2026.9 passes over a folder in it that cannot be read
            folders = os.walk(path, onerror=_raise)
            deque(folders if depth is None else islice(folders, depth), maxlen=0)
        found = fs.find(path, maxdepth=depth, detail=True)
        return {str(fs.unstrip_protocol(name)): int(info.get("size") or 0) for name, info in sorted(found.items())}

    try:
        found = _persistently(listed, place, "listed", attempts, wait)
    except Missing:
        return {}
    return {_plain(uri): size for uri, size in found.items()}


def _raise(error: OSError) -> None:
    raise error


def version(uri: str, *, attempts: int = ATTEMPTS, wait: float = FIRST_WAIT_SECONDS) -> str:
    """What tells this content of the file from another: its size, and its ETag or the time of its change.

    Raises `PlaceError`.
    """
    fs, path = _opened(uri)
    found = _persistently(lambda: _version(fs, path), uri, "read", attempts, wait)
    return f"{found.size}-{found.mark}"


def join(place: str, name: str) -> str:
    """`name` below `place`.

    >>> join("s3://bucket/talks/", "monday/a.json")
    's3://bucket/talks/monday/a.json'
    """
    return f"{place.rstrip('/')}/{name}"


def absolute(place: str) -> str:
    """A path from the root, since workers run elsewhere; other URIs as they are."""
    return _plain(place) if "://" in place else os.path.abspath(place)


def shown(uri: str) -> str:
    """`uri` without what may be secret: user and password, and the query that a presigned URL has.

    >>> shown("https://key:secret@store.example/talk.mp3?signature=1")
    'https://store.example/talk.mp3'
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    if _is_web(uri):
        rest = re.split("[?#]", rest, maxsplit=1)[0]  # elsewhere these are letters of a name
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


class _Version(NamedTuple):
    """Tells one content of a file from another, as well as its place can."""

    size: int | None
    mark: str


def _version(fs: Any, path: str) -> _Version:
    fs.invalidate_cache()
    info = fs.info(path)
    if info.get("type") == "directory":
        raise IsADirectoryError(path)
    if info.get("type") == "other":
        raise Refused(f"{shown(path)} is no file but a pipe or a device: save the recording first.")
    marks = (info.get(name) for name in MARKS)
    return _Version(info.get("size"), str(next((mark for mark in marks if mark), "")))


class _Reading:
    """What of a file has been read so far."""

    def __init__(self, uri: str, max_bytes: int) -> None:
        self.uri = uri
        self.max_bytes = max_bytes
        self.data = bytearray()
        self.version: _Version | None = None
        self.from_start = False

    def go_on(self) -> bytes:
        fs, path = _opened(self.uri)
        version = _version(fs, path)
        if version != self.version or self.from_start:
            self.data.clear()  # another file by now, or one that can only be read from its start
            self.version = version
        self._check(version.size or 0)
        try:
            with fs.open(path, "rb", block_size=0 if self.from_start else BLOCK_BYTES) as file:
                if self.data:
                    file.seek(len(self.data))
                while block := file.read(BLOCK_BYTES):
                    self.data += block
                    self._check(len(self.data))
        except ValueError as e:
            if self.from_start or not re.search("range|seek", str(e)):
                raise
            self.from_start = True  # this web server knows no ranges, or tells no size
            return self.go_on()
        if version.size not in (None, len(self.data)):
            raise OSError(f"{len(self.data)} of {version.size} bytes came")
        if _version(fs, path) != version:
            raise OSError("it changed while it was read")
        return bytes(self.data)

    def _check(self, size: int) -> None:
        if size > self.max_bytes:
            limit = f"{self.max_bytes / 2**20:g} MiB"
            raise TooLarge(f"{shown(self.uri)} is over {limit}: raise MAX_INPUT_BYTES, or use a smaller file.")


def _persistently(work: Callable[[], Result], uri: str, done: str, attempts: int, wait: float) -> Result:
    """`work()`, several times where what goes wrong may pass. Causes are not chained: they hold whole URLs."""
    lasting = Refused if done == "read" else PlaceError
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except PlaceError:
            raise
        except Exception as error:  # of whatever library the scheme brings
            e = _web_cause(error) if _is_web(uri) else error
            if isinstance(e, FileNotFoundError):
                raise Missing(f"{shown(uri)} is not there: check the name.") from None
            if isinstance(e, IsADirectoryError):
                raise lasting(f"{shown(uri)} is a folder: name a file in it.") from None
            if not _passes(e):
                raise lasting(
                    f"{shown(uri)} cannot be {done} ({_kind(e)}): check the access rights and the name."
                ) from None
            if attempt == attempts:
                raise Unavailable(
                    f"{shown(uri)} could not be {done} in {attempts} attempts ({_kind(e)}): try again later."
                ) from None
            time.sleep(wait * 2 ** (attempt - 1))
    raise AssertionError("at least one attempt is made")


def _web_cause(error: Exception) -> Exception:
    """What a web server really answered: fsspec calls whatever goes wrong with one a missing file."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, Exception):
        return cause if getattr(cause, "status", None) != 404 else error
    return FileNotFoundError() if getattr(error, "status", None) == 404 else error


def _passes(error: Exception) -> bool:
    status = getattr(error, "status", None)  # aiohttp's
    if isinstance(status, int) and status:
        return status in PASSING_STATUSES
    if isinstance(error, OSError) and error.errno in LASTING:
        return False
    lasting = isinstance(error, PermissionError | NotADirectoryError | ValueError | TypeError | ImportError)
    return not lasting and "Credentials" not in type(error).__name__  # botocore's, when there are none


def _kind(error: Exception) -> str:
    if disk_is_full(error):
        return "the disk is full"
    status = getattr(error, "status", None)
    return f"status {status}" if isinstance(status, int) and status else type(error).__name__


def _opened(uri: str) -> tuple[Any, str]:
    """The file system of `uri`, and its path there."""
    import fsspec

    scheme = uri.partition("://")[0] if "://" in uri else "file"
    options = {"encoded": True} if _is_web(uri) and "%" in uri else {}  # a signature has to stay as it is
    try:
        fs = fsspec.filesystem(scheme, **options)
    except ImportError as e:
        package = re.search(r"[Ii]nstall (\S+)", str(e))
        raise PlaceError(f"{shown(uri)} needs the package {package[1] if package else 'for its scheme'}.") from e
    except ValueError as e:
        raise PlaceError(f"{shown(uri)} has a scheme that is not known: use a path, s3:// or https://.") from e
    return fs, str(fs._strip_protocol(uri))  # `url_to_fs` would take "::" in a name for a chain of addresses


def _is_web(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def _is_local(fs: Any) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(fs, LocalFileSystem)


def _plain(uri: str) -> str:
    return uri.removeprefix("file://")
