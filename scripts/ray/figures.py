"""Measure the job here: many short files and few long ones over 1, 2 and 4 actors, and what a restart costs.

    ASR_MODEL=demo/whisper python -m scripts.ray.figures

About five minutes on two cores with the demo models. Every measurement is kept in the folder, so the command goes
on where it was interrupted; delete the folder to measure anew. The files are cut from `demo/conversation.flac`; what
they are held against is one process of `scripts.transcribe`. All run the same models, one thread a process.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scripts.bulk.long_recordings import to_wav
from scripts.bulk.places import write
from scripts.ray.cluster import ROOT
from turnscribe.windows import SAMPLE_RATE

SHORT, LONG = "short", "long"
ACTORS = (1, 2, 4)
PLAIN, RESTARTED = "plain", "restarted"
RESTARTED_ACTORS = 2


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="figures", description="Measure scripts.ray on this machine.")
    add = parser.add_argument
    add("--folder", type=Path, default=Path("build/ray-figures"), help="default: build/ray-figures")
    add("--short", type=int, default=120, metavar="N", help="short files (default: 120)")
    add("--short-seconds", type=float, default=5, metavar="S", help="of each (default: 5)")
    add("--long", type=int, default=8, metavar="N", help="long files (default: 8)")
    add("--long-seconds", type=float, default=300, metavar="S", help="of each (default: 300)")
    args = parser.parse_args(argv)
    if not os.environ.get("ASR_MODEL"):
        print("error: ASR_MODEL is not set: name a model, for example ASR_MODEL=demo/whisper.", file=sys.stderr)
        return 2
    lengths = {SHORT: (args.short, args.short_seconds), LONG: (args.long, args.long_seconds)}
    steps: list[tuple[str, str]] = [(kind, way) for kind in lengths for way in (PLAIN, *map(str, ACTORS))]
    steps.append((SHORT, RESTARTED))
    results = args.folder / "results.json"
    found: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    try:
        for kind, way in tqdm(steps, disable=None):
            if (name := f"{kind} {way}") not in found:
                print(f"{name} ...", file=sys.stderr, flush=True)
                files = _cut(args.folder / kind, *lengths[kind])
                found[name] = _measure(files, args.folder / "out", way)
                write(str(results), json.dumps(found, indent=1))
    except KeyboardInterrupt:
        return 130
    print(table(found, lengths))
    return 0


def table(found: dict[str, Any], lengths: dict[str, tuple[int, float]]) -> str:
    """Markdown. Speed is in seconds of audio for a second of the command, from its start to its end."""
    lines = ["| files | run by | command | speed | first answer after | load |", "|---|---|---|---|---|---|"]
    for name, measured in found.items():
        kind, way = name.split()
        number, seconds = lengths[kind]
        by = f"{way} actor{'s' * (way != '1')}"
        if way == PLAIN:
            by = "one plain process"
        elif way == RESTARTED:
            times = measured["total"] / found[f"{kind} {RESTARTED_ACTORS}"]["total"]
            by = f"{RESTARTED_ACTORS} actors, stopped halfway, run again: {times:.2f} times as long"
        lines.append(
            f"| {number} of {seconds:g} s | {by} | {measured['total']:.0f} s "
            f"| {number * seconds / measured['total']:.0f}x | {measured['first']:.0f} s | {measured['load']:.1f} |"
        )
    return "\n".join(lines)


def _cut(folder: Path, number: int, seconds: float) -> Path:
    """`number` files of different parts of the demo conversation, repeated where it is shorter."""
    import numpy as np

    from turnscribe.audio import decode_audio

    if len(list(folder.glob("*.wav"))) != number:
        waveform = decode_audio((ROOT / "demo" / "conversation.flac").read_bytes()).mono
        samples = int(seconds * SAMPLE_RATE)
        for index in range(number):
            piece = np.resize(np.roll(waveform, -index * 7 * SAMPLE_RATE // 2), samples)
            write(str(folder / f"{index:04}.wav"), to_wav(piece))
    return folder


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


if __name__ == "__main__":
    sys.exit(main())
