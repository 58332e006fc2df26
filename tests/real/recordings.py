"""Fetches the packages of `packages.py` and unpacks what the tests need of them, into `build/real`.

    python -m tests.real.recordings

Debian's packages come through `apt-get download`, wheels through `pip download`, source distributions from the
index that pip is set to. Each archive is held against its sha256 before it is opened, and no program in it is run.
What is there already stays; an archive that cannot be had may be laid into `build/real/downloads`.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from tests.real.packages import PACKAGES, Package
from turnscribe.files import whole

BUILD = Path(__file__).resolve().parents[2] / "build" / "real"
TIMEOUT = 120.0  # seconds without an answer
TRIES = 3
BETWEEN_TRIES = 3.0  # seconds
BLOCK = 2**20
INDEX_PAGE = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"  # PEP 691, else PEP 503


class Unavailable(Exception):
    """A package cannot be had; the message is one sentence."""


def fetch(packages: Sequence[Package] = tuple(PACKAGES.values()), build: Path = BUILD) -> Path:
    """The folder with a folder for each package, which holds the package's files under their own paths.

    Two at once wait for one another. Raises `Unavailable`.
    """
    unpacked = build / "packages"
    missing = [package for package in packages if not folder_of(package, unpacked).is_dir()]
    if missing:
        with _locked(build):
            for package in missing:
                folder = folder_of(package, unpacked)
                if not folder.is_dir():
                    print(f"{package.name} {package.version}: {package.use}", file=sys.stderr, flush=True)
                    _unpack(_archive(package, build / "downloads"), package, folder)
    return unpacked


def folder_of(package: Package, unpacked: Path) -> Path:
    """Named after the files that are taken too: it is made anew where they change."""
    chosen = hashlib.sha256("\n".join((package.sha256, *package.files)).encode()).hexdigest()
    return unpacked / f"{package.name}-{chosen[:12]}"


# Downloading -----------------------------------------------------------------------------------------


def _archive(package: Package, downloads: Path) -> Path:
    path = downloads / package.archive
    if path.exists():
        _check(path, package)
        return path
    downloads.mkdir(parents=True, exist_ok=True)
    for left in reversed(range(TRIES)):
        try:
            {"debian": _from_debian, "wheel": _with_pip, "sdist": _from_index}[package.source](package, path)
            _check(path, package)
            break
        except Unavailable as error:
            if not left:
                raise
            print(f"{error} Trying again.", file=sys.stderr, flush=True)
            time.sleep(BETWEEN_TRIES)
    return path


def _check(path: Path, package: Package) -> None:
    """An interrupted download leaves a part of the file."""
    found = _sha256(path)
    if found != package.sha256:
        path.unlink()
        raise Unavailable(f"{package.archive} has sha256 {found} and {package.sha256} is right: it was deleted.")


def _from_debian(package: Package, path: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Unavailable(f"{package.name} is a package of Debian, and there is no apt-get on this machine.")
    command = ["apt-get", "download", f"{package.name}={package.version}"]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    if done.returncode or not path.exists():
        raise Unavailable(
            f"apt-get cannot download {package.name} {package.version} of Debian 12: run apt-get update, or lay "
            f"{package.archive} into build/real/downloads. It said: {_last_line(done.stderr)}"
        )


def _with_pip(package: Package, path: Path) -> None:
    wanted = f"{package.name}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*command, f"--dest={path.parent}", wanted], capture_output=True, text=True)
    if done.returncode or not path.exists():
        raise Unavailable(
            f"pip cannot download {wanted}: set it to an index that has {package.archive}. It said: "
            f"{_last_line(done.stderr)}"
        )


def _from_index(package: Package, path: Path) -> None:
    """pip itself would run the source distribution's own program to ask for its metadata."""
    import requests

    session = requests.Session()
    session.headers["Accept"] = INDEX_PAGE
    session.verify = os.environ.get("PIP_CERT") or True
    for index in _indexes():
        page = f"{index.rstrip('/')}/{package.name}/"
        try:
            answer = session.get(page, timeout=TIMEOUT)
            answer.raise_for_status()
            address = next((link for link in _links(answer) if _file_name(link) == package.archive), None)
            if address is None:
                continue
            with session.get(address, headers={"Accept": "*/*"}, timeout=TIMEOUT, stream=True) as file:
                file.raise_for_status()
                with whole(path) as unfinished, unfinished.open("wb") as out:
                    for block in file.iter_content(BLOCK):
                        out.write(block)
            return
        except requests.RequestException:  # of a folder too, which is no address: pip alone reads it
            continue
    raise Unavailable(f"No index that pip is set to has {package.archive}: lay it into build/real/downloads.")


def _indexes() -> list[str]:
    """Where pip looks: its variables first, its configuration, its own default; then the further ones."""
    told = {
        name: os.environ.get(f"PIP_{name.upper().replace('-', '_')}") for name in ("index-url", "extra-index-url")
    }
    for name in told:
        for section in ("download", "global"):
            told[name] = told[name] or _printed("-m", "pip", "config", "get", f"{section}.{name}")
    default = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    first = told["index-url"] or _printed("-c", default)
    return [*(first or "").split(), *(told["extra-index-url"] or "").split()]


def _printed(*arguments: str) -> str | None:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def _links(answer) -> Iterator[str]:
    """The addresses of the files on a page of an index."""
    if "json" in answer.headers.get("content-type", ""):
        found = [file["url"] for file in answer.json()["files"]]
    else:
        parser = _Anchors()
        parser.feed(answer.text)
        found = parser.addresses
    return (urljoin(answer.url, address) for address in found)


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a" and (address := dict(attrs).get("href")):
            self.addresses.append(address)


def _file_name(address: str) -> str:
    return unquote(urlsplit(address).path.rpartition("/")[2])


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "nothing"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Unpacking -------------------------------------------------------------------------------------------


def _unpack(archive: Path, package: Package, folder: Path) -> None:
    """The package's wanted files into `folder`, which appears when all of them are there."""
    unfinished = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    count = 0
    for name, data in _members(archive, package):
        inside = PurePosixPath(name)
        wanted = any(fnmatchcase(str(inside), pattern) for pattern in package.files)
        if wanted and not inside.is_absolute() and ".." not in inside.parts:
            path = unfinished / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.read())
            count += 1
    if not count:
        raise Unavailable(f"{archive.name} has none of the files that are wanted of it.")
    unfinished.rename(folder)


def _members(archive: Path, package: Package) -> Iterator[tuple[str, io.BufferedIOBase]]:
    """Each file's path and data; links and folders are left out."""
    if package.source == "wheel":
        with zipfile.ZipFile(archive) as wheel:
            for entry in wheel.infolist():
                if not entry.is_dir():
                    with wheel.open(entry) as data:
                        yield entry.filename, data  # type: ignore[misc]
    elif package.source == "sdist":
        with tarfile.open(archive) as tar:
            yield from _files(tar)
    else:
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        with process, tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            yield from _files(tar)
        if process.returncode:
            raise Unavailable(f"dpkg-deb cannot read {archive.name} (exit status {process.returncode}).")


def _files(tar: tarfile.TarFile) -> Iterator[tuple[str, io.BufferedIOBase]]:
    for member in tar:
        data = tar.extractfile(member) if member.isreg() else None
        if data is not None:
            yield member.name, data  # type: ignore[misc]


@contextmanager
def _locked(build: Path) -> Iterator[None]:
    build.mkdir(parents=True, exist_ok=True)
    with (build / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        print(fetch())
    except Unavailable as error:
        sys.exit(f"error: {error}")
