"""Time the engine beside its peers, on random weights of a named shape or on given models.

    python -m scripts.benchmark asr --shape base --seconds 180
    python -m scripts.benchmark drafts --seconds 8 60
    python -m scripts.benchmark diarize --seconds 30 60
    python -m scripts.benchmark request --seconds 60
    python -m scripts.benchmark load

Candidates take turns, `--rounds` times; medians, ratios and plots are of all rounds. Each writes
`<out>/<command>.json` after every run and goes on from there when it is started again. Peers: see
`requirements-benchmark.txt`; one that is not installed is left out and named. Ctrl-C stops, nothing is lost.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scripts.benchmarks.audio import speech
from scripts.benchmarks.ours import Engine, of_names
from scripts.benchmarks.peers import BATCH_SIZE, TransformersPipeline, peers
from scripts.benchmarks.results import Results, Series
from scripts.benchmarks.shapes import SHAPES, make_assistant, make_diarizer, make_whisper

MODELS = Path("build/benchmark")
ORIGINAL = "transformers greedy"
WARM_UP = 4.0  # seconds of audio
LONGEST_FOR_PEERS = 600  # seconds of audio; beyond it only the engine runs
Run = Callable[[], dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    whisper, assistant = _models(options)
    about = {"command": options.command, "model": options.shape if options.model is None else options.model.name}
    about["new_tokens"] = options.tokens
    results = Results(options.out / f"{options.command}.json", about)
    try:
        COMMANDS[options.command](options, whisper, assistant, results)
    except KeyboardInterrupt:
        tqdm.write(f"stopped; {results.file} holds what was measured, start again to go on.", file=sys.stderr)
        return 130
    return 0


# Commands --------------------------------------------------------------------------------------------


def asr(options: argparse.Namespace, whisper: Path, assistant: Path, results: Results) -> None:
    """Transcription alone: peers over audio lengths, the engine over batch sizes too."""
    candidates = [*_engines(options), *peers()]
    loaded = _loaded(of_names(candidates, options.peers), whisper, assistant)
    turns: list[tuple[Series, Run]] = []
    for seconds in options.seconds:
        for peer in loaded:
            if seconds <= LONGEST_FOR_PEERS or peer.name == "turnscribe":
                turns.append((results.of(peer.name, seconds=seconds, batch=BATCH_SIZE), _transcribing(peer, seconds)))
    for batch_size in options.batch:
        engine = Engine(batch_size=batch_size)
        engine.load(whisper)
        turns.append((results.of("turnscribe", seconds=180, batch=batch_size), _transcribing(engine, 180)))
    _take_turns(turns, options.rounds, results)
    _report(results, options, ("seconds", "batch"), ORIGINAL, {"seconds": "seconds of audio", "batch": "batch size"})


def drafts(options: argparse.Namespace, whisper: Path, assistant: Path, results: Results) -> None:
    """Speculation: plain, and with 1 to 8 drafted tokens, and as many as the engine chooses."""
    engines = [
        Engine("turnscribe"),
        Engine("turnscribe assisted", assisted=True),
        *(Engine(f"{count} drafted", assisted=True, draft_length=count) for count in options.drafted),
    ]
    turns: list[tuple[Series, Run]] = []
    for engine in _loaded(engines, whisper, assistant):
        count = int(engine.name.split()[0]) if engine.name[0].isdigit() else ""
        for seconds in options.seconds:
            series = results.of(engine.name, seconds=seconds, drafted=count)
            turns.append((series, _transcribing(engine, seconds)))
    _take_turns(turns, options.rounds, results)
    _report(results, options, ("seconds", "drafted"), "turnscribe", {"drafted": "tokens drafted at a time"})


def diarize(options: argparse.Namespace, whisper: Path, assistant: Path, results: Results) -> None:
    """Diarization alone, as pyannote does it and as it is done here; both have to answer the same."""
    turns: list[tuple[Series, Run]] = []
    for name, fast in (("turnscribe", True), ("pyannote stock", False)):
        diarizer = _diarizer(options, fast=fast)
        turns += [(results.of(name, seconds=s), _diarizing(diarizer, s)) for s in options.seconds]
    _take_turns(turns, options.rounds, results)
    _report(results, options, ("seconds",), "pyannote stock", {"seconds": "seconds of audio"})


def request(options: argparse.Namespace, whisper: Path, assistant: Path, results: Results) -> None:
    """The whole request: the original's way, the stock pipeline and then stock pyannote; and the engine's."""
    original, engine = _loaded(
        [TransformersPipeline(ORIGINAL, beams=1), Engine("turnscribe", words=True)], whisper, assistant
    )
    turns: list[tuple[Series, Run]] = []
    for name, peer, fast in (("turnscribe", engine, True), ("original", original, False)):
        diarizer = _diarizer(options, fast=fast)
        for seconds in options.seconds:
            series = results.of(name, seconds=seconds)
            turns.append((series, _both(_transcribing(peer, seconds), _diarizing(diarizer, seconds))))
    _take_turns(turns, options.rounds, results)
    _report(results, options, ("seconds",), "original", {"seconds": "seconds of audio"})


def load(options: argparse.Namespace, whisper: Path, assistant: Path, results: Results) -> None:
    """From a new process to the first transcript, and the most memory it took: each in a process of its own."""
    names = [peer.name for peer in of_names([*_engines(options), *peers()], options.peers) if not peer.available()]
    turns: list[tuple[Series, Run]] = []
    for name in names:
        for seconds in options.seconds:
            turns.append((results.of(name, seconds=seconds), _alone(name, seconds, whisper, assistant)))
    _take_turns(turns, options.rounds, results)
    _report(results, options, ("seconds",), ORIGINAL, {})


def _one(options: argparse.Namespace, whisper: Path, assistant: Path, results: Results) -> None:
    """What `load` starts: load one peer, transcribe once, and print the most memory used."""
    [peer] = _loaded(of_names([*_engines(options), *peers()], options.peers), whisper, assistant, warm=False)
    peer(speech(options.seconds[0]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)  # KB to MB


COMMANDS: dict[str, Callable[[argparse.Namespace, Path, Path, Results], None]] = {
    "asr": asr,
    "drafts": drafts,
    "diarize": diarize,
    "request": request,
    "load": load,
    "one": _one,
}
SECONDS = {"asr": [180], "drafts": [8, 60], "diarize": [60], "request": [60], "load": [30], "one": [30]}


# Measuring -------------------------------------------------------------------------------------------


def _take_turns(turns: Sequence[tuple[Series, Run]], rounds: int, results: Results) -> None:
    """Every candidate once, then all again: what slows the machine down for a while slows all of them."""
    left = [(series, run) for number in range(rounds) for series, run in turns if len(series.seconds) <= number]
    with tqdm(total=len(left), unit="run", file=sys.stderr) as bar:
        for series, run in left:
            bar.set_description(series.name)
            began = time.perf_counter()
            facts = run()
            series.seconds.append(facts.pop("took", None) or time.perf_counter() - began)
            series.facts = facts
            results.write()
            bar.update()


def _transcribing(peer: Any, seconds: float) -> Run:
    waveform = speech(seconds)

    def run() -> dict[str, Any]:
        work = peer(waveform)
        facts = {"windows": work.windows, "tokens": work.tokens}
        speculation = getattr(peer, "speculation", None)
        if speculation is not None:
            facts["accepted"] = f"{speculation.accepted / max(speculation.proposed, 1):.2f}"
        return facts

    return run


def _diarizing(diarizer: Any, seconds: float) -> Run:
    from diarization_utils import diarize as turns_of

    waveform = speech(seconds)
    return lambda: {"turns": len(turns_of(diarizer, waveform))}


def _both(first: Run, second: Run) -> Run:
    return lambda: {**first(), **second()}


def _alone(name: str, seconds: float, whisper: Path, assistant: Path) -> Run:
    command = [sys.executable, "-m", "scripts.benchmark", "one", "--peers", name, "--seconds", str(seconds)]
    command += ["--model", str(whisper), "--assistant", str(assistant)]

    def run() -> dict[str, Any]:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return {"MB": int(done.stdout.split()[-1])}

    return run


def _loaded(candidates: Sequence[Any], whisper: Path, assistant: Path, *, warm: bool = True) -> list[Any]:
    """Those that can be, ready to run; the others are named."""
    ready = []
    for peer in candidates:
        missing = peer.available()
        if missing:
            tqdm.write(f"left out: {peer.name}: {missing}", file=sys.stderr)
            continue
        peer.load(whisper, assistant=assistant)
        if warm:
            peer(speech(WARM_UP))
        ready.append(peer)
    return ready


def _engines(options: argparse.Namespace) -> list[Engine]:
    return [
        Engine("turnscribe"),
        Engine("turnscribe words", words=True),
        Engine("turnscribe assisted", assisted=True),
        Engine("turnscribe bfloat16", dtype="bfloat16"),
    ]


def _diarizer(options: argparse.Namespace, *, fast: bool) -> Any:
    from diarization_utils import load_diarizer

    folder = options.diarizer or make_diarizer(MODELS / "diarizer")
    return load_diarizer(str(Path(folder).resolve()), fast=fast)


def _models(options: argparse.Namespace) -> tuple[Path, Path]:
    if options.model is not None:
        return options.model, options.assistant or options.model
    shape = SHAPES[options.shape]
    whisper = make_whisper(shape, MODELS / f"whisper-{shape.name}-{options.tokens}", new_tokens=options.tokens)
    return whisper, make_assistant(shape, whisper, MODELS / f"assistant-{shape.name}-{options.tokens}")


def _report(
    results: Results, options: argparse.Namespace, settings: Sequence[str], reference: str, plots: dict[str, str]
) -> None:
    print(results.table(settings, reference=reference))
    for over, label in plots.items():
        results.plot(over, label, options.out / f"{options.command}-{over}.png")


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=[name for name in COMMANDS if name != "one"] + ["one"])
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


if __name__ == "__main__":
    sys.exit(main())
