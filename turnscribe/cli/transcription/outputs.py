"""What is written, or printed, of a transcript."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from turnscribe.answer import to_answer
from turnscribe.formats import FORMATS, Rendered, render
from turnscribe.formats.times import timestamp
from turnscribe.request import Request
from turnscribe.transcript import Transcript

ANSWER = "answer"  # not a format of the endpoint: its whole answer
ANSWER_SUFFIX = "answer.json"


def outputs_of(stem: Path, args: argparse.Namespace) -> dict[str, Path]:
    """By format, the files of a recording; none where it is printed."""
    if not args.output_dir:
        return {}
    suffixes = {name: ANSWER_SUFFIX if name == ANSWER else FORMATS[name].suffix for name in args.format or ["text"]}
    return {
        name: Path(args.output_dir) / stem.with_name(f"{stem.name}.{suffix}") for name, suffix in suffixes.items()
    }


def printed(transcript: Transcript, args: argparse.Namespace, request: Request, *, name: str) -> str | bytes:
    """In a terminal and without `--format`, lines with times."""
    if not args.format and sys.stdout.isatty():
        return listing(transcript)
    return rendered(transcript, (args.format or ["text"])[0], request, name=name)


def is_binary(wanted: str) -> bool:
    """Whether a format is no text."""
    return wanted != ANSWER and FORMATS[wanted].is_binary


def rendered(transcript: Transcript, wanted: str, request: Request, *, name: str) -> str | bytes:
    if wanted == ANSWER:
        made: Rendered = to_answer(transcript, replace(request, response_format=None))
    else:
        made = render(transcript, wanted, words=request.word_times, name=name, subtitles=request.subtitles)
    if not isinstance(made, dict):
        return made
    return json.dumps(made, ensure_ascii=False, indent=2) + "\n"


def listing(transcript: Transcript) -> str:
    """A line a chunk, for people: `00:00:01.200 - 00:00:02.400  SPEAKER_00: Hello.`"""
    return "".join(
        f"{timestamp(chunk.start)} - {timestamp(chunk.end)}  "
        f"{chunk.speaker + ': ' if chunk.speaker else ''}{' '.join(chunk.text.split())}\n"
        for chunk in transcript.chunks
    )
