"""Transcribe files from the command line: who said what, printed or written beside each other.

    python -m scripts.transcribe talk.mp3
    python -m scripts.transcribe recordings/ --format srt --output-dir subtitles --language en

Recordings are files, folders (searched through for audio and video) or patterns. The models come from
the options, else from the environment, as the endpoint's do. An output that is there already is left alone
unless `--overwrite` is given, so a batch that was stopped goes on where it was.

Exit status: 0 all done, 1 a file failed (the others are done), 2 wrong usage or settings, 130 Ctrl-C.
Does not know the models, nor what the parameters mean: the handler does.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from tqdm import tqdm

from turnscribe.answer import to_answer
from turnscribe.errors import Cancelled, TurnscribeError
from turnscribe.formats import FORMATS, render, timestamp
from turnscribe.transcript import Transcript

ANSWER = "answer"  # not a format of the endpoint: its whole answer
SUFFIXES = {"text": "txt", ANSWER: "answer.json"}  # others: the format's name, as in .verbose.json
MEDIA = r"\.(aac|aiff?|amr|avi|flac|m4[abv]|mk[av]|mov|mp[234]|mpe?g|og[agv]|opus|wav|webm|wm[av])"
MODELS = ("ASR_MODEL", "ASSISTANT_MODEL", "DIARIZATION_MODEL")
PARAMETERS = (
    "assisted language task num_speakers min_speakers max_speakers chunk_length_s batch_size timestamps"
    " prompt channels diarize"
)
Parse = Callable[[dict[str, Any]], Any]  # a request's parameters to the handler's config


class Transcriber(Protocol):
    """`handler.EndpointHandler`: `transcribe(audio, config, *, on_progress, should_stop)`."""

    @property
    def transcribe(self) -> Callable[..., Transcript]: ...


@dataclass(frozen=True)
class Outcome:
    """How a job went; `seconds` is what the transcription took, `detail` one sentence about a failure."""

    source: Path
    status: str  # done, exists, failed, stopped
    detail: str = ""
    transcript: Transcript | None = None
    seconds: float = 0.0


def main(argv: Sequence[str] | None = None, *, handler: Transcriber | None = None, parse: Parse | None = None) -> int:
    """Runs the command line, returns its exit status; `handler` and `parse` are loaded where not given."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        jobs = plan(args.recordings)
        if args.format and not args.output_dir and len(jobs) > 1:
            parser.error("--format with several recordings needs --output-dir.")
        if parse is None:
            from config import parse_config

            parse = parse_config
        config = parse(build_request(args))
        outcomes = _run(jobs, args, config, handler or load_handler(args))
    except TurnscribeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # while loading the models, or the second one
        return 130
    if not args.quiet:
        print(summary(outcomes), file=sys.stderr)
    statuses = {outcome.status for outcome in outcomes}
    return 130 if "stopped" in statuses else 1 if "failed" in statuses else 0


def build_request(args: argparse.Namespace) -> dict[str, Any]:
    """The request's parameters: what was given and nothing else, so that the endpoint's defaults stay."""
    given = {name: getattr(args, name) for name in PARAMETERS.split()}
    return {name: value for name, value in given.items() if value is not None}


def build_environment(args: argparse.Namespace) -> dict[str, str]:
    """The settings the options stand for; an empty one hides a model that is not needed."""
    models = {name: getattr(args, name.lower()) for name in MODELS}
    given = {name: model for name, model in models.items() if model is not None}
    return given | ({"DIARIZATION_MODEL": ""} if args.diarize is False else {})


def plan(recordings: Sequence[str]) -> dict[Path, Path]:
    """The recordings, each once, and their outputs in the output folder (without the format's suffix).

    Folders keep their structure. Where two outputs would be the same, both get their own suffix
    (`a.mp3.srt`, `a.wav.srt`), or their folders where that is not enough. A recording that is not there
    stays in the plan: it fails when its turn comes.
    """
    found: dict[Path, Path] = {}  # the recording: its path below what was given
    for given in recordings:
        for file, relative in _found(given) or [(Path(given), Path(Path(given).absolute().name or "all"))]:
            found.setdefault(file.absolute(), relative)
    return _distinct(found)


def _found(given: str) -> list[tuple[Path, Path]]:
    """Files and their paths below `given`; none for a folder or a pattern without any."""
    path = Path(given)
    if path.is_dir():
        files = (file for file in sorted(path.rglob("*")) if re.fullmatch(MEDIA, file.suffix, re.I))
        return [(file, file.relative_to(path)) for file in files if file.is_file() and file.name[0] != "."]
    if not path.exists() and glob.has_magic(given):
        return [pair for match in sorted(glob.glob(given, recursive=True)) for pair in _found(match)]
    return [(path, Path(path.name))]


def _distinct(found: dict[Path, Path]) -> dict[Path, Path]:
    """Shortest names first; whoever shares one (in any case of letters) takes the next longer one."""
    names = {
        source: (relative.with_suffix(""), relative, Path(*source.parts[1:])) for source, relative in found.items()
    }
    level = dict.fromkeys(found, 0)
    while True:
        stems = {source: names[source][level[source]] for source in found}
        taken = Counter(str(stem).casefold() for stem in stems.values())
        clashing = [s for s, stem in stems.items() if taken[str(stem).casefold()] > 1 and level[s] < 2]
        if not clashing:
            return stems
        for source in clashing:
            level[source] += 1


def summary(outcomes: Sequence[Outcome]) -> str:
    """A table: file, duration, speed (times real time), speakers, status."""
    rows = [("file", "duration", "speed", "speakers", "status")]
    for outcome in outcomes:
        duration = speed = speakers = "-"
        if outcome.transcript:
            duration = timestamp(outcome.transcript.duration)[:-4]
            speed = f"{outcome.transcript.duration / max(outcome.seconds, 1e-3):.1f}x"
            speakers = str(len(_speakers(outcome.transcript)) or "-")
        rows.append((_shown(outcome.source), duration, speed, speakers, outcome.status))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join([*map(str.ljust, row[:4], widths), row[4]]) for row in rows)


def _shown(source: Path) -> str:
    return str(source.relative_to(Path.cwd()) if source.is_relative_to(Path.cwd()) else source)


def _speakers(transcript: Transcript) -> set[str]:
    heard = {turn.speaker for turn in transcript.turns}
    return heard | {chunk.speaker for chunk in transcript.chunks if chunk.speaker}


# --- The batch ----------------------------------------------------------------------------------------------


def _run(jobs: dict[Path, Path], args: argparse.Namespace, config: Any, handler: Transcriber) -> list[Outcome]:
    outcomes: list[Outcome] = []
    columns = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
    hidden = True if args.quiet else None  # None: hidden where stderr is no terminal
    with tqdm(total=len(jobs), bar_format=columns, disable=hidden, leave=False) as bar, ctrl_c() as stop:
        for index, (source, stem) in enumerate(jobs.items()):
            bar.set_description_str(f"{source.name} ({index + 1}/{len(jobs)})")

            def progress(share: float, index: int = index) -> None:
                bar.update(index + min(1.0, max(0.0, share)) - bar.n)

            output = _output(stem, args)
            if stop.is_set():
                outcome = Outcome(source, "stopped")
            elif output and output.absolute() in jobs:
                outcome = Outcome(source, "failed", f"its output {output} is one of the recordings.")
            elif output and output.exists() and not args.overwrite:
                outcome = Outcome(source, "exists")
            else:
                if not output and len(jobs) > 1:
                    tqdm.write(f"== {_shown(source)}", file=sys.stdout)
                tell = {"on_progress": progress, "should_stop": stop.is_set}
                work = partial(handler.transcribe, config=config, **tell)
                outcome = _transcribe(source, output, args, work, stop)
            progress(1.0)
            outcomes.append(outcome)
            for warning in outcome.transcript.warnings if outcome.transcript else ():
                tqdm.write(f"warning: {_shown(source)}: {warning}", file=sys.stderr)
            if outcome.status == "failed":
                tqdm.write(f"error: {_shown(source)}: {outcome.detail}", file=sys.stderr)
    return outcomes


def _transcribe(
    source: Path,
    output: Path | None,
    args: argparse.Namespace,
    work: Callable[[bytes], Transcript],
    stop: Event,
) -> Outcome:
    """One file from reading to writing; whatever goes wrong is this file's outcome and no other's."""
    started = time.perf_counter()
    try:
        if source.is_dir():
            return Outcome(source, "failed", "there is no audio or video in this folder.")
        transcript = work(source.read_bytes())
        seconds = time.perf_counter() - started
        text = _rendered(transcript, args, name=source.stem)
        if output is None:
            tqdm.write(text, end="", file=sys.stdout)
        elif not write(output, text, overwrite=args.overwrite):
            return Outcome(source, "exists", transcript=transcript, seconds=seconds)
    except (KeyboardInterrupt, Cancelled):
        stop.set()
        return Outcome(source, "stopped")
    except TurnscribeError as error:
        return Outcome(source, "failed", str(error))
    except OSError as error:
        return Outcome(source, "failed", f"{error.strerror or error} ({error.filename}).")
    except Exception as error:  # a batch of a hundred goes on: the second place that catches everything
        return Outcome(source, "failed", f"{type(error).__name__}: {error}")
    return Outcome(source, "done", transcript=transcript, seconds=seconds)


def write(output: Path, text: str, *, overwrite: bool) -> bool:
    """Writes all of `text` or nothing, making folders as needed; `False` when the file appeared meanwhile."""
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".turnscribe-{os.getpid()}.part")
    try:
        with unfinished.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
        if output.exists() and not overwrite:
            return False
        os.replace(unfinished, output)
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def _output(stem: Path, args: argparse.Namespace) -> Path | None:
    name = args.format or "text"
    file = stem.with_name(f"{stem.name}.{SUFFIXES.get(name, name.replace('_', '.'))}")
    return Path(args.output_dir) / file if args.output_dir else None


def _rendered(transcript: Transcript, args: argparse.Namespace, *, name: str) -> str:
    """What is written for a recording: in a terminal and without `--format`, lines with times."""
    words = args.timestamps == "word"
    if args.format == ANSWER:
        words = args.timestamps == "word"
    if not (args.format or args.output_dir) and sys.stdout.isatty():
        return listing(transcript)
    if args.format == ANSWER:
        rendered: str | dict[str, Any] = to_answer(transcript, words=words, response_format=None)
    else:
        rendered = render(transcript, args.format or "text", words=words, name=name)
    if isinstance(rendered, str):
        return rendered
    return json.dumps(rendered, ensure_ascii=False, indent=2) + "\n"


def listing(transcript: Transcript) -> str:
    """A line a chunk, for people: `00:00:01.200 - 00:00:02.400  SPEAKER_00: Hello.`"""
    return "".join(
        f"{timestamp(chunk.start)} - {timestamp(chunk.end)}  "
        f"{chunk.speaker + ': ' if chunk.speaker else ''}{' '.join(chunk.text.split())}\n"
        for chunk in transcript.chunks
    )


@contextmanager
def ctrl_c() -> Iterator[Event]:
    """The first Ctrl-C sets the event, which the handler asks for; a second one interrupts at once."""
    stop = Event()

    def on_ctrl_c(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        os.write(2, b"\nStopping; Ctrl-C again stops at once.\n")  # print is not safe in a signal handler

    before = signal.signal(signal.SIGINT, on_ctrl_c)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def load_handler(args: argparse.Namespace) -> Transcriber:
    from config import load_settings
    from handler import EndpointHandler

    os.environ.update(build_environment(args))
    root = Path(__file__).resolve().parents[2]
    return EndpointHandler(path=str(root), settings=load_settings())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="transcribe", description="Transcribe recordings: who said what.")
    add = parser.add_argument
    add("recordings", nargs="+", metavar="RECORDING", help="file, folder or pattern")
    add("--format", choices=[*FORMATS, ANSWER], help="default: text, with times when printed to a terminal")
    add("--output-dir", metavar="DIR", help="write a file for each recording; default: print")
    add("--overwrite", action="store_true", help="replace outputs that are there already")
    add("--quiet", action="store_true", help="no progress bar and no summary")
    models = parser.add_argument_group("models (a folder or a Hub id; default: the environment)").add_argument
    models("--asr-model", metavar="MODEL", help="ASR_MODEL")
    models("--assistant-model", metavar="MODEL", help="ASSISTANT_MODEL, for --assisted")
    models("--diarization-model", metavar="MODEL", help="DIARIZATION_MODEL")
    request = parser.add_argument_group("request").add_argument
    request("--assisted", action="store_true", default=None, help="speculative decoding with the assistant")
    request("--language", help="code or English name; default: detected")
    request("--task", help="transcribe or translate")
    request("--num-speakers", type=int, metavar="N", help="exactly this many speakers")
    request("--min-speakers", type=int, metavar="N")
    request("--max-speakers", type=int, metavar="N")
    request("--diarize", action=argparse.BooleanOptionalAction, help="default: where a model for it is given")
    request("--chunk-length-s", type=float, metavar="SECONDS", help="longest window")
    request("--batch-size", type=int, metavar="N", help="windows at a time")
    request("--timestamps", help="segment or word: word keeps word times in JSON and cuts long subtitles")
    request("--prompt", help="words to expect: names, spelling")
    request("--channels", help="split: each channel is a speaker; default: mixed")
    return parser
