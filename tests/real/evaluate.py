"""Measure the product on real recordings, beside its peers on the same weights, and print tables.

    python -m tests.real.evaluate                              the table's recordings, with every program
    python -m tests.real.evaluate --tested --write-bounds      the tests' recordings, and their bounds anew
    python -m tests.real.evaluate --tested --write-docs        docs/accuracy.md with its tables anew

The recordings are fetched first, and so are the models. What was measured is kept in build/real/results: Ctrl-C and
start again, and it goes on. A text is scored as `scoring.py` says. Errors are summed over recordings, then divided.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tests.real import bounds, document
from tests.real.choice import TABLE, TESTED, choice
from tests.real.models import fetch_models
from tests.real.recording import SEVERAL_VOICES, Recording, Spoken
from tests.real.recordings import Unavailable, fetch
from tests.real.results import Kept
from tests.real.row import Row, row
from tests.real.scoring import Heard
from tests.real.sources import recordings
from tests.real.systems import PRODUCT, SYSTEMS, System, Transcriber
from tests.real.tables import tables


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="evaluate-real", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--tested", action="store_true", help="the tests' recordings, not the table's")
    add("--only", action="append", metavar="SYSTEM", choices=[system.name for system in SYSTEMS], help="this program")
    add("--group", action="append", metavar="GROUP", help="recordings of this group, such as 'prompt en'")
    add("--text", action="store_true", help="print what was said and what was heard, too")
    add("--write-bounds", action="store_true", help="write tests/real/bounds.json: what the tests allow")
    add("--write-docs", action="store_true", help="write the tables into docs/accuracy.md")
    args = parser.parse_args(argv)
    systems = [system for system in SYSTEMS if system.name in (args.only or [system.name])]
    if args.write_bounds:
        systems = [system for system in systems if system.name == PRODUCT]
    try:
        chosen = choice(recordings(fetch()), TESTED if args.tested else TABLE)
    except Unavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    chosen = [one for one in chosen if not args.group or one.group in args.group]
    measured: dict[System, list[Row]] = {}
    try:
        models = fetch_models()
        for system in systems:
            measured[system] = measure(system, chosen, models, text=args.text)
    except KeyboardInterrupt:
        print("interrupted: what was measured is kept, and the next run goes on.", file=sys.stderr)
        return 130
    made = tables(measured)
    print("\n\n".join(made.values()))
    if args.write_bounds:
        bounds.write(next(iter(measured.values())))
    if args.write_docs:
        document.write(made)
    return 0


def measure(system: System, chosen: Sequence[Recording], models: Path, *, text: bool = False) -> list[Row]:
    """The figures of one program; it is loaded when the first recording is not measured yet."""
    kept, transcribe, rows = Kept(system), None, []
    for recording in tqdm(chosen, desc=system.name, disable=None, leave=False):
        spoken = recording.load()
        heard = kept.get(recording, spoken)
        if heard is None:
            transcribe = transcribe or system.load(models)
            heard = _attempt(transcribe, recording, spoken)
            kept.add(recording, spoken, heard)
        if text:
            tqdm.write(f"{recording.name} ({system.name}, {heard.language})\n  {spoken.text}\n  {heard.text}")
        rows.append(row(recording, spoken, heard))
    return rows


def _attempt(transcribe: Transcriber, recording: Recording, spoken: Spoken) -> Heard:
    """A recording that a program fails on has no text, and all its words are missing."""
    try:
        return transcribe(recording, spoken.audio)
    except Exception as error:
        tqdm.write(f"error: {recording.name}: {error}", file=sys.stderr)
        several = recording.kind in SEVERAL_VOICES
        return Heard("", None, 0.0, 0.0, (), () if several else None, ())


if __name__ == "__main__":
    sys.exit(main())
