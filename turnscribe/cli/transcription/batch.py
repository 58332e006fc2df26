"""One recording after another, from reading to writing; what goes wrong with one stops no other."""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from turnscribe.cli.transcription.outputs import outputs_of, printed, rendered
from turnscribe.cli.transcription.progress import ProgressBar
from turnscribe.cli.transcription.summary import Outcome, shown
from turnscribe.errors import BadAudio, Cancelled, TurnscribeError
from turnscribe.files import has_room, printable, write_whole
from turnscribe.inputs.limits import Limits, check_size
from turnscribe.interrupts import two_step_interrupt
from turnscribe.listener import Listener
from turnscribe.pipeline import Pipeline
from turnscribe.request import Request


@dataclass(frozen=True)
class Order:
    """What is to be made of each recording; `speeds_file` is where the machine's speeds are kept, if anywhere."""

    args: argparse.Namespace
    request: Request
    speeds_file: Path | None = None


def run_batch(
    outputs: Mapping[Path, Path], order: Order, pipeline: Callable[[], Pipeline], refused: Mapping[Path, str]
) -> list[Outcome]:
    """Recordings and their outputs without suffixes; `refused` are those known to fail, and what was said of them.

    The models are loaded for the first recording that needs them.
    """
    outcomes: list[Outcome] = []
    with two_step_interrupt() as stop, ProgressBar(list(outputs), quiet=order.args.quiet) as bar:
        for source, stem in outputs.items():
            bar.begin(source)
            if stop.is_set():
                outcome = Outcome(source, "stopped")
            elif source in refused:
                outcome = Outcome(source, "failed", refused[source])
            else:
                if not order.args.output_dir and len(outputs) > 1:
                    bar.write(f"== {shown(source)}", to_stdout=True)
                outcome = transcribe_file(source, stem, order, pipeline, bar, stop, recordings=outputs)
            bar.end(transcribed=outcome.status == "done")
            outcomes.append(outcome)
            if source not in refused:
                tell(outcome, bar)
    return outcomes


def tell(outcome: Outcome, bar: ProgressBar) -> None:
    """What somebody should know who sees no more of it than the summary."""
    for warning in outcome.transcript.warnings if outcome.transcript else ():
        bar.write(f"warning: {shown(outcome.source)}: {warning}")
    if outcome.status == "failed":
        bar.write(f"error: {shown(outcome.source)}: {printable(outcome.detail)}")


def transcribe_file(
    source: Path,
    stem: Path,
    order: Order,
    pipeline: Callable[[], Pipeline],
    bar: ProgressBar,
    stop: Event,
    *,
    recordings: Collection[Path],
) -> Outcome:
    """One file, unless its outputs are there; sets `stop` where it was stopped. None of its outputs may be one of the
    `recordings`."""
    written = outputs_of(stem, order.args)
    left = {name: file for name, file in written.items() if order.args.overwrite or not file.exists()}
    own = [file for file in written.values() if file.absolute() in recordings]
    if own:
        return Outcome(source, "failed", f"its output {own[0]} is one of the recordings.")
    if written and not left:
        return Outcome(source, "exists")
    outcome = _transcribe(source, left, order, pipeline(), bar, bar.listener(stop.is_set))
    if outcome.status == "stopped":
        stop.set()
    return outcome


def _transcribe(
    source: Path,
    written: Mapping[str, Path],
    order: Order,
    pipeline: Pipeline,
    bar: ProgressBar,
    listener: Listener,
) -> Outcome:
    """From reading to writing, or to printing where there is nothing to write; whatever goes wrong is this file's
    outcome and no other's."""
    started = time.perf_counter()
    appeared = 0
    args, request = order.args, order.request
    try:
        for folder in {file.parent for file in written.values()}:
            if not has_room(folder):
                return Outcome(source, "failed", f"the disk of {folder} is full: make room and start again.")
        transcript = pipeline.transcribe(_read(source, pipeline.limits), request, listener)
        seconds = time.perf_counter() - started
        if not written:
            bar.write(str(printed(transcript, args, request, name=source.stem)), end="", to_stdout=True)
        for name, file in written.items():
            try:
                write_whole(file, rendered(transcript, name, request, name=source.stem), overwrite=args.overwrite)
            except FileExistsError:  # it appeared meanwhile
                appeared += 1
        if order.speeds_file is not None:
            with contextlib.suppress(OSError):  # the next run estimates by less
                pipeline.speeds.write(order.speeds_file)
        if written and appeared == len(written):
            return Outcome(source, "exists", transcript=transcript, seconds=seconds)
    except (KeyboardInterrupt, Cancelled):
        return Outcome(source, "stopped")
    except TurnscribeError as error:
        return Outcome(source, "failed", str(error))
    except OSError as error:
        return Outcome(source, "failed", f"{error.strerror or error} ({error.filename}).")
    except Exception as error:  # a batch of a hundred goes on: the second place that catches everything
        return Outcome(source, "failed", f"{type(error).__name__}: {error}")
    return Outcome(source, "done", transcript=transcript, seconds=seconds)


def check_file(source: Path, limits: Limits) -> None:
    """Whether it is a file that can be read, and not too large. Raises `BadAudio` and `OSError`."""
    found = source.stat()
    if stat.S_ISDIR(found.st_mode):
        os.listdir(source)
        raise BadAudio("there is no audio or video in this folder.")
    if not stat.S_ISREG(found.st_mode):
        raise BadAudio("it is no file but a pipe or a device: save the recording first.")
    check_size(found.st_size, limits)
    with source.open("rb"):
        pass


def _read(source: Path, limits: Limits) -> bytes:
    """A file's bytes. Raises `BadAudio` and `OSError`."""
    check_file(source, limits)
    return source.read_bytes()
