"""Where named models are kept, for a user with a home and for one without."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.checkpoints.index_stand_in import CATALOGUE, CONTENTS
from turnscribe.checkpoints.catalogue import NAMED, find
from turnscribe.checkpoints.store import folder_of, home_to_write, homes
from turnscribe.errors import SettingsError

NOBODY = {"HOME": "/dev/null"}  # below which not even root can make a folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"turnscribe-{os.getuid()}"


def put_tiny(home: Path) -> Path:
    folder = home / "models" / "tiny"
    for path, content in CONTENTS.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("environ", "home"),
    [
        ({"TURNSCRIBE_HOME": "/t", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/t"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/turnscribe"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/turnscribe"),
        ({"TURNSCRIBE_HOME": " ", "HOME": "/h"}, "/h/.cache/turnscribe"),
    ],
)
def test_the_first_variable_that_is_set_says_where(environ: dict[str, str], home: str) -> None:
    assert homes(environ)[0] == Path(home)


def test_a_relative_home_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert home_to_write({"TURNSCRIBE_HOME": "models"}) == tmp_path / "models"


def test_a_model_is_there_when_all_its_files_are_in_their_sizes(tmp_path: Path) -> None:
    environ = {"TURNSCRIBE_HOME": str(tmp_path)}
    assert folder_of("tiny", catalogue=CATALOGUE, environ=environ) is None
    folder = put_tiny(tmp_path)
    assert folder_of("tiny", catalogue=CATALOGUE, environ=environ) == folder
    assert folder_of("small", catalogue=CATALOGUE, environ=environ) == folder
    assert folder_of("acme/other", catalogue=CATALOGUE, environ=environ) is None
    (folder / "config.json").write_bytes(b"")
    assert folder_of("tiny", catalogue=CATALOGUE, environ=environ) is None


def test_without_a_home_models_are_in_a_folder_of_this_user_alone(temporary: Path) -> None:
    assert home_to_write(NOBODY) == temporary
    assert temporary.stat().st_mode & 0o777 == 0o700
    put_tiny(temporary)
    assert folder_of("tiny", catalogue=CATALOGUE, environ=NOBODY) is not None


def test_a_folder_that_others_can_write_is_not_trusted(temporary: Path, tmp_path: Path) -> None:
    put_tiny(temporary)
    temporary.chmod(0o777)
    assert folder_of("tiny", catalogue=CATALOGUE, environ=NOBODY) is None
    with pytest.raises(SettingsError, match="set TURNSCRIBE_HOME"):
        home_to_write(NOBODY)
    temporary.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o700)
    temporary.symlink_to(tmp_path / "elsewhere")
    assert folder_of("tiny", catalogue=CATALOGUE, environ=NOBODY) is None


def test_a_home_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^TURNSCRIBE_HOME cannot be written: name a folder"):
        home_to_write({"TURNSCRIBE_HOME": "/dev/null/home"})


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root, to become another user")
def test_another_user_reads_what_an_image_brings_and_fetches_into_a_folder_of_its_own() -> None:
    """With a copy of the store's modules: the tests' interpreter and the repository may be closed to that user."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from store_of_user import folder_of, home_to_write\n"
        "print(folder_of('whisper-base'), home_to_write())"
    )
    python = next(
        (found for name in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(found := name).exists()), ""
    )
    if not python:
        pytest.skip("no Python that another user may run")
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        package = Path(__file__).resolve().parents[2] / "turnscribe"
        for module in ("errors", "checkpoints/catalogue", "checkpoints/store"):
            (folder / "turnscribe" / module).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(package / f"{module}.py", folder / "turnscribe" / f"{module}.py")
        (folder / "store_of_user.py").write_text("from turnscribe.checkpoints.store import *\n")
        model = find("whisper-base", NAMED)
        assert model is not None
        image = folder / "image"
        for file in model.files:
            (image / "models" / model.name).mkdir(parents=True, exist_ok=True)
            with (image / "models" / model.name / file.path).open("wb") as opened:
                opened.truncate(file.size)
        folder.chmod(0o755)
        user = [*"setpriv --reuid 54321 --regid 54321 --clear-groups".split(), python, "-c", program, str(folder)]

        def run(**environ: str) -> tuple[list[str], str]:
            done = subprocess.run(user, env=environ, cwd="/", capture_output=True, text=True, timeout=60)
            return done.stdout.split(), done.stderr

        (folder / "tmp").mkdir(mode=0o777)
        (folder / "tmp").chmod(0o777)
        assert run(TMPDIR=str(folder / "tmp"))[0] == ["None", str(folder / "tmp" / "turnscribe-54321")]
        found, error = run(TURNSCRIBE_HOME=str(image))
        assert found == []
        assert "TURNSCRIBE_HOME cannot be written" in error
        (image / "models").rename(folder / "tmp" / "turnscribe-54321" / "models")
        assert run(TMPDIR=str(folder / "tmp"))[0][0].endswith("models/whisper-base")
