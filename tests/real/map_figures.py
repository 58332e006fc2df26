"""Measure the speech map on real recordings, and print the figures of docs/speech-map.md.

    python -m tests.real.map_figures                    print them
    python -m tests.real.map_figures --write-docs       write them into the page, too

The recordings are fetched first.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from tests.real import document
from tests.real.choice import CONVERSATIONS
from tests.real.clips import ALONE, DRAWN, PROMPT, WAYS, Clip, clips
from tests.real.markdown import table
from tests.real.packages import PACKAGES
from tests.real.recording import Recording
from tests.real.recordings import Unavailable, fetch, folder_of
from tests.real.sounds import MADE
from tests.real.sources import recordings
from tests.real.timing import quantiles
from turnscribe.inputs.decode import decode_audio
from turnscribe.speech.detector import SpeechDetector, load_speech_detector
from turnscribe.speech.silero import Silero
from turnscribe.speech.speech_map import SpeechMap
from turnscribe.waveform import SAMPLE_RATE, Waveform

SHARP = (PROMPT, ALONE)  # their edges are measured: they have no echoes and little noise
MUSIC = "asterisk-moh-opsound-wav"
COMPUTED = {
    "tone": "ringing, busy and dial tones, dialling, fax, hum",
    "quiet": "digital silence, last bits, noise of three colours at -60 to -30 dB",
    "effect": "clicks, a fan, a breath",
}
THRESHOLD = 0.5
TIMED = (180, 3600)  # seconds

Found = list[tuple[Clip, SpeechMap]]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="map_figures", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write-docs", action="store_true", help="write them into docs/speech-map.md")
    args = parser.parse_args(argv)
    try:
        unpacked = fetch()
        every = recordings(unpacked)
    except Unavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    made = figures(every, unpacked)
    print("\n\n".join(made.values()))
    if args.write_docs:
        document.write(made, document.PAGE.with_name("speech-map.md"))
    return 0


def figures(every: Sequence[Recording], unpacked: Path) -> dict[str, str]:
    """By the names of their places in the page."""
    torch.set_num_threads(1)
    detector = load_speech_detector()
    spoken = clips(every, unpacked)
    found = {
        (kind, way): [(clip, detector.find(change(clip))) for clip in of]
        for kind, of in spoken.items()
        for way, change in WAYS.items()
    }
    music = sorted(folder_of(PACKAGES[MUSIC], unpacked).rglob("*.wav"))
    sounds = {
        "hold music": [decode_audio(path.read_bytes()).mono for path in music],
        **{COMPUTED[kind]: [make() for make in of.values()] for kind, of in MADE.items()},
    }
    voices = np.concatenate([clip.voice for kind in DRAWN for clip in spoken[kind]])
    return {
        "speech": speech(found),
        "no speech": no_speech(detector, sounds),
        "edges": edges(found),
        "conversations": conversations(detector, [one for one in every if one.name in CONVERSATIONS]),
        "time": seconds_taken(detector, voices),
        "walks": walks(detector, voices),
    }


def speech(found: Mapping[tuple[str, str], Found]) -> str:
    lines = []
    for kind in (*DRAWN, ALONE):
        clean = found[kind, "clean"]
        seconds = sum(clip.loud.sum() for clip, _ in clean) / 100
        lines.append([f"{kind}, {len(clean)}", f"{seconds:.1f}", *(missed(found[kind, way]) for way in WAYS)])
    return table(["Speech", "seconds", *(f"missed, {way}" for way in WAYS)], lines)


def missed(found: Found) -> str:
    """Seconds that are loud and not in the map, and in how many clips the map has nothing."""
    seconds = sum((clip.loud & ~inside(heard.stretches, len(clip.loud))).sum() for clip, heard in found) / 100
    whole = sum(not heard.stretches for _, heard in found)
    return f"{seconds:.1f}" + (f" ({whole} whole)" if whole else "")


def inside(spans: Sequence[tuple[float, float]], count: int) -> NDArray[np.bool_]:
    """Which of `count` times 10 ms lie in a span.

    >>> inside([(0.01, 0.03)], 4).tolist()
    [False, True, True, False]
    """
    found = np.zeros(count, bool)
    for start, end in spans:
        found[round(100 * start) : round(100 * end)] = True
    return found


def no_speech(detector: SpeechDetector, sounds: Mapping[str, Sequence[Waveform]]) -> str:
    lines = []
    for kind, of in sounds.items():
        heard = sum(detector.find(sound).seconds for sound in of)
        lines.append([kind, f"{sum(map(len, of)) / SAMPLE_RATE:,.0f}", f"{heard:.1f}"])
    return table(["No speech", "seconds", "heard"], lines)


def edges(found: Mapping[tuple[str, str], Found]) -> str:
    """Of clips in which the map has something: the first stretch's start and the last one's end."""
    lines = []
    for kind in SHARP:
        for way in WAYS:
            heard = [
                (clip, of.stretches[0].start, of.stretches[-1].end) for clip, of in found[kind, way] if of.seconds
            ]
            onsets = quantiles([start - clip.start for clip, start, _ in heard])
            ends = quantiles([end - clip.end for clip, _, end in heard])
            errors = [f"{1000 * error:.0f}" for error in (*onsets.values(), *ends.values())]
            lines.append([f"{kind}, {way}", *errors])
    return table(["Edges, milliseconds", "onset: median", "90 %", "worst", "end: median", "90 %", "worst"], lines)


def conversations(detector: SpeechDetector, chosen: Sequence[Recording]) -> str:
    lines = []
    for recording in chosen:
        spoken = recording.load()
        heard = detector.find(decode_audio(spoken.audio).mono)
        count = round(100 * heard.duration)
        turns = inside([(turn.start, turn.end) for turn in spoken.turns or ()], count)
        outside = turns & ~inside(heard.stretches, count)
        lines.append([f"`{recording.name}`", f"{turns.sum() / 100:.1f}", f"{outside.sum() / 100:.1f}"])
    return table(["Conversation", "seconds of turns", "outside the map"], lines)


def seconds_taken(detector: SpeechDetector, voices: Waveform) -> str:
    """Once each, after a first time that does not count."""
    detector.find(voices)
    lines = []
    for seconds in TIMED:
        waveform = np.resize(voices, seconds * SAMPLE_RATE)
        begin = time.process_time()
        detector.find(waveform)
        lines.append([f"{seconds:,}", f"{time.process_time() - begin:.2f}"])
    return table(["Seconds of speech", "seconds of one core"], lines)


def walks(detector: SpeechDetector, voices: Waveform) -> str:
    side_by_side = detector.probabilities(voices)
    with patch.object(Silero, "walk_side_by_side", lambda self, vectors: self.walk(vectors[:, None])[:, 0]):
        one_after_another = detector.probabilities(voices)
    same = (side_by_side >= THRESHOLD) == (one_after_another >= THRESHOLD)
    return f"Of {len(same):,} frames {100 * same.mean():.1f} % are on the same side of {THRESHOLD} in both walks."


if __name__ == "__main__":
    sys.exit(main())
