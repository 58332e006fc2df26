"""What keywords find: the proper names in real recordings, with and without them, and what they cost elsewhere.

    python -m tests.real.keywords                the half of the recordings that nothing was chosen by
    python -m tests.real.keywords --chosen-by    the other half
    python -m tests.real.keywords --way greedy   one row of the table

A name is a word of a reference that has a capital inside a sentence and is nowhere in small letters in that language.
All names of a language are its keywords, in each of its recordings. Beside those with a name, `OTHERS` without any
are heard, and sounds of nobody's: what appears there of the keywords was invented.
"""

from __future__ import annotations

import argparse
import re
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.real import recordings, sources
from tests.real.markdown import table
from tests.real.models import fetch_models
from tests.real.recording import NOBODY_SPEAKS, Recording
from tests.real.scoring import normalise
from tests.real.systems import endpoint_handler, heard_by
from turnscribe.cli.evaluation.measures import align

KINDS = ("prompt", "caption", "line", "reading", "conversation")
OTHERS = 150
SENTENCES = re.compile(r"(?<=[.!?…:])\s+|\n|- |[\"»«„”]")
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
WAYS: dict[str, dict[str, object]] = {
    "greedy": {},
    "greedy, keywords": {"keywords": True},
    "5 beams": {"num_beams": 5},
    "5 beams, keywords": {"num_beams": 5, "keywords": True},
}


@dataclass
class Counts:
    """Sums over recordings; errors are of words that are no part of a name."""

    names: int = 0
    found: int = 0
    words: int = 0
    errors: int = 0
    invented: int = 0
    seconds: float = 0.0  # of audio


def names_in(texts: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The names of each language, from languages and texts."""
    texts = list(texts)
    small: dict[str, set[str]] = defaultdict(set)
    for language, text in texts:
        small[language] |= {word for word in re.findall(r"\w+", text) if word.islower()}
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for language, text in texts:
        for name in _capital_inside(text):
            if not {name.lower(), *re.split(r"['’]", name.lower())} & small[language]:
                found[language][name] = None
    return {language: list(names) for language, names in found.items()}


def _capital_inside(text: str) -> Iterator[str]:
    for sentence in SENTENCES.split(text):
        for word in list(WORD.finditer(sentence))[1:]:
            if word.group()[0].isupper() and not word.group().isupper() and len(word.group()) > 2:
                yield word.group()


def chosen_by(recording: Recording) -> bool:
    """Whether a recording is of the half by which weights were chosen."""
    return bool(zlib.crc32(recording.name.encode()) % 2)


@dataclass(frozen=True)
class Heard:
    """A recording, its audio and its text, and the names in it as normalised words."""

    recording: Recording
    audio: bytes
    text: str
    names: frozenset[str]


def half(unpacked: Path, *, tuning: bool) -> tuple[list[Heard], list[Heard], dict[str, list[str]]]:
    """Recordings with names, others, and the names by language."""
    known = {one.name: one for one in sources.recordings(unpacked)}
    said = {
        name: one.load()
        for name, one in known.items()
        if one.language and (one.kind in KINDS) and chosen_by(one) == tuning
    }
    texts = {name: spoken.text for name, spoken in said.items() if spoken.text}
    every = [(one.language or "", one.load().text or "") for one in known.values() if one.kind in KINDS]
    names = names_in(every)
    with_names, others = list[Heard](), list[Heard]()
    for name, text in sorted(texts.items(), key=lambda pair: zlib.crc32(pair[0].encode())):
        language = known[name].language or ""
        words = set(normalise(text, language))
        inside = frozenset(
            word for one in names.get(language, ()) for word in normalise(one, language) if word in words
        )
        heard = Heard(known[name], said[name].audio, text, inside)
        if inside:
            with_names.append(heard)
        elif len(others) < OTHERS and names.get(language):
            others.append(heard)
    nobody = [one for one in known.values() if one.kind in NOBODY_SPEAKS and chosen_by(one) == tuning]
    others += [Heard(one, one.load().audio, "", frozenset()) for one in nobody]
    return with_names, others, names


def count(handler: object, heard: Sequence[Heard], names: Mapping[str, Sequence[str]], **way: object) -> Counts:
    """What a way of decoding makes of recordings."""
    counts, biased = Counts(), bool(way.pop("keywords", False))
    for one in heard:
        language = one.recording.language or "en"
        listed = names.get(language, ())
        parameters = dict(way)
        if biased:
            parameters["keywords"] = list(listed)
        answer = heard_by(handler, one.audio, diarize=False, language=language, **parameters)
        reference, told = normalise(one.text, language), normalise(answer.text, language)
        terms = {word for name in listed for word in normalise(name, language)}
        aligned = align(reference, told) if reference else None
        equal = {place for place, _ in aligned.equal} if aligned else set()
        places = [place for place, word in enumerate(reference) if word in one.names]
        missed = sum(place not in equal for place in places)
        errors = aligned.substitutions + aligned.deletions + aligned.insertions if aligned else len(told)
        counts.seconds += answer.duration
        counts.names += len(places)
        counts.found += len(places) - missed
        counts.words += len(reference) - len(places)
        counts.errors += errors - missed
        counts.invented += sum(word in terms and word not in reference for word in told)
    return counts


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--chosen-by", action="store_true", help="the half that weights were chosen by")
    parser.add_argument("--way", choices=WAYS, action="append", help="a row of the table; default: all")
    options = parser.parse_args(argv)
    with_names, others, names = half(recordings.fetch(), tuning=options.chosen_by)
    handler = endpoint_handler(fetch_models())
    rows = []
    for title in options.way or WAYS:
        way = WAYS[title]
        there = count(handler, with_names, names, **way)
        elsewhere = count(handler, others, names, **way)
        rows.append(
            [
                title,
                f"{there.found} of {there.names}",
                f"{100 * there.errors / there.words:.1f}",
                f"{100 * elsewhere.errors / elsewhere.words:.1f}",
                f"{there.invented} in {there.seconds / 60:.0f} min, {elsewhere.invented} in "
                f"{elsewhere.seconds / 60:.0f} min",
            ]
        )
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    print(
        table(["", "names found", "errors beside names, %", "errors elsewhere, %", "invented there, elsewhere"], rows)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
