"""Time a transcription on a quiet machine, beside one busy program, and beside a second transcription, in turn.

    python -m tests.real.neighbours                     30 s of real speech, five rounds

A busy program keeps one core for itself and needs no memory. The second transcription is of the same recording, over
and over. A fair share of the machine would cost as much again as a neighbour has threads: on two cores 1.5 times
beside the busy program, and twice beside the second transcription.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from tests.real.models import fetch_models
from tests.real.recordings import fetch
from tests.real.sources import recordings
from tests.real.speed import TURNSCRIBE, TYPES, speech, worker
from tools.benchmarks.in_turn import Program

SECONDS = 30
BUSY = "while True: pass"
READY = 2.0  # seconds that a neighbour has been there, or away


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="neighbours", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each takes its turn (default: 5)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of speech (default: 30)")
    parser.add_argument("--type", default=TYPES[-1], choices=TYPES, help="the weights' type (default: int8)")
    options = parser.parse_args(argv)
    models, program = fetch_models(), f"{TURNSCRIBE} {options.type}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        path.write_bytes(speech(recordings(fetch()), options.seconds).audio)
        with worker(program, models, None) as process, worker(program, models, None) as other:
            for each in (process, other):
                each.ask(path)  # warm
            beside: dict[str, Callable[[], AbstractContextManager[None]]] = {
                "nobody": quiet,
                "one busy program": busy,
                "a second transcription": partial(transcribing, other, path),
            }
            took: dict[str, list[float]] = {name: [] for name in beside}
            for _ in range(options.rounds):
                for name, neighbour in beside.items():
                    with neighbour():
                        took[name].append(process.ask(path)["took"])
    print("| beside | s | times as long |\n|---|---|---|")
    alone = statistics.median(took["nobody"])
    for name, seconds in took.items():
        median = statistics.median(seconds)
        print(f"| {name} | {median:.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | {median / alone:.2f} |")
    return 0


@contextmanager
def quiet() -> Iterator[None]:
    time.sleep(READY)
    yield


@contextmanager
def busy() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        try:
            process.wait(READY)
        except subprocess.TimeoutExpired:
            yield
        finally:
            process.kill()


@contextmanager
def transcribing(program: Program, path: Path) -> Iterator[None]:
    over = threading.Event()

    def again() -> None:
        while not over.is_set():
            program.ask(path)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        time.sleep(READY)
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
