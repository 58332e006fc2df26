"""One command, one report: `python -m scripts.benchmark_cuda`. What is worth most comes first.

    python -m scripts.benchmark_cuda --shape large-v3
    python -m scripts.benchmark_cuda --device cpu --shape tiny

A row that would not fit into what is left of `--minutes` is left out, and named. How long each takes on an H200 was
reckoned; what the rows before it took corrects that. Exit status: 0 all that was checked is right, 1 something is
not, 2 there is no GPU.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch

from tools.benchmarks.cuda import cold_start, equality, tests
from tools.benchmarks.cuda.bare import stand_in_for_missing
from tools.benchmarks.cuda.report import Report, Row
from tools.benchmarks.cuda.speed import ACCEPTANCES, Speed
from tools.benchmarks.shapes import SHAPES
from tools.fake_gpu import FakeGpu
from turnscribe.devices import Device, device_of

Result: TypeAlias = "Row | Sequence[Row] | None"  # `None`: there was nothing to do


@dataclass(frozen=True)
class Step:
    """Something that makes rows; `seconds` is what it takes on an H200, reckoned for 100 tokens."""

    name: str
    seconds: float
    run: Callable[[], Result]


class Budget:
    """What is left of the time, and whether a step fits into it."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._end = clock, clock() + seconds
        self._reckoned = self._taken = 0.0

    @property
    def left(self) -> float:
        return self._end - self._clock()

    @property
    def pace(self) -> float:
        """How many times as long the steps so far took as was reckoned; 1 before there were any."""
        return (self._taken + 5) / (self._reckoned + 5)  # a few seconds weigh nothing

    def fits(self, step: Step) -> bool:
        return step.seconds * self.pace <= self.left

    def took(self, step: Step, seconds: float) -> None:
        self._reckoned += step.seconds
        self._taken += seconds


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("error: torch can use no GPU here: --device cpu tries the command without one.", file=sys.stderr)
        return 2
    device: Device = device_of(options.device) if options.device.startswith("cuda") else FakeGpu()
    report = Report(_about(options, device), options.out)
    budget = Budget(options.minutes * 60)
    report.write()
    for step in steps(options, device, budget):
        if not budget.fits(step):
            why = f"it would take about {step.seconds * budget.pace:.0f} s, and {max(budget.left, 0):.0f} s are left"
            report.leave_out(step.name, why)
            continue
        began = time.monotonic()
        for row in _rows(step):
            report.add(row)
            print(_line(row), file=sys.stderr, flush=True)
        budget.took(step, time.monotonic() - began)
        device.empty_cache()
    report.finish()
    print(report.markdown())
    return 1 if report.failed else 0


def steps(options: argparse.Namespace, device: Device, budget: Budget) -> Iterator[Step]:
    """What there is to do, what is worth most first."""
    small = SHAPES["test" if options.device == "cpu" else "tiny"]
    yield Step("equality", 30, lambda: equality.Equality(device, small, min(options.tokens, 40)).rows())
    made: list[Speed] = []

    def make() -> None:
        made.append(
            Speed(
                device,
                SHAPES[options.shape],
                getattr(torch, options.dtype),
                tokens=options.tokens,
                rounds=options.rounds,
            )
        )

    yield Step("the models", 20, make)
    if not made:
        return
    speed = made[0]
    yield Step(
        "the proof at load",
        10,
        lambda: equality.proved(equality.engine_of(speed.model, speed.draft_model, device)),
    )
    share = options.tokens / 100
    most = max(options.batches)
    ordered = sorted(options.batches, key=lambda size: (size not in (1, most), size))
    for number, size in enumerate(ordered):
        yield Step(f"turnscribe, batch {size}", 8 * share, partial(speed.decode, size, graphs=True))
        yield Step(f"physical picture, batch {size}", 0, partial(speed.picture, size))
        if number >= 2 and size != 8:
            continue
        for acceptance in ACCEPTANCES:
            drafted = partial(speed.decode_drafted, size, acceptance)
            yield Step(f"draft right at {acceptance}, batch {size}", 10 * share, drafted)
        yield Step(f"without graphs, batch {size}", 7 * share, partial(speed.decode, size, graphs=False))
        yield Step(f"encoder, batch {size}", 3, partial(speed.encode, size))
        yield Step(f"generate, batch {size}", 12 * share, partial(speed.generate, size))
    audio = options.audio
    yield Step(f"diarization of {audio:g} s", 40 * audio / 3600, lambda: _diarized(device, audio))
    yield Step(
        "a cold start",
        70,
        lambda: cold_start.measured(
            speed.model, SHAPES[options.shape], options.tokens, options.device, seconds=max(budget.left / 2, 10)
        ),
    )
    marker = "cuda" if options.device.startswith("cuda") else options.marker
    yield Step("the tests", 90, lambda: tests.tested(marker, seconds=max(budget.left, 10)) if marker else None)


def _diarized(device: Device, seconds: float) -> Row:
    missing = stand_in_for_missing()
    from tools.benchmarks.cuda.diarization import diarized

    row = diarized(device, seconds)
    row.note += "".join(f", a stand-in for {name}" for name in missing)
    return row


def _rows(step: Step) -> Sequence[Row]:
    """Of a step; one that fails is a row, and the others go on."""
    try:
        with torch.inference_mode():
            result = step.run()
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        return [Row("Failed", step.name, passed=False, note=f"{type(error).__name__}: {first}"[:300])]
    return [] if result is None else [result] if isinstance(result, Row) else result


def _line(row: Row) -> str:
    said = "" if row.seconds is None else f" {row.seconds:.4f} s"
    said += "" if row.passed is None else " passed" if row.passed else " FAILED"
    return f"{row.section}: {row.name}{'' if row.batch is None else f', batch {row.batch}'}:{said} {row.note}"


def _about(options: argparse.Namespace, device: Device) -> dict[str, Any]:
    import transformers

    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    measured = {"shape": options.shape, "dtype": options.dtype, "tokens": options.tokens, "rounds": options.rounds}
    return {"device": device.name, **measured, **versions}


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmark_cuda", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="large-v3")
    parser.add_argument("--device", default="cuda", help='"cuda", or "cpu" to try the command without a GPU')
    parser.add_argument("--minutes", type=float, default=8.0, help="in all; what does not fit is left out")
    parser.add_argument("--dtype", choices=["float16", "bfloat16", "float32"], help="float16, on a CPU float32")
    parser.add_argument("--tokens", type=int, help="new tokens a window: 100, on a CPU 12")
    parser.add_argument("--batches", type=int, nargs="+", help="windows at once: 1 to 24, on a CPU 1 and 2")
    parser.add_argument("--rounds", type=int, help="of which the median counts: 3, on a CPU 1")
    parser.add_argument("--audio", type=float, help="seconds of audio to diarize: an hour, on a CPU 20")
    parser.add_argument("--marker", help="on a CPU: run the tests with this marker, too")
    parser.add_argument(
        "--out", type=Path, default=Path("build/benchmark/cuda"), metavar="FOLDER", help="for cuda.json and cuda.md"
    )
    options = parser.parse_args(argv)
    defaults = {"dtype": "float16", "tokens": 100, "batches": [1, 2, 4, 8, 16, 24], "rounds": 3, "audio": 3600.0}
    if options.device == "cpu":
        defaults = {"dtype": "float32", "tokens": 12, "batches": [1, 2], "rounds": 1, "audio": 20.0}
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options
