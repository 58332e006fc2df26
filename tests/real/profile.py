"""Where the time of English speech goes: seconds in each part of the product, on the recordings of `speed.py`.

python -m tests.real.profile --seconds 600 --dtype int8
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tests.real import recordings, sources
from tests.real.markdown import table
from tests.real.models import fetch_models
from tests.real.speed import speech
from tests.real.systems import endpoint_handler, heard_by
from turnscribe import pipeline
from turnscribe.asr import engine_backend
from turnscribe.engine.batch import Batch
from turnscribe.engine.mel import LogMel
from turnscribe.engine.model import Encoder
from turnscribe.speech.detector import SpeechDetector

PARTS: Sequence[tuple[str, Any, str]] = (
    ("reading the file", pipeline, "decode_audio"),
    ("finding speech", SpeechDetector, "find"),
    ("features", LogMel, "__call__"),
    ("encoder", Encoder, "__call__"),
    ("keys and values of the audio", Batch, "load_audio"),
    ("first passes", Batch, "start"),
    ("decoding, token by token", Batch, "step"),
    ("attention for the words' times", Batch, "attention"),
    ("aligning", engine_backend, "token_starts"),
    ("tokens to text", engine_backend, "read_window"),
)


class Stopwatch:
    """Seconds by part, without those of parts within, and how often each was at work."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._within: list[float] = []

    def around(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def timed(*args: Any, **options: Any) -> Any:
            self._within.append(0.0)
            began = time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                took = time.perf_counter() - began
                self.seconds[part] += took - self._within.pop()
                self.calls[part] += 1
                if self._within:
                    self._within[-1] += took

        return timed


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--dtype", choices=("float32", "int8"), default="float32")
    options = parser.parse_args(argv)
    audio = speech(sources.recordings(recordings.fetch()), options.seconds).audio
    handler = endpoint_handler(fetch_models(), options.dtype)
    heard_by(handler, audio, diarize=False, language="en")  # warm
    watch = Stopwatch()
    for part, owner, name in PARTS:
        setattr(owner, name, watch.around(part, getattr(owner, name)))
    total = heard_by(handler, audio, diarize=False, language="en").seconds
    rows = [
        [part, f"{watch.seconds[part]:.2f}", f"{watch.seconds[part] / total:.0%}", str(watch.calls[part])]
        for part, _, _ in PARTS
    ]
    rest = total - sum(watch.seconds.values())
    rows += [["the rest", f"{rest:.2f}", f"{rest / total:.0%}", ""], ["together", f"{total:.2f}", "", ""]]
    print(table([f"{options.seconds} s, {options.dtype}", "s", "of all", "calls"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
