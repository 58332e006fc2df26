"""Python, the installed packages, and whether they work: imports, and decoding of what FFmpeg's libraries decode.

Reads requirements files and nothing else of the settings. Knows no model, and asks nothing of the network.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import os
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from turnscribe.cli.checks.results import Result

LAST_TORCHAUDIO = (2, 11)  # requirements.txt pairs it with every later torch


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_python(version: tuple[int, ...]) -> Result:
    text = "Python " + ".".join(map(str, version[:2]))
    if version < (3, 11):
        return Result("python", "FAILED", f"{text} is too old", "use Python 3.11 or newer")
    return Result("python", "ok", text)


def check_versions(name: str, file: Path, installed: Callable[[str], str | None] = version_of) -> Result:
    """The installed packages against the bounds of a requirements file, as they apply to this Python."""
    from packaging.requirements import Requirement

    wrong, right = [], []
    for line in file.read_text().splitlines():
        text = line.split("#")[0].strip()
        if not text or text.startswith("-"):
            continue
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        version = installed(requirement.name)
        if version is None:
            wrong.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
        else:
            right.append(f"{requirement.name} {version}")
    if wrong:
        return Result(name, "FAILED", "; ".join(wrong), f"pip install -r {file.name}")
    return Result(name, "ok", ", ".join(right))


def check_torch_pair(torch: str | None, torchaudio: str | None) -> Result:
    name = "torch and torchaudio"
    if torch is None or torchaudio is None:
        return Result(name, "FAILED", "one of them is missing", "pip install -r requirements.txt")
    first, second = (tuple(map(int, re.findall(r"\d+", version)[:2])) for version in (torch, torchaudio))
    if first == second or (second == LAST_TORCHAUDIO and first > second):
        return Result(name, "ok", f"{torch} and {torchaudio}")
    wanted = ".".join(map(str, min(first, LAST_TORCHAUDIO)))
    return Result(
        name, "FAILED", f"{torch} and {torchaudio} do not fit together", f"pip install 'torchaudio=={wanted}.*'"
    )


def check_import(module: str, load: Callable[[str], Any] = importlib.import_module) -> Result:
    name = f"import {module}"
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load(module)
    except Exception as error:  # broken binaries raise all sorts
        said = " ".join(str(error).split())[:160]
        return Result(
            name, "FAILED", f"{type(error).__name__}: {said}", "pip install -r requirements.txt, in a new venv"
        )
    return Result(name, "ok", "imports")


def check_decoding(
    flac: bytes, formats: Sequence[tuple[str, str]] = (("mp3", "mp3"), ("mp4", "aac"))
) -> Iterable[Result]:
    """Decodes the demo recording and files made of it in memory, with no program to be found on PATH."""
    import numpy as np

    from turnscribe.inputs.decode import decode_audio

    path = os.environ.get("PATH", "")
    os.environ["PATH"] = ""
    try:
        waveform = decode_audio(flac).mono[: 3 * 16_000]
        for container, codec in (("flac", ""), *formats):
            name = f"decode {'m4a' if container == 'mp4' else container}"
            try:
                decoded = decode_audio(_encoded(waveform, container, codec)).mono if codec else waveform
                right = abs(len(decoded) - len(waveform)) < 4_000 and 0.7 < np.std(decoded) / np.std(waveform) < 1.4
            except Exception as error:
                yield Result(name, "FAILED", f"{type(error).__name__}", "pip install --force-reinstall av")
                continue
            advice = "" if right else "pip install --force-reinstall av"
            yield Result(name, "ok" if right else "FAILED", "as it should" if right else "sounds different", advice)
    finally:
        os.environ["PATH"] = path


def _encoded(waveform: Any, container: str, codec: str) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(waveform[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for piece in (frame, None):
            file.mux(stream.encode(piece))
    return buffer.getvalue()
