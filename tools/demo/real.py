"""A telephone call between two people by Whisper base and the open diarizer, held against its reference.

pyannote.audio packages the call (30 s, two women) with the turns (`sample.rttm`) and, since 4.0, the words
(`sample.stm`). It is looked up among the installed files; pyannote is not imported for it.
"""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path
from typing import Any

from tools.demo.answers import answered, readable
from turnscribe.checkpoints.fetch import fetch
from turnscribe.cli.evaluation.differences import differences
from turnscribe.cli.evaluation.measures import diarization_errors
from turnscribe.cli.evaluation.references import Reference, normalise, parse_rttm, read_reference
from turnscribe.errors import SettingsError

ASR, DIARIZER = "whisper-base", "open"
WIDTH = 110  # columns
LEGEND = "[-word-] was said and is missing, {+word+} was not said"


def fetch_models() -> tuple[Path, Path]:
    """The folders of the two models; what is missing is fetched. Raises `SettingsError`."""
    sample()  # before anything large is fetched
    return fetch(ASR, say=_say), fetch(DIARIZER, say=_say)


def sample() -> Path:
    """The telephone call. Raises `SettingsError` where it is not installed."""
    found = importlib.util.find_spec("pyannote")
    places = found.submodule_search_locations or () if found else ()
    for place in places:
        file = Path(place) / "audio" / "sample" / "sample.wav"
        if file.is_file():
            return file
    raise SettingsError("pyannote.audio's sample.wav is not installed: run pip install -r requirements.txt.")


def run(models: tuple[Path, Path]) -> int:
    """Transcribes the call, prints who said what, and how far that is from what was said."""
    whisper, diarizer = models
    recording = sample()
    print(
        f"Loading {ASR} and the {DIARIZER} diarizer, transcribing a telephone call between two people ...\n",
        flush=True,
    )
    answer = answered(
        recording.read_bytes(), {"response_format": "rttm"}, asr_model=str(whisper), diarization_model=str(diarizer)
    )
    print(readable(answer))
    print(f"\n{judged(answer, read_reference(recording))}")
    return 0


def judged(answer: dict[str, Any], reference: Reference) -> str:
    """The answer's error rates and where its words differ from those of the reference."""
    lines = []
    if reference.words:
        found = differences([word.text for word in reference.words], normalise(answer["text"]))
        lines += textwrap.wrap(f"Against what was said ({LEGEND}):", WIDTH)
        lines += textwrap.wrap(found.marked, WIDTH, initial_indent="  ", subsequent_indent="  ")
        lines.append(
            f"\nword error rate {found.errors / len(reference.words):.1%}: of {len(reference.words)} words "
            f"{found.substitutions} are other words and {found.deletions} missing; {found.insertions} were not said"
        )
    if reference.turns:
        missed, false_alarm, confusion = diarization_errors(
            reference.turns, parse_rttm(answer["formatted"]), answer["duration"]
        )
        parts = {"missed": missed, "nobody spoke": false_alarm, "other speaker": confusion}
        rate = sum(ratio.part for ratio in parts.values()) / missed.whole
        shares = ", ".join(f"{ratio.part:.1f} s {name}" for name, ratio in parts.items())
        lines.append(f"diarization error rate {rate:.1%}: of {missed.whole:.1f} s of speech {shares}")
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, flush=True)
