"""The package as pip sees it: what it depends on, its version, the examples in its documentation, its warnings."""

from __future__ import annotations

import doctest
import importlib
import re
import tomllib
import warnings
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import turnscribe
from tests.conftest import REPOSITORY

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
NOT_AN_EXTRA = {"requirements-lock.txt", "requirements-oldest.txt"}  # pins for containers, not bounds
OUR_TOP = ("turnscribe", "adapters", "tools", "scripts", "handler", "config", "diarization_utils", "tests")


def requirements(file: str) -> list[str]:
    lines = (line.split(" #")[0].strip() for line in (REPOSITORY / file).read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def with_examples() -> list[str]:
    """Every module of ours that shows what it does with `>>>`."""
    files = (file for top in ("turnscribe", "adapters", "tools") for file in (REPOSITORY / top).rglob("*.py"))
    found = (file for file in files if re.search(r"^ *>>> ", file.read_text(), re.MULTILINE))
    names = (".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in found)
    return sorted(name.removesuffix(".__init__") for name in names)


def test_the_package_depends_on_what_the_containers_install_in_that_order() -> None:
    assert PROJECT["dependencies"] == requirements("requirements.txt")


def test_each_requirements_file_is_an_extra() -> None:
    files = {file.name for file in REPOSITORY.glob("requirements-*.txt")} - NOT_AN_EXTRA
    assert files == {f"requirements-{extra}.txt" for extra in EXTRAS}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_asks_for_what_its_requirements_file_does(extra: str) -> None:
    """A file names another one with `-r`, an extra another extra. What every installation has is no extra's."""
    expected = []
    for line in requirements(f"requirements-{extra}.txt"):
        included = re.fullmatch(r"-r requirements(?:-(\w+))?\.txt", line)
        if included is None:
            expected.append(line)
        elif included[1]:
            expected.append(f"turnscribe[{included[1]}]")
    assert EXTRAS[extra] == [line for line in expected if line not in PROJECT["dependencies"]]


def test_the_requirements_of_the_containers_stand_by_themselves() -> None:
    """A container may install a copy of the file that lies elsewhere."""
    assert not [line for line in requirements("requirements.txt") if line.startswith("-")]


def test_the_oldest_set_has_the_servers_bounds_from_below() -> None:
    """So what is said to be enough is tested."""
    asked = [*EXTRAS["server"], *EXTRAS["formats"]]
    bounds = {one.name: one for one in map(Requirement, asked) if one.name != PROJECT["name"]}
    pins = {
        requirement.name: requirement for requirement in map(Requirement, requirements("requirements-oldest.txt"))
    }
    for name, bound in bounds.items():
        (lowest,) = (part.version for part in bound.specifier if part.operator == ">=")
        (pin,) = (part.version for part in pins[name].specifier)
        assert Version(pin) == Version(lowest), name


@pytest.mark.parametrize("package", ["fastapi", "h11", "python-multipart", "starlette", "uvicorn"])
def test_beside_each_bound_of_the_server_is_the_advisory_that_sets_it(package: str) -> None:
    before, _, _ = (REPOSITORY / "requirements-server.txt").read_text().partition(f"\n{package}>=")
    comment = "\n".join(takewhile(lambda line: line.startswith("#"), reversed(before.split("\n"))))
    assert re.search(r"CVE-\d{4}-\d{4,}", comment), package


def test_the_package_is_python_alone() -> None:
    """So that one wheel fits every system; `.ci/try_wheel` sees that it is called so."""
    kinds = {file.suffix for file in (REPOSITORY / "turnscribe").rglob("*") if "__pycache__" not in file.parts}
    assert not kinds & {".so", ".pyd", ".dylib", ".dll", ".c", ".cpp", ".pyx"}
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert "hooks" not in build
    assert "*-py3-none-any.whl" in (REPOSITORY / ".ci" / "try_wheel").read_text()


def test_there_is_one_version() -> None:
    from turnscribe.cli.main import build_parser

    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", turnscribe.__version__)
    (shown,) = (action for action in build_parser()._actions if "--version" in action.option_strings)
    assert shown.version == f"turnscribe {turnscribe.__version__}"  # type: ignore[attr-defined]


def test_the_server_has_the_packages_version(client: Any) -> None:
    assert client.get("/openapi.json").json()["info"]["version"] == turnscribe.__version__


def test_the_package_says_that_it_has_types() -> None:
    assert (Path(turnscribe.__file__).parent / "py.typed").exists()


def test_modules_with_examples_are_found() -> None:
    assert {"turnscribe.formats", "turnscribe.whisper.languages"} <= set(with_examples())


@pytest.mark.parametrize("module", with_examples())
def test_the_examples_in_the_documentation_are_true(module: str) -> None:
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] not in OUR_TOP:
            pytest.skip(f"{error.name} belongs to a platform and is not installed")
        raise
    outcome = doctest.testmod(imported)
    assert outcome.attempted
    assert not outcome.failed


@pytest.mark.parametrize("module", ["turnscribe", "turnscribe.engine.decode", "handler", "config"])
def test_a_warning_in_the_code_is_an_error(module: str) -> None:
    with pytest.raises(UserWarning, match="careful"):
        warnings.warn_explicit("careful", UserWarning, "file.py", 1, module=module)


@pytest.mark.parametrize("module", ["torch.nn", "configparser", "handlers.of.others"])
def test_a_warning_in_the_code_of_others_is_none_of_ours(module: str) -> None:
    with pytest.warns(UserWarning, match="careful"):
        warnings.warn_explicit("careful", UserWarning, "file.py", 1, module=module)
