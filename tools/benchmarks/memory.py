"""`python -m scripts.memory MODEL RECORDING`: what this process has in memory after each step to a first transcript.

With `--at-once 1 2 4 8` it also transcribes the recording so many times at once, and says how high memory rises.
Linux only: figures are those of /proc/self/smaps_rollup and /proc/self/status. `resident` is what the process
touches; of that `own` is its alone; the rest are pages of files, nearly all of them libraries, which processes share
and the system may drop.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tools.benchmarks.lengths import peak_mb, reset_peak
from turnscribe.memory import give_back_memory

ROLLUP = Path("/proc/self/smaps_rollup")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.memory", description="Memory of one loaded model.")
    parser.add_argument("model", help="as ASR_MODEL names it")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--diarization-model", help="as DIARIZATION_MODEL names it")
    parser.add_argument("--at-once", type=int, nargs="+", default=[], metavar="N", help="requests")
    given = parser.parse_args(arguments)
    print("| after | seconds | resident, MB | own, MB | of files, MB |\n|---|---|---|---|---|")
    recording = given.recording.read_bytes()
    loaded: list[Any] = []
    for name, step in steps(given.model, given.diarization_model, recording, loaded):
        began = time.perf_counter()
        step()
        seconds, (resident, own) = time.perf_counter() - began, in_memory()
        print(f"| {name} | {seconds:.1f} | {resident:.0f} | {own:.0f} | {resident - own:.0f} |", flush=True)
    if given.at_once:
        print("\n| at once | s | peak, MB | above what is loaded, MB | for each, MB |\n|---|---|---|---|---|")
    for count in given.at_once:
        give_back_memory()
        before = in_memory()[0]
        seconds, peak = together(loaded[0], recording, count)
        above = peak - before
        print(f"| {count} | {seconds:.1f} | {peak:.0f} | {above:.0f} | {above / count:.0f} |", flush=True)
    return 0


def together(pipeline: Any, recording: bytes, count: int) -> tuple[float, float]:
    """So many requests at once: their seconds, and the peak of this process's memory in MB."""
    from turnscribe.parameters import parse_parameters

    reset_peak()
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda _: pipeline.transcribe(recording, parse_parameters({})), range(count)))
    return time.perf_counter() - began, peak_mb()


def steps(
    model: str, diarization_model: str | None, recording: bytes, loaded: list[Any]
) -> list[tuple[str, Callable[[], Any]]]:
    """Each with what it is called; the pipeline is put into `loaded`."""

    def import_torch() -> None:
        import torch  # noqa: F401

    def load() -> None:
        from turnscribe.pipeline import load_pipeline
        from turnscribe.settings import ModelSettings

        loaded.append(load_pipeline(ModelSettings(asr_model=model, diarization_model=diarization_model)))

    def transcribe() -> None:
        from turnscribe.parameters import parse_parameters

        loaded[0].transcribe(recording, parse_parameters({}))

    return [
        ("the interpreter", lambda: None),
        ("import torch", import_torch),
        ("the model is loaded", load),
        ("a first transcript", transcribe),
        ("what is free is given back", give_back_memory),
    ]


def in_memory() -> tuple[float, float]:
    """MB that are resident, and those of them that are no file's."""
    found = dict(re.findall(r"^(Rss|Anonymous): +(\d+) kB$", ROLLUP.read_text(), flags=re.MULTILINE))
    return int(found["Rss"]) / 1000, int(found["Anonymous"]) / 1000
