"""The image's packages: each in one version, by its hashes, and within the bounds of the requirements."""

from __future__ import annotations

import re

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY
from tests.test_package import requirements

LOCK = (REPOSITORY / "requirements-lock.txt").read_text()
ENTRY = re.compile(r"^([a-z0-9-]+)==(\S+) \\\n((?: {4}--hash=\S+(?: \\)?\n)+)", re.MULTILINE)
PINS = {name: version for name, version, _ in ENTRY.findall(LOCK)}
PYTHON = "3.11"
FILES = ("requirements.txt", "requirements-formats.txt", "requirements-server.txt", "requirements-otel.txt")
WANTED = [Requirement(line) for file in FILES for line in requirements(file) if not line.startswith("-")]


def environment() -> dict[str, str]:
    """The image's."""
    image = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "sys_platform": "linux"}
    image |= {"platform_system": "Linux", "platform_machine": "x86_64", "extra": ""}
    return {**{name: str(value) for name, value in default_environment().items()}, **image}


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_each_requirement_is_locked_within_its_bounds(wanted: Requirement) -> None:
    if wanted.marker is None or wanted.marker.evaluate(environment()):
        version = PINS.get(canonicalize_name(wanted.name))
        assert version, f"{wanted.name} is missing: make lock"
        assert wanted.specifier.contains(version, prereleases=True), f"{wanted.name} {version}: make lock"


def test_the_lock_holds_nothing_but_versions_with_hashes() -> None:
    rest = re.sub(r"^ *#.*\n", "", ENTRY.sub("", LOCK), flags=re.MULTILINE)
    assert not rest.strip()
    hashes = re.findall(r"--hash=(\S+)", LOCK)
    assert hashes
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in hashes)
    assert len(PINS) == len(ENTRY.findall(LOCK))


def test_the_lock_names_no_index() -> None:
    """Whoever builds the image chooses where its packages come from; their hashes stay the same."""
    assert "://" not in LOCK
    assert "index" not in LOCK


def test_the_lock_is_for_the_images_python() -> None:
    assert f"FROM python:{PYTHON}-" in (REPOSITORY / "Dockerfile").read_text()
    assert f"--python-version {PYTHON} " in (REPOSITORY / "Makefile").read_text()


def test_the_audit_reads_the_bounds_that_are_there() -> None:
    """`make audit` writes them as versions, with this pattern."""
    makefile = (REPOSITORY / "Makefile").read_text()
    assert r"s/^\([a-z0-9-]*\)>=\([0-9.]*\).*/\1==\2/p" in makefile
    lines = requirements("requirements-server.txt")
    found = [match for line in lines if (match := re.match(r"^([a-z0-9-]*)>=([0-9.]*)", line))]
    assert len(found) == len([line for line in lines if not line.startswith("-")])
