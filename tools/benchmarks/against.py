"""Time this checkout's handler beside another checkout's, on the same models and recordings, in turn.

    ASR_MODEL=whisper-base python -m tools.benchmarks.against ../before --rounds 5

Two recordings of three minutes, made of the demo conversation: dense speech, and 15 s of speech and silence in turn.
Each checkout has a process of its own, and they take turns; medians count. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tools.benchmarks.audio import speech
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_wav

HERE = Path(__file__).resolve().parents[2]
SECONDS = 180.0
STRETCH = 15.0  # seconds of speech, then of silence
# Runs in the other checkout too: it uses what has been the handler's from the beginning.
WORKER = """
import sys, time
from pathlib import Path
from handler import EndpointHandler
handler = EndpointHandler(".")
for line in sys.stdin:
    audio = Path(line.strip()).read_bytes()
    began = time.perf_counter()
    handler({"inputs": audio, "parameters": {"diarize": False, "timestamps": "word"}})
    print("took", time.perf_counter() - began, flush=True)
"""


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
    took: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, worker(HERE) as ours, worker(options.checkout) as theirs:
        for name, waveform in made.items():
            path = Path(folder) / f"{name}.wav"
            path.write_bytes(to_wav(waveform))
            for of, process in ((True, ours), (False, theirs)):
                seconds_of(process, path)  # warm
                took[name, of] = []
            for _ in range(options.rounds):
                for of, process in ((True, ours), (False, theirs)):
                    took[name, of].append(seconds_of(process, path))
    print("| recording | this checkout | the other | share |\n|---|---|---|---|")
    for name in made:
        new, old = (statistics.median(took[name, of]) for of in (True, False))
        print(f"| {name}, {SECONDS:g} s | {new:.1f} s | {old:.1f} s | {new / old:.2f} |")
    return 0


def half_silent(seconds: float) -> Waveform:
    """Speech and digital silence in turn, `STRETCH` each."""
    sound = speech(seconds)
    silent = np.arange(len(sound)) // round(STRETCH * SAMPLE_RATE) % 2 == 1
    return np.where(silent, np.float32(0), sound)


@contextmanager
def worker(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in which the checkout's handler waits for paths."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER], cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def seconds_of(process: subprocess.Popen[str], path: Path) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    print(path, file=process.stdin, flush=True)
    for line in process.stdout:
        if line.startswith("took "):
            return float(line.split()[1])
    raise RuntimeError("The handler of a checkout ended: its error is above.")


if __name__ == "__main__":
    sys.exit(main())
