"""One entry of a manifest to its transcript, wherever the recording is: what every task and every actor does.

Whose settings and models are used a `Deployment` says.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from turnscribe.answer import to_answer
from turnscribe.bulk.manifest import Entry
from turnscribe.bulk.places import PlaceError, check_room, read, shown, write
from turnscribe.deployment import Deployment
from turnscribe.errors import TurnscribeError
from turnscribe.formats import FORMATS, render
from turnscribe.listener import SILENT, Listener
from turnscribe.request import Request
from turnscribe.subtitle_limits import USUAL_LIMITS, SubtitleLimits
from turnscribe.transcript import Transcript

FILE_FORMATS = tuple(name for name, known in FORMATS.items() if not known.is_json)  # to be had beside the answer
ANSWER = Request(timestamps="word")  # what an answer has: everything, so that nobody transcribes again for word times

TranscribeEntry: TypeAlias = Callable[[Entry], Entry]  # to the entry, done; raises where it failed
OnError: TypeAlias = Callable[[Entry, Exception], None]

log = logging.getLogger("turnscribe")


def transcribe_file(
    uri: str,
    parameters: Mapping[str, object],
    deployment: Deployment,
    listener: Listener = SILENT,
    *,
    audio: bytes | None = None,
) -> Transcript:
    """The recording at `uri` to its transcript; `parameters` are a request's, `audio` its bytes where it was read.

    Raises `PlaceError` where it cannot be read, and what `Pipeline.transcribe` raises.
    """
    request = deployment.parse(parameters)
    pipeline = deployment.pipeline()
    if audio is None:
        audio = read(uri, max_bytes=pipeline.limits.max_bytes)
    return pipeline.transcribe(audio, request, listener)


def transcribe_entry(
    entry: Entry, deployment: Deployment, *, formats: Sequence[str] = (), audio: bytes | None = None
) -> Entry:
    """`transcribe_file` with its results written: the entry, done. Raises as that does, and `PlaceError`.

    Repeating it writes the same files again. The answer, with word times, is written last.
    """
    began = time.perf_counter()
    check_room(entry.answer)
    transcript = transcribe_file(entry.uri, entry.parameters, deployment, audio=audio)
    write_results(entry, transcript, formats=formats, subtitles=deployment.parse(entry.parameters).subtitles)
    return replace(
        entry, status="done", error=None, duration=transcript.duration, seconds=round(time.perf_counter() - began, 3)
    )


def write_results(
    entry: Entry, transcript: Transcript, *, formats: Sequence[str] = (), subtitles: SubtitleLimits = USUAL_LIMITS
) -> None:
    """The answer at `entry.answer`, and before it every one of `formats`, each with its suffix."""
    stem = Path(shown(entry.uri)).stem
    for name in formats:
        rendered = render(transcript, name, name=stem, subtitles=subtitles)
        write(entry.rendering(name), rendered if isinstance(rendered, bytes) else str(rendered))
    write(entry.answer, json.dumps(to_answer(transcript, ANSWER), ensure_ascii=False, indent=1) + "\n")


def attempt(transcribe: TranscribeEntry, entry: Entry, *, on_error: OnError | None = None) -> Entry:
    """`transcribe(entry)`, or the entry with the reason why not: one bad file is no other's trouble.

    `on_error` gets the error itself.
    """
    try:
        return transcribe(entry)
    except Exception as error:  # a batch of thousands goes on
        if on_error is not None:
            on_error(entry, error)
        if isinstance(error, TurnscribeError | PlaceError):
            return replace(entry, status="failed", error=str(error))
        log.exception("%s failed", shown(entry.uri))
        return replace(entry, status="failed", error=f"{type(error).__name__}: see the worker's log.")


def transcribe_bundle(entries: Sequence[Entry], transcribe: TranscribeEntry, *, threads: int = 8) -> list[Entry]:
    """`threads` entries at a time, so that they share the engine's batches; those that fail say why."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(partial(attempt, transcribe), entries))
