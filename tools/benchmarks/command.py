"""Time the engine beside its peers, on random weights of a named shape or on given models.

    python -m scripts.benchmark asr --shape base --seconds 180
    python -m scripts.benchmark drafts --seconds 8 60
    python -m scripts.benchmark diarize --seconds 30 60
    python -m scripts.benchmark request --seconds 60
    python -m scripts.benchmark load

Candidates take turns, `--rounds` times, each in a process of its own; medians, ratios and plots are of all rounds.
`<out>/<command>.json` is written after every run, and a second start goes on from there. Peers: see
`requirements-benchmark.txt`; one that is not installed is left out and named. Ctrl-C stops, nothing is lost.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tools.benchmarks.ours import ENGINES
from tools.benchmarks.peers import BATCH_SIZE, peers
from tools.benchmarks.results import Results, Series
from tools.benchmarks.shapes import SHAPES, make_assistant, make_diarizer, make_whisper

MODELS = Path("build/benchmark")
ORIGINAL = "transformers greedy"
WARM_UP = 4.0  # seconds of audio
LONGEST_FOR_PEERS = 600  # seconds of audio; beyond it only the engine runs
LONGEST_FOR_STOCK = 180  # seconds of audio: stock pyannote takes longer than the audio lasts


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    whisper, assistant = _models(options)
    if options.command in ("diarize", "request") and options.diarizer is None:
        options.diarizer = make_diarizer(MODELS / "diarizer")
    about = {"command": options.command, "model": options.shape if options.model is None else options.model.name}
    about["new_tokens"] = options.tokens
    results = Results(options.out / f"{options.command}.json", about)
    try:
        COMMANDS[options.command](Bench(options, whisper, assistant, results))
    except KeyboardInterrupt:
        tqdm.write(f"stopped; {results.file} holds what was measured, start again to go on.", file=sys.stderr)
        return 130
    return 0


# Commands --------------------------------------------------------------------------------------------


def asr(bench: Bench) -> None:
    """Transcription alone: peers over audio lengths, the engine over batch sizes too."""
    names = bench.names([*ENGINES, *(peer.name for peer in peers())])
    for seconds in bench.options.seconds:
        for name in names:
            if seconds <= LONGEST_FOR_PEERS or name == "turnscribe":
                bench.add(name, [name], seconds=seconds, batch=BATCH_SIZE)
    for batch_size in bench.options.batch:
        bench.add("turnscribe", ["turnscribe", "--batch", str(batch_size)], seconds=180, batch=batch_size)
    bench.run(("seconds", "batch"), ORIGINAL, {"seconds": "seconds of audio", "batch": "batch size"})


def drafts(bench: Bench) -> None:
    """Speculation: plain, and with 1 to 8 drafted tokens, and as many as the engine chooses."""
    for seconds in bench.options.seconds:
        for name in ("turnscribe", "turnscribe assisted"):
            bench.add(name, [name], seconds=seconds)
        for count in bench.options.drafted:
            arguments = ["turnscribe assisted", "--drafted", str(count)]
            bench.add(f"turnscribe, {seconds:g} s", arguments, seconds=seconds, drafted=count)
    bench.run(("seconds", "drafted"), "turnscribe", {"drafted": "tokens drafted at a time"})


def diarize(bench: Bench) -> None:
    """Diarization alone, as pyannote does it and as it is done here; all but "fast" have to find the same turns."""
    for seconds in bench.options.seconds:
        for name, kind in (("turnscribe", "exact"), ("turnscribe fast", "fast"), ("pyannote stock", "stock")):
            if kind == "stock" and seconds > LONGEST_FOR_STOCK:
                continue
            bench.add(name, ["none", "--diarization", kind], seconds=seconds)
    bench.run(("seconds",), "pyannote stock", {"seconds": "seconds of audio"})


def request(bench: Bench) -> None:
    """The whole request: the original's way, the stock pipeline and then stock pyannote; and the engine's."""
    for seconds in bench.options.seconds:
        bench.add("turnscribe", ["turnscribe words", "--diarization", "exact"], seconds=seconds)
        bench.add("the original's way", [ORIGINAL, "--diarization", "stock"], seconds=seconds)
    bench.run(("seconds",), "the original's way", {"seconds": "seconds of audio"})


def load(bench: Bench) -> None:
    """Cold: from a new process to its first transcript."""
    for seconds in bench.options.seconds:
        for name in bench.names([*ENGINES, *(peer.name for peer in peers())]):
            bench.add(name, [name], seconds=seconds)
    bench.run(("seconds",), ORIGINAL, {}, cold=True)


COMMANDS: dict[str, Callable[[Bench], None]] = {
    "asr": asr,
    "drafts": drafts,
    "diarize": diarize,
    "request": request,
    "load": load,
}
SECONDS = {"asr": [180], "drafts": [8, 60], "diarize": [60], "request": [60], "load": [8]}


# Measuring -------------------------------------------------------------------------------------------


class Bench:
    """Candidates, each in a process of its own: libraries that share one slow each other down."""

    def __init__(self, options: argparse.Namespace, whisper: Path, assistant: Path, results: Results) -> None:
        self.options, self.results = options, results
        self._models = ["--model", str(whisper), "--assistant", str(assistant)]
        if options.diarizer:
            self._models += ["--diarizer", str(options.diarizer)]
        self._turns: list[tuple[Series, list[str], float]] = []
        self._workers: dict[str, Worker] = {}

    def names(self, known: Sequence[str]) -> list[str]:
        """Those of `--peers` that are installed."""
        missing = {peer.name: peer.available() for peer in peers()}
        wanted = self.options.peers or known
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise SystemExit(f"no peer is called {' or '.join(unknown)}: there are {', '.join(known)}.")
        for name in wanted:
            if missing.get(name):
                tqdm.write(f"left out: {name}: {missing[name]}", file=sys.stderr)
        return [name for name in wanted if not missing.get(name)]

    def add(self, name: str, arguments: list[str], *, seconds: float, **settings: Any) -> None:
        self._turns.append((self.results.of(name, seconds=seconds, **settings), arguments, seconds))

    def run(self, settings: Sequence[str], reference: str, plots: dict[str, str], *, cold: bool = False) -> None:
        """Every candidate once, then all again: what slows the machine down for a while slows all of them."""
        rounds = range(self.options.rounds)
        left = [turn for number in rounds for turn in self._turns if len(turn[0].seconds) <= number]
        try:
            with tqdm(total=len(left), unit="run", file=sys.stderr) as bar:
                for series, arguments, seconds in left:
                    bar.set_description(series.name)
                    began = time.perf_counter()
                    facts = self._worker(arguments, cold=cold).run(seconds)
                    took = facts.pop("took")
                    series.seconds.append(time.perf_counter() - began if cold else took)
                    series.facts = facts
                    self.results.write()
                    bar.update()
        finally:
            for worker in self._workers.values():
                worker.close()
        print(self.results.table(settings, reference=reference))
        for over, label in plots.items():
            self.results.plot(over, label, self.options.out / f"{self.options.command}-{over}.png")

    def _worker(self, arguments: list[str], *, cold: bool) -> Worker:
        key = " ".join(arguments)
        if cold and key in self._workers:
            self._workers.pop(key).close()
        if key not in self._workers:
            self._workers[key] = Worker([*arguments, *self._models], warm=not cold)
        return self._workers[key]


class Worker:
    """A process with one candidate loaded, which transcribes as many seconds of speech as it is told to."""

    def __init__(self, arguments: Sequence[str], *, warm: bool) -> None:
        command = [sys.executable, "-m", "tools.benchmarks.worker", *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if warm:
            self.run(WARM_UP)

    def run(self, seconds: float) -> dict[str, Any]:
        """`took`, and what was done. Raises `SystemExit` where the process died; its error is on the screen."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("a candidate failed: see its error above.")
        return dict(json.loads(answer))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def _models(options: argparse.Namespace) -> tuple[Path, Path]:
    if options.model is not None:
        return options.model, options.assistant or options.model
    shape = SHAPES[options.shape]
    whisper = make_whisper(shape, MODELS / f"whisper-{shape.name}-{options.tokens}", new_tokens=options.tokens)
    return whisper, make_assistant(shape, whisper, MODELS / f"assistant-{shape.name}-{options.tokens}")


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=list(COMMANDS))
    parser.add_argument("--shape", choices=sorted(SHAPES), default="base", help="of the random Whisper")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a Whisper instead of a random one")
    parser.add_argument("--assistant", type=Path, metavar="FOLDER", help="the draft of --model")
    parser.add_argument("--diarizer", type=Path, metavar="FOLDER", help="a pyannote pipeline instead of a random one")
    parser.add_argument("--tokens", type=int, default=100, help="new tokens a window")
    parser.add_argument("--seconds", type=float, nargs="+", metavar="S", help="lengths of the audio")
    parser.add_argument("--batch", type=int, nargs="*", default=[], metavar="N", help="batch sizes of the engine")
    parser.add_argument("--drafted", type=int, nargs="*", default=list(range(1, 9)), metavar="K")
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each")
    parser.add_argument("--out", type=Path, default=Path("build/benchmark/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    options.seconds = options.seconds or SECONDS[options.command]
    return options
