"""Python, the installed packages, and whether they work: imports, and decoding of what FFmpeg's libraries decode.

Reads requirements files and nothing else of the settings. Asks nothing of the network.
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
from turnscribe.waveform import SAMPLE_RATE, to_int16

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


def check_versions(
    name: str, file: Path, installed: Callable[[str], str | None] = version_of, *, extra: str = ""
) -> Result:
    """The installed packages against the bounds of a requirements file, as they apply to this Python.

    Where the package is installed and no repository is around it, the bounds are its own, with those of `extra`.
    """
    from packaging.requirements import Requirement

    here = file.exists()
    lines = file.read_text().splitlines() if here else importlib.metadata.requires("turnscribe") or []
    advice = f"pip install -r {file.name}" if here else f"pip install 'turnscribe{f'[{extra}]' if extra else ''}'"
    wrong, right = [], []
    for line in lines:
        text = line.split("#")[0].strip()
        if not text or text.startswith("-"):
            continue
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        version = installed(requirement.name)
        if version is None:
            wrong.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
        else:
            right.append(f"{requirement.name} {version}")
    if wrong:
        return Result(name, "FAILED", "; ".join(wrong), advice)
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
        message = " ".join(str(error).split())[:160]
        return Result(
            name, "FAILED", f"{type(error).__name__}: {message}", "pip install -r requirements.txt, in a new venv"
        )
    return Result(name, "ok", "imports")


def check_decoding(
    formats: Sequence[tuple[str, str]] = (("flac", "flac"), ("mp3", "mp3"), ("mp4", "aac")),
) -> Iterable[Result]:
    """Decodes files of a tone made in memory, by container and codec, with no program to be found on PATH."""
    import numpy as np

    from turnscribe.inputs.decode import decode_audio

    path = os.environ.get("PATH", "")
    os.environ["PATH"] = ""
    try:
        waveform = (0.3 * np.sin(np.arange(3 * SAMPLE_RATE) * (2 * np.pi * 220 / SAMPLE_RATE))).astype(np.float32)
        for container, codec in formats:
            name = f"decode {'m4a' if container == 'mp4' else container}"
            try:
                decoded = decode_audio(_encoded(waveform, container, codec)).mono
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
        stream: Any = file.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(to_int16(waveform)[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for piece in (frame, None):
            file.mux(stream.encode(piece))
    return buffer.getvalue()
