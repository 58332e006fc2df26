"""`python -m scripts.memory MODEL RECORDING`: what this process has in memory after each step to a first transcript.

Linux only: figures are those of /proc/self/smaps_rollup. `resident` is what the process touches; of that `own` is its
alone; the rest are pages of files, nearly all of them libraries, which processes share and the system may drop.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROLLUP = Path("/proc/self/smaps_rollup")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.memory", description="Memory of one loaded model.")
    parser.add_argument("model", help="as ASR_MODEL names it")
    parser.add_argument("recording", type=Path)
    given = parser.parse_args(arguments)
    print("| after | seconds | resident, MB | own, MB | of files, MB |\n|---|---|---|---|---|")
    for name, step in steps(given.model, given.recording.read_bytes()):
        began = time.perf_counter()
        step()
        seconds, (resident, own) = time.perf_counter() - began, in_memory()
        print(f"| {name} | {seconds:.1f} | {resident:.0f} | {own:.0f} | {resident - own:.0f} |", flush=True)
    return 0


def steps(model: str, recording: bytes) -> list[tuple[str, Callable[[], Any]]]:
    """Each with what it is called."""
    loaded: list[Any] = []

    def import_torch() -> None:
        import torch  # noqa: F401

    def load() -> None:
        from turnscribe.pipeline import load_pipeline
        from turnscribe.settings import ModelSettings

        loaded.append(load_pipeline(ModelSettings(asr_model=model, diarization_model=None)))

    def transcribe() -> None:
        from turnscribe.parameters import parse_parameters

        loaded[0].transcribe(recording, parse_parameters({}))

    def give_back() -> None:
        from turnscribe.memory import give_back_memory

        give_back_memory()

    return [
        ("the interpreter", lambda: None),
        ("import torch", import_torch),
        ("the model is loaded", load),
        ("a first transcript", transcribe),
        ("what is free is given back", give_back),
    ]


def in_memory() -> tuple[float, float]:
    """MB that are resident, and those of them that are no file's."""
    found = dict(re.findall(r"^(Rss|Anonymous): +(\d+) kB$", ROLLUP.read_text(), flags=re.MULTILINE))
    return int(found["Rss"]) / 1000, int(found["Anonymous"]) / 1000
