"""Time this checkout's handler beside another checkout's, on the same models and recordings, in turn.

    ASR_MODEL=whisper-base python -m tools.benchmarks.against ../before --rounds 5

Two recordings of three minutes, made of the demo conversation: dense speech, and 15 s of speech and silence in turn.
Each checkout has a process of its own, and they take turns; medians count. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools.benchmarks.audio import speech
from tools.benchmarks.in_turn import handler, in_turn, running
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_wav

HERE = Path(__file__).resolve().parents[2]
SECONDS = 180.0
STRETCH = 15.0  # seconds of speech, then of silence
PARAMETERS = {"diarize": False, "timestamps": "word"}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="against", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkout", type=Path, help="the folder of the other checkout")
    parser.add_argument("--rounds", type=int, default=5, help="how often each takes its turn (default: 5)")
    options = parser.parse_args(argv)
    if not (options.checkout / "handler.py").is_file():
        parser.error(f"{options.checkout} has no handler.py: name the folder of a checkout.")
    made = {"dense speech": speech(SECONDS), "half silence": half_silent(SECONDS)}
    here, there = "this checkout", "the other"
    medians: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        running(here, handler(HERE, PARAMETERS), HERE) as ours,
        running(there, handler(options.checkout, PARAMETERS), options.checkout) as theirs,
    ):
        for name, waveform in made.items():
            path = Path(folder) / f"{name}.wav"
            path.write_bytes(to_wav(waveform))
            answers = in_turn([ours, theirs], path, options.rounds)
            medians[name] = [statistics.median(one["took"] for one in of) for of in answers.values()]
    print("| recording | this checkout | the other | share |\n|---|---|---|---|")
    for name, (new, old) in medians.items():
        print(f"| {name}, {SECONDS:g} s | {new:.1f} s | {old:.1f} s | {new / old:.2f} |")
    return 0


def half_silent(seconds: float) -> Waveform:
    """Speech and digital silence in turn, `STRETCH` each."""
    sound = speech(seconds)
    silent = np.arange(len(sound)) // round(STRETCH * SAMPLE_RATE) % 2 == 1
    return np.where(silent, np.float32(0), sound)


if __name__ == "__main__":
    sys.exit(main())
