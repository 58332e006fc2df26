"""What a minute of audio costs in recordings of different lengths: seconds and memory, with the environment's models.

    ASR_MODEL=whisper-base DIARIZATION_MODEL=open python -m tools.benchmarks.lengths --minutes 3 10 30 60 240
    ASR_MODEL=whisper-base python -m tools.benchmarks.lengths --recording talk.wav

The recording, by default the demo conversation, is repeated to each length, at another level each time. Each length
has one turn after a warm-up. Linux only: peaks are those of /proc/self/status. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.benchmarks.audio import speech
from turnscribe.deployment import package_deployment
from turnscribe.errors import TurnscribeError
from turnscribe.waveform import to_wav

WARM_UP_S = 20.0
CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"  # proc(5)


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    deployment = package_deployment()
    try:
        pipeline = deployment.pipeline()
        request = deployment.parse({})
    except TurnscribeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    source = None if args.recording is None else args.recording.read_bytes()
    pipeline.transcribe(to_wav(speech(WARM_UP_S, source)), request)
    print("| minutes | s | s a minute | of the first | decode, s | speech, s | text, s | speakers, s | peak, MB |")
    print("|" + "---|" * 9)
    first = None
    for minutes in args.minutes:
        audio = to_wav(speech(minutes * 60, source))
        reset_peak()
        began = time.perf_counter()
        timings = pipeline.transcribe(audio, request).timings
        cost = (time.perf_counter() - began) / minutes
        first = first or cost
        stages = " | ".join(
            f"{timings[stage]:.1f}" if stage in timings else ""
            for stage in ("decode", "speech", "asr", "diarization")
        )
        print(
            f"| {minutes:g} | {cost * minutes:.1f} | {cost:.2f} | {cost / first:.2f} | {stages} | {peak_mb():.0f} |",
            flush=True,
        )
    return 0


def reset_peak() -> None:
    """The peak of this process's memory is what it has now."""
    CLEAR.write_text(RESET_PEAK)


def peak_mb() -> float:
    """The most that was in memory since."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), flags=re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lengths", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, nargs="+", default=[3, 10, 30, 60], metavar="N", help="3 10 30 60")
    parser.add_argument("--recording", type=Path, help="by default the demo conversation")
    return parser


if __name__ == "__main__":
    sys.exit(main())
