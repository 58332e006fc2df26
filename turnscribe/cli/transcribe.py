"""Transcribe files from the command line: who said what, printed or written beside each other.

    python -m scripts.transcribe talk.mp3
    python -m scripts.transcribe recordings/ --format srt,verbose_json --output-dir transcripts --language en

Recordings are files, folders (searched through for audio and video) or patterns. The models come from
the options, else from the environment, as the endpoint's do. An output that is there already is left alone
unless `--overwrite` is given, so a batch that was stopped goes on where it was.

Exit status: 0 all done, 1 a file failed (the others are done), 2 wrong usage or settings, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from turnscribe.answer import to_answer
from turnscribe.deployment import Deployment, package_deployment
from turnscribe.errors import BadAudio, BadParameters, Cancelled, TurnscribeError
from turnscribe.files import has_room, printable, write_whole
from turnscribe.formats import FORMATS, Rendered, render
from turnscribe.formats.times import timestamp
from turnscribe.inputs.limits import Limits, check_size
from turnscribe.inputs.suffixes import is_recording
from turnscribe.interrupts import two_step_interrupt
from turnscribe.listener import Listener
from turnscribe.parameters import PARAMETERS
from turnscribe.pipeline import Pipeline
from turnscribe.request import Request
from turnscribe.transcript import Transcript

ANSWER = "answer"  # not a format of the endpoint: its whole answer
ANSWER_SUFFIX = "answer.json"
MODELS = ("ASR_MODEL", "ASSISTANT_MODEL", "DIARIZATION_MODEL")


@dataclass(frozen=True)
class Outcome:
    """How a job went; `seconds` is what the transcription took, `detail` one sentence about a failure."""

    source: Path
    status: str  # done, exists, failed, stopped
    detail: str = ""
    transcript: Transcript | None = None
    seconds: float = 0.0


def main(argv: Sequence[str] | None = None, *, deployment: Deployment | None = None, prog: str = "transcribe") -> int:
    """Runs the command line, returns its exit status; by default with the package's own settings and rules."""
    deployment = deployment or package_deployment()
    parser = build_parser(prog)
    args = parser.parse_args(argv)
    try:
        outputs = plan(args.recordings)
        if args.format and not args.output_dir and len(outputs) > 1:
            parser.error("--format with several recordings needs --output-dir.")
        if len(args.format or ()) > 1 and not args.output_dir:
            parser.error("several formats need --output-dir.")
        if args.format and not args.output_dir and _is_binary(args.format[0]):
            parser.error(f"{args.format[0]} is no text to be printed: it needs --output-dir.")
        request = deployment.parse(build_parameters(args))
        outcomes = _run(outputs, args, request, load_models(args, deployment))
    except TurnscribeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # while loading the models, or the second one
        return 130
    if not args.quiet:
        print(summary(outcomes), file=sys.stderr)
    statuses = {outcome.status for outcome in outcomes}
    return 130 if "stopped" in statuses else 1 if "failed" in statuses else 0


def build_parameters(args: argparse.Namespace) -> dict[str, Any]:
    """The request's parameters: what was given and nothing else, so that the endpoint's defaults stay."""
    return {name: value for name, value in vars(args).items() if name in PARAMETERS and value is not None}


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
        return [(file, file.relative_to(path)) for file in _below(path)]
    if not path.exists() and glob.has_magic(given):
        return [pair for match in sorted(glob.glob(given, recursive=True)) for pair in _found(match)]
    return [(path, Path(path.name))]


def _below(folder: Path) -> list[Path]:
    """The recordings in a folder, links among them that lead nowhere, and folders in it that cannot be read."""
    closed: list[Path] = []

    def note(error: OSError) -> None:
        closed.append(Path(error.filename))

    found = [
        Path(at, name)
        for at, _, names in os.walk(folder, onerror=note)
        for name in names
        if is_recording(name) and (Path(at, name).is_file() or Path(at, name).is_symlink())
    ]
    return sorted([*found, *(one for one in closed if one != folder)])


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
    """As it is called from here, without what a terminal would take for an order."""
    return printable(str(source.relative_to(Path.cwd()) if source.is_relative_to(Path.cwd()) else source))


def _speakers(transcript: Transcript) -> set[str]:
    heard = {turn.speaker for turn in transcript.turns}
    return heard | {chunk.speaker for chunk in transcript.chunks if chunk.speaker}


# --- The batch ----------------------------------------------------------------------------------------------


def _run(outputs: dict[Path, Path], args: argparse.Namespace, request: Request, pipeline: Pipeline) -> list[Outcome]:
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

            written = _outputs(stem, args)
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
                    tqdm.write(f"== {_shown(source)}", file=sys.stdout)
                listener = Listener(on_progress=progress, should_stop=stop.is_set)
                outcome = _transcribe(source, left, args, request, pipeline, listener)
                if outcome.status == "stopped":
                    stop.set()
            progress(1.0)
            outcomes.append(outcome)
            for warning in outcome.transcript.warnings if outcome.transcript else ():
                tqdm.write(f"warning: {_shown(source)}: {warning}", file=sys.stderr)
            if outcome.status == "failed":
                tqdm.write(f"error: {_shown(source)}: {printable(outcome.detail)}", file=sys.stderr)
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
            tqdm.write(str(_printed(transcript, args, request, name=source.stem)), end="", file=sys.stdout)
        for name, file in written.items():
            try:
                write_whole(file, _rendered(transcript, name, request, name=source.stem), overwrite=args.overwrite)
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


def _outputs(stem: Path, args: argparse.Namespace) -> dict[str, Path]:
    """By format, the files of a recording; none where it is printed."""
    if not args.output_dir:
        return {}
    suffixes = {name: ANSWER_SUFFIX if name == ANSWER else FORMATS[name].suffix for name in args.format or ["text"]}
    return {
        name: Path(args.output_dir) / stem.with_name(f"{stem.name}.{suffix}") for name, suffix in suffixes.items()
    }


def _printed(transcript: Transcript, args: argparse.Namespace, request: Request, *, name: str) -> str | bytes:
    """In a terminal and without `--format`, lines with times."""
    if not args.format and sys.stdout.isatty():
        return listing(transcript)
    return _rendered(transcript, (args.format or ["text"])[0], request, name=name)


def _is_binary(wanted: str) -> bool:
    return wanted != ANSWER and FORMATS[wanted].is_binary


def _rendered(transcript: Transcript, wanted: str, request: Request, *, name: str) -> str | bytes:
    if wanted == ANSWER:
        rendered: Rendered = to_answer(transcript, replace(request, response_format=None))
    else:
        rendered = render(transcript, wanted, words=request.word_times, name=name, subtitles=request.subtitles)
    if not isinstance(rendered, dict):
        return rendered
    return json.dumps(rendered, ensure_ascii=False, indent=2) + "\n"


def listing(transcript: Transcript) -> str:
    """A line a chunk, for people: `00:00:01.200 - 00:00:02.400  SPEAKER_00: Hello.`"""
    return "".join(
        f"{timestamp(chunk.start)} - {timestamp(chunk.end)}  "
        f"{chunk.speaker + ': ' if chunk.speaker else ''}{' '.join(chunk.text.split())}\n"
        for chunk in transcript.chunks
    )


def load_models(args: argparse.Namespace, deployment: Deployment) -> Pipeline:
    """The models that the options name, and the environment where they name none. Raises `SettingsError`."""
    os.environ.update(build_environment(args))
    return deployment.pipeline()


def formats_in(given: str) -> list[str]:
    """The formats that are named, with commas between them. Raises `ArgumentTypeError` for one that is none."""
    names = list(dict.fromkeys(name.strip() for name in given.split(",")))
    for name in names:
        if name not in (*FORMATS, ANSWER):
            raise argparse.ArgumentTypeError(
                f"{name[:40]!r} is no format: give some of {', '.join(FORMATS)}, {ANSWER}"
            )
        if name != ANSWER:
            try:
                FORMATS[name].check_available()
            except BadParameters as error:
                raise argparse.ArgumentTypeError(str(error)) from None
    return names


def build_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Transcribe recordings: who said what.")
    add = parser.add_argument
    add("recordings", nargs="+", metavar="RECORDING", help="file, folder or pattern")
    add(
        "--format",
        type=formats_in,
        metavar="FORMAT",
        help=f"some of {', '.join(FORMATS)}, {ANSWER}, with commas between them; default: text, with times when "
        "printed to a terminal",
    )
    add("--output-dir", metavar="DIR", help="write a file for each recording; default: print")
    add("--overwrite", action="store_true", help="replace outputs that are there already")
    add("--quiet", action="store_true", help="no progress bar and no summary")
    models = parser.add_argument_group(
        "models (a folder, a named model or a Hub id; default: the environment)"
    ).add_argument
    models("--asr-model", metavar="MODEL", help="ASR_MODEL")
    models("--assistant-model", metavar="MODEL", help="ASSISTANT_MODEL, for --assisted")
    models("--diarization-model", metavar="MODEL", help="DIARIZATION_MODEL")
    request = parser.add_argument_group("request").add_argument
    request("--assisted", action="store_true", default=None, help="speculative decoding with the assistant")
    request("--language", help="code or English name, or multi: each window its own; default: detected")
    request("--languages", metavar="CODES", help="detect among these, with commas between them")
    request("--task", help="transcribe or translate")
    request("--num-speakers", type=int, metavar="N", help="exactly this many speakers")
    request("--min-speakers", type=int, metavar="N")
    request("--max-speakers", type=int, metavar="N")
    request("--diarize", action=argparse.BooleanOptionalAction, help="default: where a model for it is given")
    request("--chunk-length-s", type=float, metavar="SECONDS", help="longest window")
    request("--batch-size", type=int, metavar="N", help="windows at a time")
    request("--timestamps", help="segment or word: word keeps word times in JSON and cuts long subtitles")
    request("--num-beams", type=int, metavar="N", help="beam search with so many; default: 1, greedy")
    request("--length-penalty", type=float, metavar="X", help="with several beams: above 0 prefers longer texts")
    request("--patience", type=float, metavar="X", help="with several beams: how many texts are finished")
    request("--vad", action=argparse.BooleanOptionalAction, help="decode only where somebody speaks; default: yes")
    request("--vad-threshold", type=float, metavar="P", help="how likely speech has to be, 0 to 1")
    request("--vad-min-speech-duration-ms", type=int, metavar="MS", help="shorter sounds are no speech")
    request("--vad-min-silence-duration-ms", type=int, metavar="MS", help="pauses as long are left out")
    request("--vad-speech-pad-ms", type=int, metavar="MS", help="kept around speech")
    request("--prompt", help="words to expect: names, spelling")
    request("--channels", help="split: each channel is a speaker; default: mixed")
    request(
        "--audio-track", type=int, metavar="N", help="of several in a file, from 1; default: the first with sound"
    )
    subtitles = parser.add_argument_group("subtitles (srt, vtt, ass; lines of lrc)").add_argument
    subtitles("--max-line-width", type=int, metavar="N", help="characters in a line; default: 42")
    subtitles("--max-line-count", type=int, metavar="N", help="lines in a cue; default: 2")
    subtitles("--max-cue-duration-s", type=float, metavar="SECONDS", help="of a cue; default: 7")
    subtitles(
        "--max-characters-per-second",
        type=float,
        metavar="N",
        help="reading speed: cues stay until they can be read, if the next one leaves time; default: as spoken",
    )
    subtitles("--min-cue-gap-s", type=float, metavar="SECONDS", help="between cues; default: 0")
    return parser
