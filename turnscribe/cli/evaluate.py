"""Measure transcripts against references with the field's own tools, and print a table.

    python -m scripts.evaluate recordings/ --per-file --json figures.json
    python -m scripts.evaluate --synthesize 1000 --sentences 100 --require wer=0.05 der=0.10

Recordings are files or folders with references beside them (`references.py` has the forms), or synthesized
dialogues and sentences (Debian: `flite`, `espeak-ng`) in the demo models' vocabulary, half of them random words.
Needs `jiwer`, `meeteval` and `pyannote.metrics`; the models come from the options, else from the environment.

    WER, cpWER    errors per reference word, in lower case without punctuation; cpWER by speaker
    tcpWER        as cpWER, and a word counts only where it is said, give or take 5 s
    boundaries    seconds from a correctly recognised word's start or end to the reference's
    DER           pyannote.metrics, no collar, overlap counted, over the whole recording
    speaker       share of correctly recognised words with the right speaker, under the best mapping of names
    draft         share of tokens the assistant predicts as the main model does, after the same tokens
                  (with ASR_BACKEND=transformers, which decodes the recording once more for it)

Errors are summed over recordings, then divided. What a reference or a model lacks is not measured: "-".
Exit status: 0, 1 a recording failed or `--require` was missed, 2 wrong usage or settings, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

from turnscribe.cli.evaluation import references
from turnscribe.cli.evaluation.draft_agreement import can_measure_drafts, draft_agreement
from turnscribe.cli.evaluation.measures import Figures, Ratio, compare, total, values
from turnscribe.cli.evaluation.references import BadReference, Case, recorded, synthesized
from turnscribe.cli.transcription.arguments import MODELS, build_parameters, load_models
from turnscribe.deployment import Deployment, package_deployment
from turnscribe.devices import device_of
from turnscribe.errors import Cancelled, TurnscribeError
from turnscribe.files import write_whole
from turnscribe.formats.times import timestamp
from turnscribe.interrupts import two_step_interrupt
from turnscribe.listener import Listener
from turnscribe.pipeline import Pipeline
from turnscribe.request import Request

BAR = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
AT_MOST = ("wer", "cpwer", "tcpwer", "boundary", "boundary90", "der")
AT_LEAST = ("speaker", "speakers", "draft", "live", "speed")
VERSIONS = "torch transformers pyannote.audio pyannote.metrics jiwer meeteval numpy".split()


class Results:
    """What was measured so far; written to `file` each time something comes in."""

    def __init__(self, about: dict[str, Any], file: str | None) -> None:
        self.about, self.file = about, Path(file) if file else None
        self.rows: list[tuple[Case, Figures]] = []
        self.failed: list[dict[str, str]] = []
        self.warnings: dict[str, None] = {}

    def groups(self) -> dict[str, Figures]:
        """By group, and over all of them where there are several."""
        names = dict.fromkeys(case.group for case, _ in self.rows)
        sums = {name: total(figures for case, figures in self.rows if case.group == name) for name in names}
        return sums | ({"all": self.all()} if len(sums) != 1 else {})

    def all(self) -> Figures:
        return total(figures for _, figures in self.rows)

    def write(self, **more: Any) -> None:
        if self.file is None:
            return
        report = {
            **self.about,
            "figures": {name: values(figures) for name, figures in self.groups().items()},
            "recordings": [{"name": case.name, "group": case.group, **values(f)} for case, f in self.rows],
            "failed": self.failed,
            "warnings": list(self.warnings),
            **more,
        }
        write_whole(self.file, json.dumps(report, ensure_ascii=False, indent=1) + "\n")


def main(argv: Sequence[str] | None = None, *, deployment: Deployment | None = None, prog: str = "evaluate") -> int:
    """Runs the command line, returns its exit status; by default with the package's own settings and rules."""
    deployment = deployment or package_deployment()
    parser = build_parser(prog)
    args = parser.parse_args(argv)
    if args.synthesize is None and (not args.recordings or args.sentences or args.save):
        parser.error("name recordings, or give --synthesize SEED (--sentences and --save belong to it).")
    required = dict(args.require or ())
    try:
        import jiwer  # noqa: F401
        import meeteval  # noqa: F401
        import pyannote.metrics.diarization  # noqa: F401
    except ImportError as error:
        print(f"error: {error.name} is missing: pip install jiwer meeteval pyannote.metrics", file=sys.stderr)
        return 2
    try:
        cases, bare = recorded(args.recordings)
        if args.synthesize is not None:
            cases += synthesized(
                args.synthesize,
                dialogues=args.dialogues,
                seconds=args.seconds,
                sentences=args.sentences,
                noise_db=args.noise_db,
                save=Path(args.save) if args.save else None,
            )
        if not cases:
            parser.error("there is nothing to measure: a recording needs a .json, .stm, .txt or .rttm beside it.")
        for path in bare:
            print(f"note: {path} has no reference beside it and is left out.", file=sys.stderr)
        parameters = build_parameters(args)
        request = deployment.parse(parameters)
        pipeline = load_models(args, deployment)
        results = Results(about(pipeline, parameters, sys.argv[1:] if argv is None else argv), args.json)
        results.write(complete=False)
        stopped = _run(cases, results, pipeline, request, per_file=args.per_file)
        missed = unmet(required, results.all())
        results.write(complete=not stopped, missed=missed)
    except (TurnscribeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # while loading the models
        return 130
    print(table(results.groups()))
    for sentence in missed:
        print(f"missed: {sentence}", file=sys.stderr)
    return 130 if stopped else 1 if results.failed or missed else 0


def _run(cases: Sequence[Case], results: Results, pipeline: Pipeline, request: Request, *, per_file: bool) -> bool:
    """Measures each recording; true when it was stopped before the last one was done."""
    width = max(len(case.name) for case in cases)
    with tqdm(total=len(cases), bar_format=BAR, disable=None, leave=False) as bar, two_step_interrupt() as stop:
        if per_file:
            tqdm.write(listed("recording", None, width), file=sys.stdout)
        for index, case in enumerate(cases):
            if stop.is_set():
                break
            bar.set_description_str(f"{case.name} ({index + 1}/{len(cases)})")

            def progress(share: float, index: int = index) -> None:
                bar.update(index + min(1.0, max(0.0, share)) - bar.n)

            try:
                figures, warnings = _measured(
                    case, pipeline, request, Listener(on_progress=progress, should_stop=stop.is_set)
                )
            except (KeyboardInterrupt, Cancelled):
                stop.set()
                return True
            except Exception as error:  # the other recordings go on, as in transcribe.py
                sentence = _sentence_about(error)
                results.failed.append({"name": case.name, "group": case.group, "error": sentence})
                tqdm.write(f"error: {case.name}: {sentence}", file=sys.stderr)
            else:
                results.rows.append((case, figures))
                for warning in warnings:
                    if warning not in results.warnings:
                        tqdm.write(f"warning: {case.name}: {warning}", file=sys.stderr)
                        results.warnings[warning] = None
                if per_file:
                    tqdm.write(listed(case.name, figures, width), file=sys.stdout)
            results.write(complete=False)
            progress(1.0)
        return len(results.rows) + len(results.failed) < len(cases)


def _sentence_about(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})."
    known = isinstance(error, TurnscribeError | BadReference | OSError)
    return str(error) if known else f"{type(error).__name__}: {error}"


def _measured(case: Case, pipeline: Pipeline, request: Request, listener: Listener) -> tuple[Figures, Sequence[str]]:
    audio, reference = case.load()
    asr = pipeline.asr
    first, second = _halves(listener) if can_measure_drafts(asr) else (listener, listener)
    began = time.perf_counter()
    transcript = pipeline.transcribe(audio, request, first)
    took = time.perf_counter() - began
    figures = replace(compare(reference, transcript), took=took)
    if transcript.speculation:
        live = transcript.speculation
        figures = replace(figures, live=Ratio(live.accepted, live.proposed))
    if can_measure_drafts(asr):
        figures = replace(figures, draft=draft_agreement(asr, audio, request, second))
    return figures, transcript.warnings


def _halves(listener: Listener) -> tuple[Listener, Listener]:
    """For two passes over a recording, each of which takes half the time."""
    first = replace(listener, on_progress=lambda done: listener.on_progress(done / 2))
    return first, replace(listener, on_progress=lambda done: listener.on_progress(0.5 + done / 2))


def about(pipeline: Pipeline, parameters: Mapping[str, Any], argv: Sequence[str]) -> dict[str, Any]:
    """What the figures were measured with: command, models, versions, machine."""
    torch = sys.modules.get("torch")
    device = device_of(pipeline.device)
    named = device.name
    if device.kind == "cuda":
        named = f"cuda ({device.name})"
    versions = {"python": platform.python_version()}
    for package in VERSIONS:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "code": _revision(),
        "command": shlex.join(["python", "-m", "scripts.evaluate", *argv]),
        "models": {name: getattr(pipeline.settings, name.lower()) for name in MODELS},
        "request": dict(parameters),
        "versions": versions,
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads() if torch else None,
            "device": named,
        },
    }


def _revision() -> str | None:
    """The commit, with `-dirty` where files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def unmet(required: Mapping[str, float], figures: Figures) -> list[str]:
    """One sentence for each required figure that is worse than its bound, or was not measured."""
    measured, sentences = values(figures), []
    for name, bound in required.items():
        value = measured[name]
        if value is None:
            sentences.append(f"{name} was not measured and {bound:g} is required.")
        elif value > bound if name in AT_MOST else value < bound:
            wanted = "at most" if name in AT_MOST else "at least"
            sentences.append(f"{name} is {value:.4g}: {wanted} {bound:g} is required.")
    return sentences


# What is printed -----------------------------------------------------------------------------------------


def table(groups: Mapping[str, Figures]) -> str:
    """A line for each measure, a column for each group."""
    lines: tuple[tuple[str, Callable[[Figures], str]], ...] = (
        ("recordings", lambda f: str(f.recordings)),
        ("audio", lambda f: timestamp(f.seconds)[:-4]),
        ("speed, times real time", _speed),
        ("WER", lambda f: _percent(f.wer)),
        ("  substituted, deleted, inserted", lambda f: _parts(f.substitutions, f.deletions, f.insertions)),
        ("cpWER", lambda f: _percent(f.cpwer)),
        ("tcpWER", lambda f: _percent(f.tcpwer)),
        ("word boundaries, median", lambda f: _boundary(f, "boundary")),
        ("  90th percentile", lambda f: _boundary(f, "boundary90")),
        ("DER", lambda f: _percent(f.der)),
        (
            "  missed, false alarm, confused",
            lambda f: " ".join(map(_percent, (f.missed, f.false_alarm, f.confusion))),
        ),
        ("words with the right speaker", lambda f: _percent(f.speaker)),
        ("right number of speakers", lambda f: _parts(f.speakers)),
        ("speakers found", lambda f: _parts(f.speakers_found)),
        ("draft accepted, word for word", lambda f: _percent(f.draft)),
        ("draft accepted, live", lambda f: _percent(f.live)),
    )
    rows = [["", *groups]] + [[label, *map(show, groups.values())] for label, show in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    )


def listed(name: str, figures: Figures | None, width: int) -> str:
    """A recording's line under `--per-file`; without figures the heading."""
    cells = ["WER", "cpWER", "boundary", "DER", "speaker", "speakers", "draft", "live", "speed"]
    if (f := figures) is not None:
        cells = [_percent(f.wer), _percent(f.cpwer), _boundary(f, "boundary"), _percent(f.der), _percent(f.speaker)]
        found = _parts(f.speakers_found).replace(" of ", "/")
        cells += [found, _percent(f.draft), _percent(f.live), _speed(f)]
    return "  ".join([name.ljust(width), *(cell.rjust(8) for cell in cells)])


def _percent(ratio: Ratio | None) -> str:
    return "-" if ratio is None or ratio.value is None else f"{100 * ratio.value:.1f} %"


def _parts(*ratios: Ratio | None) -> str:
    """`3 1 0 of 40`"""
    known = [ratio for ratio in ratios if ratio is not None]
    return f"{' '.join(f'{ratio.part:g}' for ratio in known)} of {known[0].whole:g}" if known else "-"


def _boundary(figures: Figures, name: str) -> str:
    seconds = values(figures)[name]
    return "-" if seconds is None else f"{seconds:.3f} s"


def _speed(figures: Figures) -> str:
    speed = Ratio(figures.seconds, figures.took).value
    return "-" if speed is None else f"{speed:.1f}x"


def _bound(text: str) -> tuple[str, float]:
    name, _, bound = text.partition("=")
    try:
        if name in (*AT_MOST, *AT_LEAST) and math.isfinite(number := float(bound)):
            return name, number
    except ValueError:
        pass
    known = ", ".join((*AT_MOST, *AT_LEAST))
    raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER with a name of {known}")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def build_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        epilog=f"References: {references.__doc__}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("recordings", nargs="*", metavar="FOLDER", help="folders, files or patterns, with references beside them")
    add("--per-file", action="store_true", help="a line for each recording as it is done")
    add("--json", metavar="FILE", help="all figures, rewritten after each recording")
    bounds = (
        f"exit 1 unless over all recordings {', '.join(AT_MOST)} are at most and {', '.join(AT_LEAST)} at least this"
    )
    add("--require", nargs="+", action="extend", type=_bound, metavar="NAME=NUMBER", help=bounds)
    speech = parser.add_argument_group("synthesized speech").add_argument
    speech("--synthesize", type=_count, metavar="SEED", help="dialogues of the seeds SEED, SEED + 1, ...")
    speech("--dialogues", type=_count, default=20, metavar="N", help="so many (20)")
    speech("--seconds", type=float, default=60.0, help="length of a dialogue (60)")
    speech("--sentences", type=_count, default=0, metavar="N", help="and so many sentences, each in a recording (0)")
    speech("--noise-db", type=float, default=20.0, metavar="DB", help="how far the noise is below the speech (20)")
    speech("--save", metavar="FOLDER", help="write what is synthesized, with references in every form")
    models = parser.add_argument_group(
        "models (a folder, a named model or a Hub id; default: the environment)"
    ).add_argument
    for name in MODELS:
        models(f"--{name.lower().replace('_', '-')}", metavar="MODEL", help=name)
    request = parser.add_argument_group("request, as for transcribe").add_argument
    request("--assisted", action="store_true", default=None, help="speculative decoding with the assistant")
    request("--diarize", action=argparse.BooleanOptionalAction, help="default: where a model for it is given")
    for option in ("language", "task", "prompt", "channels"):
        request(f"--{option}")
    for option in ("num-speakers", "min-speakers", "max-speakers", "batch-size"):
        request(f"--{option}", type=int, metavar="N")
    request("--chunk-length-s", type=float, metavar="SECONDS")
    parser.set_defaults(timestamps="word")
    return parser
