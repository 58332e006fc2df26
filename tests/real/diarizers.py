"""Time the open diarizer both ways on real conversations, beside senko where it is installed, in turn.

    python -m tests.real.diarizers                              both efforts, three rounds
    python -m tests.real.diarizers --senko ../senko/bin/python  senko takes its turns, too

`--senko` is the Python of an environment with senko (PyPI, 0.2.2 was used). Each program has a process of its own.
The time is that of the longest recording. The error rate is over those recordings of `tests.real.evaluate` whose
turns are known; it has no collar, and overlap counts. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.real.choice import TABLE, choice
from tests.real.models import fetch_models
from tests.real.recording import SEVERAL_VOICES, Spoken
from tests.real.recordings import fetch
from tests.real.sources import recordings
from tools.benchmarks.in_turn import Program, in_turn, running
from turnscribe.cli.evaluation.measures import diarization_errors
from turnscribe.inputs.decode import decode_audio
from turnscribe.transcript import Turn
from turnscribe.waveform import SAMPLE_RATE, to_wav

REPOSITORY = Path(__file__).resolve().parents[2]
EFFORTS = ("fast", "exact")
SENKO = "senko"
# Each is told the folder of the open diarizer and its effort, or nothing.
OURS = """
import json, sys, time
from pathlib import Path
from turnscribe.diarization.diarizer import diarize, load_diarizer
from turnscribe.inputs.decode import decode_audio
from turnscribe.request import DecodingOptions, Request
from turnscribe.speech.detector import load_speech_detector
from turnscribe.threads import limit_threads
limit_threads("cpu")
detector, diarizer = load_speech_detector(), load_diarizer(sys.argv[1], effort=sys.argv[2])
for line in sys.stdin:
    began = time.perf_counter()
    waveform = decode_audio(Path(line.strip()).read_bytes()).mono
    speech = detector.find(waveform).stretches
    turns = diarize(diarizer, waveform, Request(decoding=DecodingOptions(speech=speech)))
    took = time.perf_counter() - began
    turns = [(turn.speaker, turn.start, turn.end) for turn in turns]
    print("answer", json.dumps({"took": took, "turns": turns}), flush=True)
"""
SENKOS = """
import json, sys, time
import senko
diarizer = senko.Diarizer(device="cpu", warmup=True, quiet=True)
for line in sys.stdin:
    began = time.perf_counter()
    found = (diarizer.diarize(line.strip(), generate_colors=False) or {}).get("merged_segments", ())
    took = time.perf_counter() - began
    turns = [(turn["speaker"], turn["start"], turn["end"]) for turn in found]
    print("answer", json.dumps({"took": took, "turns": turns}), flush=True)
"""


@dataclass(frozen=True)
class Score:
    """Of a program and a recording: seconds of errors and of speech; how many speakers there are and were found."""

    errors: float
    speech: float
    speakers: int
    found: int


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="diarizers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each takes its turn (default: 3)")
    parser.add_argument("--senko", type=Path, metavar="PYTHON", help="the Python of an environment with senko")
    options = parser.parse_args(argv)
    open_diarizer = str(fetch_models() / "open-diarizer")
    spoken = {
        recording.name: recording.load()
        for recording in choice(recordings(fetch()), TABLE)
        if recording.kind in SEVERAL_VOICES
    }
    spoken = {name: one for name, one in spoken.items() if one.turns}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        paths = {name: Path(folder, f"{name.replace('/', '-')}.wav") for name in spoken}
        seconds: dict[str, float] = {}
        for name, path in paths.items():
            waveform = decode_audio(spoken[name].audio).mono
            path.write_bytes(to_wav(waveform))
            seconds[name] = len(waveform) / SAMPLE_RATE
        commands = {effort: [sys.executable, "-c", OURS, open_diarizer, effort] for effort in EFFORTS}
        if options.senko:
            commands[SENKO] = [str(options.senko.absolute()), "-W", "ignore", "-c", SENKOS]
        programs = [stack.enter_context(running(name, command, REPOSITORY)) for name, command in commands.items()]
        longest = max(seconds, key=lambda name: seconds[name])
        took = in_turn(programs, paths[longest], options.rounds)
        scores = {program.name: list(_scores(program, spoken, paths, seconds)) for program in programs}
    print("\n".join(table(took, scores, seconds[longest])))
    return 0


def _scores(
    program: Program, spoken: dict[str, Spoken], paths: dict[str, Path], seconds: dict[str, float]
) -> Iterator[Score]:
    for name, path in tqdm(paths.items(), desc=program.name, unit="recording", disable=None):
        yield score(spoken[name], program.ask(path)["turns"], seconds[name])


def score(spoken: Spoken, found: Sequence[tuple[str, float, float]], seconds: float) -> Score:
    """`found` are speaker, start and end in seconds of a recording of so many."""
    assert spoken.turns is not None
    turns = [Turn(*turn) for turn in found]
    errors = diarization_errors(spoken.turns, turns, seconds)
    speakers, heard = ({turn.speaker for turn in of} for of in (spoken.turns, turns))
    return Score(sum(error.part for error in errors), errors[0].whole, len(speakers), len(heard))


def table(took: dict[str, list[dict[str, Any]]], scores: dict[str, list[Score]], longest: float) -> Iterator[str]:
    """A row a program; times are medians."""
    yield f"| program | {longest:.0f} s take | DER over all | number of speakers right |\n|---|---|---|---|"
    for name, of in scores.items():
        median = statistics.median(answer["took"] for answer in took[name])
        rate = sum(one.errors for one in of) / sum(one.speech for one in of)
        right = sum(one.speakers == one.found for one in of)
        yield f"| {name} | {median:.2f} s | {100 * rate:.1f} % | {right} of {len(of)} |"


if __name__ == "__main__":
    sys.exit(main())
