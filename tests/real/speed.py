"""Time the product beside faster-whisper on the same weights and real English speech, one after the other in turn.

    python -m tests.real.speed                                    30 s, 3 and 10 minutes, three rounds
    python -m tests.real.speed --before ../before --rounds 5      another checkout takes its turns, too
    python -m tests.real.speed --before ../before --speakers      the whole request, with speakers

Each program has a process of its own, loads whisper-base once, and is asked for every recording by turns; medians
count. Words have no times, since faster-whisper gives none where it decodes in batches. Nothing else should run on
the machine. What is heard is scored against what was said: a program that leaves words out is quick.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.real.models import fetch_models
from tests.real.recording import Recording
from tests.real.recordings import fetch
from tests.real.scoring import normalise
from tests.real.sources import recordings
from tools.benchmarks.in_turn import Program, handler, in_turn, running
from turnscribe.inputs.decode import decode_audio
from turnscribe.waveform import SAMPLE_RATE, to_wav

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = (30, 180, 600)
PAUSE = 0.5  # seconds between two recordings
KINDS = ("reading", "conversation", "message", "prompt")  # in this order, of those whose text is known
TURNSCRIBE, BATCHED, ONE_BY_ONE = "Turnscribe", "faster-whisper, batched", "faster-whisper, one by one"
TYPES = ("float32", "int8")
BATCH = 16
BEFORE = "before"


@dataclass(frozen=True)
class Speech:
    """Real recordings, one behind the other."""

    audio: bytes
    text: str
    seconds: float


@dataclass(frozen=True)
class Measured:
    """What a program took for a recording, once each round, and what it heard."""

    took: tuple[float, ...]
    text: str

    @property
    def median(self) -> float:
        return statistics.median(self.took)


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    if options.worker:
        return _work(*options.worker)
    models = fetch_models()
    made = {seconds: speech(recordings(fetch()), seconds) for seconds in options.seconds}
    peers = () if options.speakers else (BATCHED, ONE_BY_ONE)  # which tell no speakers
    names = [f"{name} {kind}" for name in (TURNSCRIBE, *peers) for kind in TYPES]
    names += [BEFORE] if options.before else []
    names = [name for name in names if not options.only or name in options.only]
    measured = measure(names, made, models, options)
    print("\n".join(table(measured, made)))
    if options.output:
        kept = [
            {"program": program, "seconds": seconds, "took": one.took, "text": one.text}
            for (program, seconds), one in measured.items()
        ]
        options.output.write_text(json.dumps(kept, indent=1) + "\n")
    return 0


def speech(of: Sequence[Recording], seconds: float) -> Speech:
    """English recordings in a row, as many as fit into so many seconds, with pauses between them and at the end."""
    pause = np.zeros(round(PAUSE * SAMPLE_RATE), np.float32)
    room, parts, texts = round(seconds * SAMPLE_RATE), [], []
    for kind in KINDS:
        for recording in of:
            if (recording.kind, recording.language) != (kind, "en"):
                continue
            spoken = recording.load()
            waveform = decode_audio(spoken.audio).mono
            if spoken.text and len(waveform) + len(pause) <= room:
                parts += [waveform, pause]
                texts.append(spoken.text)
                room -= len(waveform) + len(pause)
    return Speech(to_wav(np.concatenate([*parts, np.zeros(room, np.float32)])), " ".join(texts), seconds)


def measure(
    names: Sequence[str], made: dict[int, Speech], models: Path, options: argparse.Namespace
) -> dict[tuple[str, int], Measured]:
    measured: dict[tuple[str, int], Measured] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as workers:
        programs = [
            workers.enter_context(worker(name, models, options.before, speakers=options.speakers)) for name in names
        ]
        for seconds, one in made.items():
            path = Path(folder, f"{seconds} s.wav")
            path.write_bytes(one.audio)
            for name, answers in in_turn(programs, path, options.rounds).items():
                took = tuple(answer["took"] for answer in answers)
                measured[name, seconds] = Measured(took, answers[-1]["text"])
    return measured


def table(measured: dict[tuple[str, int], Measured], made: dict[int, Speech]) -> Iterator[str]:
    """A row a program; times are medians, errors those of the longest recording."""
    import jiwer

    longest = max(made)
    said = " ".join(normalise(made[longest].text, "en"))
    names = " | ".join(f"{seconds} s" for seconds in made)
    yield f"| program | {names} | word errors of {longest} s | wrong, deleted, inserted of {len(said.split())} |"
    yield "|---|" + "---|" * (len(made) + 2)
    for program in dict.fromkeys(program for program, _ in measured):
        times = " | ".join(f"{measured[program, seconds].median:.2f} s" for seconds in made)
        heard = " ".join(normalise(measured[program, longest].text, "en"))
        words = jiwer.process_words(said, heard)
        counts = f"{words.substitutions}, {words.deletions}, {words.insertions}"
        yield f"| {program} | {times} | {100 * words.wer:.1f} % | {counts} |"


# Workers ---------------------------------------------------------------------------------------------


def worker(
    name: str, models: Path, before: Path | None, *, speakers: bool = False
) -> AbstractContextManager[Program]:
    """A program by its name, with whisper-base and, where speakers are wanted, the open diarizer."""
    variables = {"ASR_MODEL": str(models / "whisper-base")}
    if speakers:
        variables |= {"DIARIZATION_MODEL": str(models / "open-diarizer"), "DIARIZATION_EFFORT": "fast"}
    folder = REPOSITORY
    if name == BEFORE:
        assert before is not None
        folder = before
    elif name.startswith(TURNSCRIBE):
        variables["ASR_DTYPE"] = name.split()[-1]
    else:
        command = [sys.executable, "-m", "tests.real.speed", "--worker", name, str(models)]
        return running(name, command, REPOSITORY, **variables)
    return running(name, handler(folder, {"diarize": speakers}), folder, **variables)


def _work(program: str, models: str) -> int:
    transcribe = faster_whisper(Path(models), program.split()[-1], batched=program.startswith(BATCHED))
    for line in sys.stdin:
        audio = Path(line.strip()).read_bytes()
        began = time.perf_counter()
        text = transcribe(audio)
        print("answer", json.dumps({"took": time.perf_counter() - began, "text": text}), flush=True)
    return 0


def faster_whisper(models: Path, compute_type: str, *, batched: bool) -> Callable[[bytes], str]:
    """Greedy, as the product is by default, with its voice filter, without which it does not decode in batches."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(
        str(models / "whisper-base"),
        device="cpu",
        compute_type=compute_type,
        cpu_threads=len(os.sched_getaffinity(0)),
    )

    def one_by_one(audio: bytes) -> str:
        segments, _ = model.transcribe(io.BytesIO(audio), beam_size=1)
        return "".join(segment.text for segment in segments)

    def in_batches(audio: bytes) -> str:
        segments, _ = BatchedInferencePipeline(model).transcribe(io.BytesIO(audio), beam_size=1, batch_size=BATCH)
        return "".join(segment.text for segment in segments)

    return in_batches if batched else one_by_one


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="speed", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="how often each program takes its turn (default: 3)")
    add(
        "--seconds",
        type=int,
        nargs="+",
        default=list(SECONDS),
        help="lengths of the recordings (default: 30 180 600)",
    )
    add("--before", type=Path, metavar="DIR", help="the folder of another checkout of the product")
    add("--speakers", action="store_true", help="the whole request with the open diarizer; without the peers")
    add("--only", action="append", metavar="PROGRAM", help="this program, such as 'Turnscribe int8'")
    add("--output", type=Path, metavar="FILE", help="where times and texts go as JSON")
    add("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.before and not (options.before / "handler.py").is_file():
        parser.error(f"{options.before} has no handler.py: name the folder of a checkout.")
    return options


if __name__ == "__main__":
    sys.exit(main())
