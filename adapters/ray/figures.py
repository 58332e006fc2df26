"""Measure the job here: many short files and few long ones over 1, 2 and 4 actors, and what a restart costs.

    ASR_MODEL=demo/whisper python -m scripts.ray.figures

About five minutes on two cores with the demo models. Every measurement is kept in the folder, so the command goes
on where it was interrupted, and other files or models are measured beside them; delete the folder to measure anew.
The files are cut from `demo/conversation.flac`; what they are held against is one process of `scripts.transcribe`.
All run the same models, one thread a process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from adapters.flyte.shards import model_key
from adapters.ray.cluster import ROOT
from turnscribe.bulk.places import write
from turnscribe.errors import SettingsError
from turnscribe.waveform import SAMPLE_RATE, to_wav

ACTORS = (1, 2, 4)
PLAIN, RESTARTED = "plain", "restarted"
RESTARTED_ACTORS = 2


@dataclass(frozen=True)
class Files:
    number: int
    seconds: float  # of each

    def __str__(self) -> str:
        return f"{self.number} of {self.seconds:g} s"


@dataclass(frozen=True)
class Step:
    """One measurement; its text is what the result is kept under."""

    files: Files
    way: str  # PLAIN, RESTARTED, or how many actors
    models: str

    def __str__(self) -> str:
        return f"{self.files}, {self.way}, {self.models}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="figures", description="Measure scripts.ray on this machine.")
    add = parser.add_argument
    add("--folder", type=Path, default=Path("build/ray-figures"), help="default: build/ray-figures")
    add("--short", type=int, default=120, metavar="N", help="short files (default: 120)")
    add("--short-seconds", type=float, default=5, metavar="S", help="of each (default: 5)")
    add("--long", type=int, default=8, metavar="N", help="long files (default: 8)")
    add("--long-seconds", type=float, default=300, metavar="S", help="of each (default: 300)")
    args = parser.parse_args(argv)
    try:
        models = model_key()
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    short, long = Files(args.short, args.short_seconds), Files(args.long, args.long_seconds)
    steps = [Step(files, way, models) for files in (short, long) for way in (PLAIN, *map(str, ACTORS))]
    steps.append(Step(short, RESTARTED, models))
    results = args.folder / "results.json"
    found: dict[str, dict[str, float]] = json.loads(results.read_text()) if results.exists() else {}
    try:
        for step in tqdm(steps, disable=None):
            if str(step) not in found:
                print(f"{step.files}, {step.way} ...", file=sys.stderr, flush=True)
                found[str(step)] = _measure(_cut(args.folder, step.files), args.folder / "out", step.way)
                write(str(results), json.dumps(found, indent=1))
    except KeyboardInterrupt:
        return 130
    print(table({step: found[str(step)] for step in steps}))
    return 0


def table(found: Mapping[Step, Mapping[str, float]]) -> str:
    """Markdown. Speed is in seconds of audio for a second of the command, from its start to its end."""
    lines = ["| files | run by | command | speed | first answer after | load |", "|---|---|---|---|---|---|"]
    for step, measured in found.items():
        by = f"{step.way} actor{'s' * (step.way != '1')}"
        if step.way == PLAIN:
            by = "one plain process"
        elif step.way == RESTARTED:
            times = measured["total"] / found[replace(step, way=str(RESTARTED_ACTORS))]["total"]
            by = f"{RESTARTED_ACTORS} actors, stopped halfway, run again: {times:.2f} times as long"
        lines.append(
            f"| {step.files} | {by} | {measured['total']:.0f} s "
            f"| {step.files.number * step.files.seconds / measured['total']:.0f}x "
            f"| {measured['first']:.0f} s | {measured['load']:.1f} |"
        )
    return "\n".join(lines)


def _cut(folder: Path, files: Files) -> Path:
    """A folder with those files, of different parts of the demo conversation, repeated where it is shorter."""
    import numpy as np

    from turnscribe.inputs.decode import decode_audio

    cut = folder / str(files)
    if len(list(cut.glob("*.wav"))) != files.number:
        waveform = decode_audio((ROOT / "demo" / "conversation.flac").read_bytes()).mono
        samples = int(files.seconds * SAMPLE_RATE)
        for index in range(files.number):
            piece = np.resize(np.roll(waveform, -index * 7 * SAMPLE_RATE // 2), samples)
            write(str(cut / f"{index:04}.wav"), to_wav(piece))
    return cut


def _measure(files: Path, output: Path, way: str) -> dict[str, float]:
    shutil.rmtree(output, ignore_errors=True)
    load = os.getloadavg()[0]
    if way == PLAIN:
        command = ["scripts.transcribe", str(files), "--output-dir", str(output), "--format", "answer", "--quiet"]
        return {**_run(command, output), "load": load}
    actors = RESTARTED_ACTORS if way == RESTARTED else int(way)
    cpus = str(max(actors, os.cpu_count() or 1))  # more than there are: they share them
    command = ["scripts.ray", str(files), "--output", str(output), "--actors", str(actors), "--cpus", cpus]
    if way != RESTARTED:
        return {**_run(command, output), "load": load}
    halfway = len(list(files.glob("*.wav"))) // 2
    before = _run(command, output, stop_when=lambda: len(_answers(output)) >= halfway)
    after = _run(command, output)
    return {"total": before["total"] + after["total"], "first": before["first"], "load": load}


def _run(command: Sequence[str], output: Path, *, stop_when: Callable[[], bool] | None = None) -> dict[str, float]:
    """Seconds from the start of the command to its first answer and to its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    began = time.monotonic()
    first = 0.0
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, stderr=subprocess.PIPE, start_new_session=True
    ) as job:
        try:
            while job.poll() is None:
                time.sleep(0.05)
                if not first and _answers(output):
                    first = time.monotonic() - began
                if stop_when and stop_when():
                    os.killpg(job.pid, signal.SIGINT)
                    stop_when = None
            assert job.stderr is not None
            if job.returncode not in (0, 130):
                raise SystemExit(job.stderr.read().decode(errors="replace"))
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
    return {"total": time.monotonic() - began, "first": first}


def _answers(output: Path) -> list[Path]:
    return list(output.glob("[!.]*.json"))
