"""One recording after another, from reading to writing; what goes wrong with one stops no other."""

from __future__ import annotations

import argparse
import os
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from turnscribe.cli.transcription.outputs import outputs_of, printed, rendered
from turnscribe.cli.transcription.summary import Outcome, shown
from turnscribe.errors import BadAudio, Cancelled, TurnscribeError
from turnscribe.files import has_room, printable, write_whole
from turnscribe.inputs.limits import Limits, check_size
from turnscribe.interrupts import two_step_interrupt
from turnscribe.listener import Listener
from turnscribe.pipeline import Pipeline
from turnscribe.request import Request


def run_batch(
    outputs: dict[Path, Path], args: argparse.Namespace, request: Request, pipeline: Pipeline
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    columns = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
    hidden = True if args.quiet else None  # None: hidden where stderr is no terminal
    with (
        tqdm(total=len(outputs), bar_format=columns, disable=hidden, leave=False) as bar,
        two_step_interrupt() as stop,
    ):
        for index, (source, stem) in enumerate(outputs.items()):
            bar.set_description_str(f"{printable(source.name)} ({index + 1}/{len(outputs)})")

            def progress(share: float, index: int = index) -> None:
                bar.update(index + min(1.0, max(0.0, share)) - bar.n)

            written = outputs_of(stem, args)
            left = {name: file for name, file in written.items() if args.overwrite or not file.exists()}
            own = [file for file in written.values() if file.absolute() in outputs]
            if stop.is_set():
                outcome = Outcome(source, "stopped")
            elif own:
                outcome = Outcome(source, "failed", f"its output {own[0]} is one of the recordings.")
            elif written and not left:
                outcome = Outcome(source, "exists")
            else:
                if not written and len(outputs) > 1:
                    tqdm.write(f"== {shown(source)}", file=sys.stdout)
                listener = Listener(on_progress=progress, should_stop=stop.is_set)
                outcome = _transcribe(source, left, args, request, pipeline, listener)
                if outcome.status == "stopped":
                    stop.set()
            progress(1.0)
            outcomes.append(outcome)
            for warning in outcome.transcript.warnings if outcome.transcript else ():
                tqdm.write(f"warning: {shown(source)}: {warning}", file=sys.stderr)
            if outcome.status == "failed":
                tqdm.write(f"error: {shown(source)}: {printable(outcome.detail)}", file=sys.stderr)
    return outcomes


def _transcribe(
    source: Path,
    written: Mapping[str, Path],
    args: argparse.Namespace,
    request: Request,
    pipeline: Pipeline,
    listener: Listener,
) -> Outcome:
    """One file from reading to writing, or to printing where there is nothing to write; whatever goes wrong is this
    file's outcome and no other's."""
    started = time.perf_counter()
    appeared = 0
    try:
        for folder in {file.parent for file in written.values()}:
            if not has_room(folder):
                return Outcome(source, "failed", f"the disk of {folder} is full: make room and start again.")
        transcript = pipeline.transcribe(_read(source, pipeline.limits), request, listener)
        seconds = time.perf_counter() - started
        if not written:
            tqdm.write(printed(transcript, args, request, name=source.stem), end="", file=sys.stdout)
        for name, file in written.items():
            try:
                write_whole(file, rendered(transcript, name, request, name=source.stem), overwrite=args.overwrite)
            except FileExistsError:  # it appeared meanwhile
                appeared += 1
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


def _read(source: Path, limits: Limits) -> bytes:
    """A file's bytes, once it is known to be one and not too large. Raises `BadAudio` and `OSError`."""
    found = source.stat()
    if stat.S_ISDIR(found.st_mode):
        os.listdir(source)
        raise BadAudio("there is no audio or video in this folder.")
    if not stat.S_ISREG(found.st_mode):
        raise BadAudio("it is no file but a pipe or a device: save the recording first.")
    check_size(found.st_size, limits)
    return source.read_bytes()
