"""One candidate of the benchmark in its own process: `python -m tools.benchmarks.worker NAME --model FOLDER`.

Loads, then for each line on standard input, a number of seconds, transcribes (and diarizes) that much speech, and
answers a line of JSON: `took` in seconds, windows and tokens, and the most memory used so far.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.benchmarks.audio import speech
from tools.benchmarks.ours import ENGINES, Engine
from tools.benchmarks.peers import BATCH_SIZE, peers


def main() -> None:
    options = _options()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get among the answers
    stages = [stage for stage in (_transcriber(options), _diarizer(options)) if stage]
    for line in sys.stdin:
        waveform = speech(float(line))
        facts: dict[str, Any] = {}
        began = time.perf_counter()
        for stage in stages:
            facts |= stage(waveform)
        facts["took"] = time.perf_counter() - began
        facts["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(facts), file=answers, flush=True)


def _transcriber(options: argparse.Namespace) -> Callable[[Any], dict[str, Any]] | None:
    if options.peer == "none":
        return None
    peer = _named(options)
    peer.load(options.model, assistant=options.assistant)

    def transcribe(waveform: Any) -> dict[str, Any]:
        work = peer(waveform)
        facts: dict[str, Any] = {"windows": work.windows, "tokens": work.tokens}
        speculation = getattr(peer, "speculation", None)
        if speculation is not None:
            facts["accepted"] = f"{speculation.accepted / max(speculation.proposed, 1):.2f}"
        return facts

    return transcribe


def _named(options: argparse.Namespace) -> Any:
    if options.peer not in ENGINES:
        return next(peer for peer in peers() if peer.name == options.peer)
    settings = ENGINES[options.peer]
    return Engine(options.peer, batch_size=options.batch, draft_length=options.drafted, **settings)


def _diarizer(options: argparse.Namespace) -> Callable[[Any], dict[str, Any]] | None:
    if options.diarization is None:
        return None
    from turnscribe.diarization.diarizer import diarize, load_diarizer

    diarizer = load_diarizer(str(options.diarizer.resolve()), effort=options.diarization)

    def run(waveform: Any) -> dict[str, Any]:
        return {"turns": len(diarize(diarizer, waveform))}

    return run


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("peer")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--assistant", type=Path)
    parser.add_argument("--diarizer", type=Path)
    parser.add_argument("--diarization", choices=["fast", "exact", "stock"])
    parser.add_argument("--batch", type=int, default=BATCH_SIZE)
    parser.add_argument("--drafted", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
