"""One task against several on the same long recording: what spreading it gains, and what cutting and merging cost.

    ASR_MODEL=demo/whisper DIARIZATION_MODEL=demo/diarizer \
        python -m scripts.flyte.compare --minutes 60 --tasks 1 2

Every task is a process of its own, with Flyte's container command, on one core with one thread. One task gets the
recording whole; several get a part each, and their time includes cutting, judging the language, and merging.
Without `--recording` the demo conversation is repeated, louder and softer, with pauses. What `results.json` has
already of the same recording (by name and size), number of tasks, models and parameters is not run again. A cluster's
time to start a container is not in the figures.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapters.flyte.shards import model_key
from adapters.repository import REPOSITORY
from turnscribe.bulk.long_recordings import PartTranscript, merge
from turnscribe.errors import TurnscribeError
from turnscribe.files import write_whole
from turnscribe.interrupts import interrupt, two_step_interrupt
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_wav

DEMO = Path(__file__).resolve().parent.parent.parent / "demo" / "conversation.flac"
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    os.environ.update(THREADS)  # before torch is loaded
    import flytekit  # noqa: F401  before Ctrl-C is handled here: flytekit takes it for itself, and exits with 1

    with two_step_interrupt(at_first=interrupt, second_ends_process=True):
        try:
            _compare(args)
        except TurnscribeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
    return 0


def _compare(args: argparse.Namespace) -> None:
    """Prints a row for each number of tasks; what was measured is in the folder at once."""
    folder = Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {"chunk_length_s": args.chunk_length_s, "diarize": None if args.diarize else False}
    recording = Path(args.recording) if args.recording else _demo_recording(folder, args.minutes)
    results = folder / "results.json"
    known: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    subject = f"{recording.name}, {recording.stat().st_size} bytes, {json.dumps(parameters)}, {model_key()}"
    texts: list[str] = []
    for tasks in args.tasks:
        name = f"{tasks} tasks, {subject}"
        if name not in known:
            known[name] = measure(recording, tasks, parameters, folder / f"{tasks}-tasks")
            write_whole(results, json.dumps(known, indent=1) + "\n")
        texts.append(known[name]["text"])
        print(
            row(tasks, known[name]) + (", the same text" if texts[0] == texts[-1] else ", ANOTHER TEXT"), flush=True
        )


def measure(recording: Path, tasks: int, parameters: Mapping[str, object], folder: Path) -> dict[str, Any]:
    """Seconds of each step, and the text."""
    from flytekit import map_task
    from flytekit.types.file import FlyteFile

    from adapters.flyte.processes import run_map
    from adapters.flyte.workflow import transcribe_one_part
    from adapters.long_recording import cut_recording
    from turnscribe.inputs.decode import decode_audio

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings, request = REPOSITORY.load_settings(), REPOSITORY.parse(parameters)
    duration = decode_audio(recording.read_bytes(), limits=settings.limits).duration
    load, cpu_before = os.getloadavg()[0], _cpu_seconds()
    began = time.perf_counter()
    files, offsets, part_parameters = [recording], [0.0], [dict(parameters)]
    if tasks > 1:
        cut = cut_recording(recording.read_bytes(), dict(parameters), folder, part_seconds=duration / tasks)
        files, offsets, part_parameters = cut.files, cut.offsets, cut.parameters
    after_split = time.perf_counter()
    bound = {"models": model_key()}
    transcripts = run_map(
        map_task(functools.partial(transcribe_one_part, **bound)),
        {
            "audio": [FlyteFile(str(file), remote_path=False) for file in files],
            "offset": offsets,
            "parameters": list(map(json.dumps, part_parameters)),
            **bound,
        },
        len(files),
        folder / "map",
        at_a_time=tasks,
        pinned=True,
        on_message=lambda text: print(text, file=sys.stderr, flush=True),
    )
    after_map = time.perf_counter()
    parts = [PartTranscript.from_json(Path(file).read_text()) for file in transcripts]
    transcript = merge(parts, request, threshold=settings.speaker_similarity)
    after_merge = time.perf_counter()
    shutil.rmtree(folder)
    return {
        "audio": round(duration, 1),
        "total": round(after_merge - began, 1),
        "split": round(after_split - began, 1),
        "map": round(after_map - after_split, 1),
        "transcribing": [round(part.transcript.timings["total"], 1) for part in parts],
        "merge": round(after_merge - after_map, 2),
        "cpu_of_tasks": round(_cpu_seconds() - cpu_before, 1),
        "load_before": round(load, 2),
        "speakers": len({turn.speaker for turn in transcript.turns}),
        "text": transcript.text,
    }


def row(tasks: int, figures: Mapping[str, Any]) -> str:
    shown = {name: figures[name] for name in figures if name != "text"}
    words = len(figures["text"].split())
    return f"{tasks} tasks: {json.dumps(shown)}, {figures['audio'] / figures['total']:.1f}x, {words} words"


def build_recording(speech: Waveform, seconds: float) -> Waveform:
    """`speech` `[samples]` again and again, from half to full volume, with pauses of up to two seconds."""
    random = np.random.default_rng(0)
    pieces, length = [], 0
    while length < seconds * SAMPLE_RATE:
        pause = np.zeros(int(random.uniform(0.2, 2.0) * SAMPLE_RATE), np.float32)
        pieces += [speech * np.float32(random.uniform(0.5, 1.0)), pause]
        length += len(speech) + len(pause)
    return np.concatenate(pieces)[: int(seconds * SAMPLE_RATE)]


def _cpu_seconds() -> float:
    """Of all processes that were started here and have ended: what a busy machine cannot lengthen."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _demo_recording(folder: Path, minutes: float) -> Path:
    from turnscribe.inputs.decode import decode_audio

    file = folder / f"conversation-{minutes:g}-minutes.wav"
    if not file.exists():
        file.write_bytes(to_wav(build_recording(decode_audio(DEMO.read_bytes()).mono, minutes * 60)))
    return file


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="compare", description="One task against several on a long recording.")
    add = parser.add_argument
    add("--recording", metavar="FILE", help="default: the demo conversation, repeated")
    add("--minutes", type=float, default=60, help="of the demo conversation (default: 60)")
    add("--tasks", type=int, nargs="+", default=[1, 2], metavar="N", help="how many tasks (default: 1 2)")
    add("--chunk-length-s", type=float, default=15, metavar="SECONDS", help="longest window (default: 15)")
    add("--diarize", action=argparse.BooleanOptionalAction, default=True, help="tell speakers apart (default)")
    add("--folder", default="build/flyte-compare", help="recording, logs and results (default: %(default)s)")
    return parser
