"""One file to its transcript, wherever it is: what every task and every actor does.

The models are those of the environment, loaded once a process. Knows neither Flyte nor Ray.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from turnscribe.answer import to_answer
from turnscribe.bulk.manifest import Entry
from turnscribe.bulk.places import PlaceError, read, shown, write
from turnscribe.errors import TurnscribeError
from turnscribe.formats import render
from turnscribe.stages import ShouldStop
from turnscribe.transcript import Transcript

FORMATS = ("text", "srt", "vtt", "tsv", "rttm")  # that can be had beside the answer

OnError = Callable[[Entry, Exception], None]

log = logging.getLogger("turnscribe")
_loading = threading.Lock()


def transcribe_file(
    uri: str, parameters: dict[str, Any] | None = None, *, handler: Any = None, should_stop: ShouldStop | None = None
) -> Transcript:
    """The recording at `uri` to its transcript; `parameters` are a request's.

    Raises `PlaceError` where it cannot be read, and what `EndpointHandler.transcribe` raises.
    """
    from config import parse_config

    config = parse_config(parameters or {})
    handler = handler or loaded_handler()
    audio = read(uri, max_bytes=handler.limits.max_bytes)
    return handler.transcribe(audio, config, should_stop=should_stop)  # type: ignore[no-any-return]


def transcribe_entry(entry: Entry, *, formats: Sequence[str] = (), handler: Any = None) -> Entry:
    """`transcribe_file` with its results written: the entry, done. Raises as that does, and `PlaceError`.

    Repeating it writes the same files again. The answer, with word times, is written last.
    """
    began = time.perf_counter()
    transcript = transcribe_file(entry.uri, dict(entry.parameters), handler=handler)
    write_results(entry, transcript, formats=formats)
    return replace(
        entry, status="done", error=None, duration=transcript.duration, seconds=round(time.perf_counter() - began, 3)
    )


def write_results(entry: Entry, transcript: Transcript, *, formats: Sequence[str] = ()) -> None:
    """The answer at `entry.answer`, and before it every one of `formats`, each with its suffix."""
    stem = Path(shown(entry.uri)).stem
    for name in formats:
        write(entry.rendering(name), str(render(transcript, name, name=stem)))
    answer = to_answer(transcript, words=True, response_format=None)
    write(entry.answer, json.dumps(answer, ensure_ascii=False, indent=1) + "\n")


def attempt(work: Callable[[Entry], Entry], entry: Entry, *, on_error: OnError | None = None) -> Entry:
    """`work(entry)`, or the entry with what went wrong: one bad file is no other's trouble. `on_error` is told."""
    try:
        return work(entry)
    except Exception as error:  # a batch of thousands goes on
        if on_error is not None:
            on_error(entry, error)
        if isinstance(error, TurnscribeError | PlaceError):
            return replace(entry, status="failed", error=str(error))
        log.exception("%s failed", shown(entry.uri))
        return replace(entry, status="failed", error=f"{type(error).__name__}: see the worker's log.")


def transcribe_bundle(
    entries: Sequence[Entry],
    *,
    formats: Sequence[str] = (),
    handler: Any = None,
    threads: int = 8,
) -> list[Entry]:
    """`threads` entries at a time, so that they share the engine's batches; those that fail say why."""
    handler = handler or loaded_handler()

    work = partial(transcribe_entry, formats=formats, handler=handler)
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(partial(attempt, work), entries))


def loaded_handler() -> Any:
    """This process's `EndpointHandler`, loaded by the first call. Raises `SettingsError`."""
    with _loading:
        return _handler()


@cache
def _handler() -> Any:
    from handler import EndpointHandler

    return EndpointHandler()
