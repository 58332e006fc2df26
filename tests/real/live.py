"""Measure live sessions on real recordings: how late words come, and what they cost in words and speakers.

    python -m tests.real.live                                  both rules, 10 minutes of English
    python -m tests.real.live --rule alignatt --minutes 3      one rule, 3 minutes
    python -m tests.real.live --streams 2                      two sessions at once, in real time
    python -m tests.real.live --rule alignatt --log FOLDER     and what OmniSTEval reads (tests/real/latency_log.py)

Each recording is a session of its own, which gets it in pieces of 100 ms. With one stream time is reckoned: a piece
comes every 100 ms, and a pass takes as long as it takes, so that nobody has to wait for the talk. With several it is
real.

A word's delay is from its end, by the transcript of the whole recording, to the event that shows it for good. Whisper
base and the open diarizer; ASR_DTYPE counts. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tests.real.latency_log import LatencyLog
from tests.real.models import fetch_models
from tests.real.recording import SEVERAL_VOICES, Recording, Spoken
from tests.real.recordings import fetch
from tests.real.scoring import normalise
from tests.real.sources import recordings
from turnscribe.cli.evaluation.measures import align, diarization_errors
from turnscribe.inputs.decode import decode_audio
from turnscribe.live.commit import RULES, plain
from turnscribe.live.ear import PipelineEar
from turnscribe.live.events import Completed, Delta, LiveEvent, Segment
from turnscribe.live.session import LiveOptions, LiveSession
from turnscribe.live.spool import Spool
from turnscribe.live.utterance import Style
from turnscribe.pipeline import Pipeline, load_pipeline
from turnscribe.request import DecodingOptions, Request
from turnscribe.settings import ModelSettings, load_settings
from turnscribe.speech.streaming import StreamingDetector
from turnscribe.transcript import Transcript, Turn
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_wav

PIECE = 0.1  # seconds
KINDS = ("reading", "conversation", "message", "prompt")  # English, in this order
ENGLISH = Request(decoding=DecodingOptions(language="en"))


@dataclass
class Told:
    """Of one session: its events with the second in which they came, and the seconds of work."""

    events: list[tuple[float, LiveEvent]] = field(default_factory=list)
    worked: float = 0.0

    @property
    def text(self) -> str:
        return " ".join(event.text for _, event in self.events if isinstance(event, Completed))

    @property
    def turns(self) -> list[Turn]:
        """By the latest word on each segment."""
        segments = {event.id: event for _, event in self.events if isinstance(event, Segment)}
        return [
            Turn(one.speaker, one.start, one.end) for one in segments.values() if one.speaker and one.end > one.start
        ]

    def shown(self) -> list[tuple[float, str]]:
        """The words in the order in which they were shown, and when."""
        return [(at, word) for at, event in self.events if isinstance(event, Delta) for word in event.text.split()]

    def ends(self) -> Iterator[float]:
        """Of each utterance: seconds from its last word to its final text."""
        last = 0.0
        for at, event in self.events:
            if isinstance(event, Segment) and event.words:
                last = max(last, event.words[-1].end)  # an old one may be told again
            if isinstance(event, Completed) and event.text:
                yield at - last


@dataclass
class Measured:
    """Sums over recordings."""

    delays: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    errors: int = 0
    offline_errors: int = 0
    words: int = 0
    seconds: float = 0.0
    worked: float = 0.0
    wrong: float = 0.0
    offline_wrong: float = 0.0
    spoken: float = 1e-9

    def row(self, name: str) -> str:
        delays, ends = np.array(self.delays), np.array(self.ends)
        return (
            f"| {name} | {np.median(delays):.2f}, {np.quantile(delays, 0.95):.2f} s "
            f"| {np.median(ends):.2f}, {np.quantile(ends, 0.95):.2f} s "
            f"| {100 * self.errors / max(self.words, 1):.1f}, {100 * self.offline_errors / max(self.words, 1):.1f} % "
            f"| {self.worked / self.seconds:.2f} "
            f"| {100 * self.wrong / self.spoken:.1f}, {100 * self.offline_wrong / self.spoken:.1f} % |"
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="live", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rule", choices=RULES, action="append", help="this one's turn (default: all)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of recordings (default: 10)")
    parser.add_argument("--step", type=float, default=1.0, help="seconds from pass to pass (default: 1)")
    parser.add_argument("--streams", type=int, default=1, help="sessions at once (default: 1)")
    parser.add_argument("--log", type=Path, metavar="FOLDER", help="for OmniSTEval: of the last rule")
    options = parser.parse_args(argv)
    models = fetch_models()
    names = {"asr_model": str(models / "whisper-base"), "diarization_model": str(models / "open-diarizer")}
    pipeline = load_pipeline(load_settings(ModelSettings, **names))
    talks = list(chosen(options.minutes * 60))
    pipeline.transcribe(to_wav(decode_audio(talks[0][1].audio).mono[: 20 * SAMPLE_RATE]), ENGLISH)  # warm
    print(
        "| rule | a word comes after: median, 95 % | final text after | word errors: live, whole | work a second ",
        end="",
    )
    print("| speakers: provisional, whole |\n|---|---|---|---|---|---|")
    for rule in options.rule or RULES:
        live = LiveOptions(Style(ENGLISH, rule), step=options.step, similarity=pipeline.voice_similarity or 1.0)
        measured = _measure(pipeline, live, talks, options.streams, LatencyLog(options.log))
        print(measured.row(f"{rule}, {options.streams}"), flush=True)
    return 0


def chosen(seconds: float) -> Iterator[tuple[Recording, Spoken]]:
    """English recordings, of so many seconds in all."""
    found = recordings(fetch())
    for kind in KINDS:
        for recording in found:
            if (recording.kind, recording.language) == (kind, "en") and seconds > 0:
                spoken = recording.load()
                if spoken.text:
                    seconds -= len(decode_audio(spoken.audio).mono) / SAMPLE_RATE
                    yield recording, spoken


def _measure(
    pipeline: Pipeline,
    live: LiveOptions,
    talks: Sequence[tuple[Recording, Spoken]],
    streams: int,
    log: LatencyLog,
) -> Measured:
    measured = Measured()
    groups = [talks[first : first + streams] for first in range(0, len(talks), streams)]
    for group in tqdm(groups, desc=live.style.rule, disable=None, leave=False):
        waveforms = [decode_audio(spoken.audio).mono for _, spoken in group]
        told = [reckoned(pipeline, live, waveforms[0])] if streams == 1 else _together(pipeline, live, waveforms)
        for (recording, spoken), waveform, one in zip(group, waveforms, told, strict=True):
            log.add(one.shown(), add(measured, pipeline, recording, spoken, waveform, one))
    return measured


def _session(pipeline: Pipeline, live: LiveOptions, told: Told, now: Callable[[], float]) -> LiveSession:
    detector = StreamingDetector(pipeline.detector)
    spool = Spool(Path(tempfile.mkdtemp(), "spool"))

    def emit(event: LiveEvent) -> None:
        told.events.append((now(), event))

    return LiveSession(PipelineEar(pipeline), detector, live, emit, spool=spool)


def reckoned(pipeline: Pipeline, live: LiveOptions, waveform: Waveform, *, each: float | None = None) -> Told:
    """`each` is how long a step takes, in seconds, where that is not what it takes here: so that it is the same
    everywhere."""
    told, clock, began = Told(), 0.0, 0.0
    session = _session(pipeline, live, told, lambda: clock + time.perf_counter() - began)
    pieces = list(_pieces(waveform))
    while pieces or not session.over:
        while pieces and pieces[0][0] <= clock:
            session.append(pieces.pop(0)[1])
            if not pieces:
                session.end()
        began = time.perf_counter()
        did = session.work()
        took = time.perf_counter() - began if each is None else each * did
        began = time.perf_counter()
        told.worked += took
        clock += took
        if not did and pieces:
            clock = max(clock, pieces[0][0])
    session.spool.close()
    return told


def _together(pipeline: Pipeline, live: LiveOptions, waveforms: Sequence[Waveform]) -> list[Told]:
    told = [Told() for _ in waveforms]

    def talk(waveform: Waveform, one: Told) -> None:
        began = time.perf_counter()
        session = _session(pipeline, live, one, lambda: time.perf_counter() - began)
        pieces = list(_pieces(waveform))
        while not session.over:
            now = time.perf_counter() - began
            while pieces and pieces[0][0] <= now:
                session.append(pieces.pop(0)[1])
                if not pieces:
                    session.end()
            work = time.perf_counter()
            if not session.work():
                time.sleep(0.01)
            else:
                one.worked += time.perf_counter() - work
        session.spool.close()

    threads = [threading.Thread(target=talk, args=pair) for pair in zip(waveforms, told, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def _pieces(waveform: Waveform) -> Iterator[tuple[float, Waveform]]:
    """Each with the second in which it is there."""
    size = round(PIECE * SAMPLE_RATE)
    for first in range(0, len(waveform), size):
        piece = waveform[first : first + size]
        yield (first + len(piece)) / SAMPLE_RATE, piece


def add(
    measured: Measured, pipeline: Pipeline, recording: Recording, spoken: Spoken, waveform: Waveform, told: Told
) -> Transcript:
    """The whole recording's transcript, with which it was compared."""
    several = recording.kind in SEVERAL_VOICES and spoken.turns is not None
    request = Request(decoding=ENGLISH.decoding, diarize=several)
    whole = pipeline.transcribe(to_wav(waveform), request)
    reference = normalise(spoken.text or "", "en")
    measured.words += len(reference)
    measured.errors += word_errors(reference, told.text)
    measured.offline_errors += word_errors(reference, whole.text)
    measured.seconds += len(waveform) / SAMPLE_RATE
    measured.worked += told.worked
    measured.delays += delays(told.shown(), whole)
    measured.ends += told.ends()
    if several:
        assert spoken.turns is not None
        duration = len(waveform) / SAMPLE_RATE
        live, offline = (diarization_errors(spoken.turns, turns, duration) for turns in (told.turns, whole.turns))
        measured.wrong += sum(error.part for error in live)
        measured.offline_wrong += sum(error.part for error in offline)
        measured.spoken += live[0].whole
    return whole


def word_errors(reference: list[str], text: str) -> int:
    aligned = align(reference, normalise(text, "en"))
    return aligned.substitutions + aligned.deletions + aligned.insertions


def delays(shown: Sequence[tuple[float, str]], whole: Transcript) -> list[float]:
    """Of each word that was shown and is in the whole transcript: from its end there to when it was shown."""
    words = whole.words
    matcher = difflib.SequenceMatcher(
        a=[plain(text) for _, text in shown], b=[plain(word.text) for word in words], autojunk=False
    )
    return [
        shown[match.a + index][0] - words[match.b + index].end
        for match in matcher.get_matching_blocks()
        for index in range(match.size)
    ]


if __name__ == "__main__":
    sys.exit(main())
