"""What can be said to `turnscribe transcribe`, and the request and settings that it stands for."""

from __future__ import annotations

import argparse
import os
import textwrap
from typing import Any, get_args

from turnscribe.asr.protocol import WeightsType
from turnscribe.asr.registry import BACKENDS
from turnscribe.cli.transcription.outputs import ANSWER
from turnscribe.deployment import Deployment
from turnscribe.diarization.diarizer import Effort
from turnscribe.errors import BadParameters
from turnscribe.formats import FORMATS
from turnscribe.parameters import PARAMETERS
from turnscribe.pipeline import Pipeline
from turnscribe.whisper.languages import CODES, language_code

MODELS = ("ASR_MODEL", "ASSISTANT_MODEL", "DIARIZATION_MODEL")
SETTINGS = (*MODELS, "ASR_BACKEND", "ASR_DTYPE", "DIARIZATION_EFFORT")
TASKS = ("transcribe", "translate")
ANY_LANGUAGE = ("auto", "multi")
LANGUAGES = f"give {', '.join(ANY_LANGUAGE)}, or one of {', '.join(CODES)}, or its English name"
EPILOG = f"""languages:
{textwrap.fill(" ".join(CODES), width=100, initial_indent="  ", subsequent_indent="  ")}

exit status:
  0    all recordings are done, or were done before
  1    one or more failed; the others are done
  2    the command line or a setting is wrong: nothing was done
  130  Ctrl-C; what is written is whole, and the same command goes on where it was
"""


def build_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Transcribe recordings: who said what.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("recordings", nargs="*", metavar="RECORDING", help="file, folder or pattern")
    add("--watch", metavar="FOLDER", help="transcribe what is in this folder and what comes into it, until Ctrl-C")
    add(
        "--format",
        type=formats_in,
        metavar="FORMAT",
        help=f"some of {', '.join(FORMATS)}, {ANSWER}, with commas between them; default: text, with times when "
        "printed to a terminal",
    )
    add(
        "--output-dir",
        metavar="DIR",
        help="write a file for each recording; default: print, and with --watch, beside the recordings",
    )
    add("--overwrite", action="store_true", help="replace outputs that are there already")
    add("--quiet", action="store_true", help="no progress bar and no summary")
    models = parser.add_argument_group(
        "models (a folder, a named model or a Hub id; default: the environment)"
    ).add_argument
    models("--asr-model", metavar="MODEL", help="ASR_MODEL")
    models("--assistant-model", metavar="MODEL", help="ASSISTANT_MODEL, for --assisted")
    models("--diarization-model", metavar="MODEL", help="DIARIZATION_MODEL")
    models("--asr-backend", choices=BACKENDS, help="ASR_BACKEND")
    models("--asr-dtype", choices=get_args(WeightsType), help="ASR_DTYPE, what the weights are kept in")
    models("--diarization-effort", choices=get_args(Effort), help="DIARIZATION_EFFORT")
    request = parser.add_argument_group("request").add_argument
    request("--assisted", action="store_true", default=None, help="speculative decoding with the assistant")
    request(
        "--language",
        type=language_in,
        help="a code listed below or its English name, or multi: each window its own; default: detected",
    )
    request("--languages", type=languages_in, metavar="CODES", help="detect among these, with commas between them")
    request("--task", choices=TASKS, help="translate: into English; default: transcribe")
    request("--num-speakers", type=int, metavar="N", help="exactly this many speakers")
    request("--min-speakers", type=int, metavar="N")
    request("--max-speakers", type=int, metavar="N")
    request("--diarize", action=argparse.BooleanOptionalAction, help="default: where a model for it is given")
    request("--chunk-length-s", type=float, metavar="SECONDS", help="longest window")
    request("--batch-size", type=int, metavar="N", help="windows at a time")
    request(
        "--timestamps",
        choices=("segment", "word"),
        help="word keeps word times in JSON and cuts long subtitles; default: segment",
    )
    request("--num-beams", type=int, metavar="N", help="beam search with so many; default: 1, greedy")
    request("--length-penalty", type=float, metavar="X", help="with several beams: above 0 prefers longer texts")
    request("--patience", type=float, metavar="X", help="with several beams: how many texts are finished")
    request("--vad", action=argparse.BooleanOptionalAction, help="decode only where somebody speaks; default: yes")
    request("--vad-threshold", type=float, metavar="P", help="how likely speech has to be, 0 to 1")
    request("--vad-min-speech-duration-ms", type=int, metavar="MS", help="shorter sounds are no speech")
    request("--vad-min-silence-duration-ms", type=int, metavar="MS", help="pauses as long are left out")
    request("--vad-speech-pad-ms", type=int, metavar="MS", help="kept around speech")
    request("--prompt", help="text before the recording: style, what was said before")
    request("--keywords", metavar="TERMS", help="names and terms that may be said, with commas between them")
    request("--channels", choices=("mix", "split"), help="split: each channel is a speaker; default: mix")
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


def language_in(given: str) -> str:
    """The language as it is given. Raises `ArgumentTypeError` for one that Whisper does not know."""
    if given.strip().lower() not in ANY_LANGUAGE and language_code(given) is None:
        raise argparse.ArgumentTypeError(f"{given[:40]!r} is no language: {LANGUAGES}")
    return given


def languages_in(given: str) -> str:
    """Several, with commas between them."""
    for name in given.split(","):
        if language_code(name) is None:
            raise argparse.ArgumentTypeError(f"{name[:40]!r} is no language: {LANGUAGES}")
    return given


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


def build_parameters(args: argparse.Namespace) -> dict[str, Any]:
    """The request's parameters: what was given and nothing else, so that the endpoint's defaults stay."""
    return {name: value for name, value in vars(args).items() if name in PARAMETERS and value is not None}


def build_environment(args: argparse.Namespace) -> dict[str, str]:
    """The settings the options stand for; an empty one hides a model that is not needed."""
    named = {name: getattr(args, name.lower(), None) for name in SETTINGS}
    given = {name: value for name, value in named.items() if value is not None}
    return given | ({"DIARIZATION_MODEL": ""} if args.diarize is False else {})


def load_models(args: argparse.Namespace, deployment: Deployment) -> Pipeline:
    """The models that the options name, and the environment where they name none. Raises `SettingsError`."""
    set_environment(args)
    return deployment.pipeline()


def set_environment(args: argparse.Namespace) -> None:
    """For the settings, which are read from it."""
    os.environ.update(build_environment(args))
