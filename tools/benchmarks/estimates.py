"""How right a request's estimates of the time that is left are: with the environment's models, first and second time.

    ASR_MODEL=whisper-base DIARIZATION_MODEL=open python -m tools.benchmarks.estimates --minutes 3 30
    ASR_MODEL=whisper-base python -m tools.benchmarks.estimates --recording talk.wav --trace

The recording, by default the demo conversation, is repeated to each length, at another level each time. The first
time nothing is known of the machine; then what was learnt of that one recording. An estimate is held against the time
that was left in truth: in per cent of that from a tenth of the way to nine tenths, and in per cent of the whole time
from a tenth of the way to the end.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks.audio import speech
from turnscribe.deployment import package_deployment
from turnscribe.errors import TurnscribeError
from turnscribe.listener import Estimate, Listener
from turnscribe.pipeline import Pipeline
from turnscribe.request import Request
from turnscribe.speeds import Speeds
from turnscribe.waveform import to_wav

FROM, TO = 0.1, 0.9  # of the whole time


@dataclass(frozen=True)
class Told:
    """An estimate, and after how many seconds it was told."""

    after: float
    remaining: float


@dataclass(frozen=True)
class Errors:
    """Of the estimates of a request, as shares: worst and median."""

    of_what_is_left: tuple[float, float]
    of_the_whole: tuple[float, float]


def estimates(pipeline: Pipeline, audio: bytes, request: Request) -> tuple[list[Told], float]:
    """All that a request told, and how many seconds it took."""
    told: list[Told] = []
    began = time.perf_counter()

    def note(estimate: Estimate) -> None:
        told.append(Told(time.perf_counter() - began, estimate.remaining))

    pipeline.transcribe(audio, request, Listener(on_estimate=note))
    return told, time.perf_counter() - began


def errors_of(told: Sequence[Told], total: float) -> Errors:
    """Raises `ValueError` where nothing was told between a tenth and nine tenths."""
    late = [one for one in told if one.after >= FROM * total]
    between = [one for one in late if one.after <= TO * total]
    if not between:
        raise ValueError("Nothing was told.")
    of_left = [abs(one.remaining / (total - one.after) - 1) for one in between]
    of_whole = [abs(one.after + one.remaining - total) / total for one in late]
    return Errors((max(of_left), statistics.median(of_left)), (max(of_whole), statistics.median(of_whole)))


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    deployment = package_deployment()
    try:
        pipeline = deployment.pipeline()
        request = deployment.parse({})
    except TurnscribeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    source = None if args.recording is None else args.recording.read_bytes()
    print("| minutes | time | s | of what is left: worst | median | of the whole: worst | median |")
    print("|" + "---|" * 7)
    for minutes in args.minutes:
        audio = to_wav(speech(minutes * 60, source))
        pipeline.speeds = Speeds()
        for which in ("first", "second"):
            told, total = estimates(pipeline, audio, request)
            errors = errors_of(told, total)
            cells = [f"{100 * share:.0f} %" for share in (*errors.of_what_is_left, *errors.of_the_whole)]
            print(f"| {minutes:g} | {which} | {total:.1f} | {' | '.join(cells)} |", flush=True)
            if args.trace:
                for one in told:
                    left = total - one.after
                    print(
                        f"{one.after / total:7.1%}  left {left:7.1f} s, told {one.remaining:7.1f} s", file=sys.stderr
                    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[3, 30])
    parser.add_argument("--recording", type=Path, help="default: the demo conversation")
    parser.add_argument("--trace", action="store_true", help="each estimate, on stderr")
    return parser


if __name__ == "__main__":
    sys.exit(main())
