"""The list of what to transcribe, and how each went: one format, JSON lines, for what goes in and what comes out.

    {"uri": "s3://bucket/talk.mp4", "parameters": {"language": "en"}}

Only `uri` has to be there. `output` is where the results go, without their suffixes; `parameters` are a request's.
A finished run adds `status` ("done", "exists" or "failed"), `error`, `duration` and `seconds`, so a report is itself
a manifest: given again, what failed is tried again. Knows neither models nor workers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from scripts.bulk.places import Missing, PlaceError, absolute, find, join, read, shown
from scripts.transcribe import MEDIA, SUFFIXES

MANIFEST_SUFFIX = ".jsonl"
MAX_MANIFEST_BYTES = 2**30
MANY_FOLDERS = 20  # of outputs: beyond, asking for each file is less work than listing
LOOKS = 32  # at places, at a time
REPORT = "manifest.jsonl"  # in the output folder
ANSWER = ".json"  # the output that is written last: where it is, the others are


class ManifestError(ValueError):
    """One sentence: which line of which manifest is wrong."""


@dataclass(frozen=True)
class Entry:
    """One recording; what follows `size` is known once it was transcribed.

    `size` is in bytes (0: unknown), `duration` the recording's seconds, `seconds` what the transcription took.
    """

    uri: str
    output: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0
    status: str | None = None
    error: str | None = None
    duration: float | None = None
    seconds: float | None = None

    @property
    def answer(self) -> str:
        return self.output + ANSWER

    def rendering(self, name: str) -> str:
        """Where the result in the format `name` is."""
        return f"{self.output}.{SUFFIXES.get(name, name)}"

    def results(self, formats: Sequence[str]) -> list[str]:
        """Where everything is that a run with these formats writes."""
        return [self.answer, *map(self.rendering, formats)]


def list_entries(inputs: Sequence[str], output: str) -> list[Entry]:
    """The recordings in folders, below prefixes, in manifests and given singly, each once, in order.

    `output` is the folder (or prefix) of the results: a recording's have its name below what was given, its suffix
    included (`talks/a.mp3.json`), and where two would be the same, a piece of their URIs' hashes as well. Raises
    `ManifestError`, or `PlaceError` for an input that is not there.
    """
    found: dict[str, tuple[Entry, str]] = {}  # by URI: the entry, and its name
    for given in inputs:
        for entry, name in _found(given):
            known, _ = found.setdefault(entry.uri, (entry, name))
            if (known.output, known.parameters) != (entry.output, entry.parameters):
                raise ManifestError(
                    f"{shown(entry.uri)} is named twice with other parameters or outputs: name it once a run."
                )
    names = Counter(name.casefold() for entry, name in found.values() if not entry.output)
    entries = [
        entry if entry.output else replace(entry, output=join(absolute(output), _distinct(entry, name, names)))
        for entry, name in found.values()
    ]
    for place, number in Counter(entry.output for entry in entries).items():
        if number > 1:
            raise ManifestError(f"{shown(place)} is the output of {number} recordings: give each its own.")
    return entries


def _found(given: str) -> Iterator[tuple[Entry, str]]:
    if given.endswith(MANIFEST_SUFFIX):
        for entry in parse(
            read(given, max_bytes=MAX_MANIFEST_BYTES).decode("utf-8-sig", errors="replace"), name=shown(given)
        ):
            yield entry, _last(entry.uri)
        return
    place = absolute(given)
    files = find(place)
    if not files:
        raise PlaceError(
            f"{shown(given)} is not there, or holds nothing: name a file, a folder, a prefix or a manifest."
        )
    for uri, size in files.items():
        if uri == place:
            yield Entry(uri, size=size), _last(uri)
        elif re.fullmatch(MEDIA, PurePosixPath(uri).suffix, re.I) and not _last(uri).startswith("."):
            yield Entry(uri, size=size), uri.removeprefix(place.rstrip("/") + "/")


def _last(uri: str) -> str:
    return shown(uri).rstrip("/").rpartition("/")[2] or "recording"


def _distinct(entry: Entry, name: str, names: Counter[str]) -> str:
    if names[name.casefold()] == 1:
        return name
    return f"{name}.{hashlib.sha256(entry.uri.encode()).hexdigest()[:8]}"


def parse(text: str, *, name: str = "The manifest") -> list[Entry]:
    """The entries of a manifest's text, as yet to be done; what failed before says so.

    Names that are not an entry's are left out. Raises `ManifestError`.
    """
    entries = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        wrong = f"{name}, line {number}"
        try:
            values = json.loads(line)
        except ValueError as e:
            raise ManifestError(f'{wrong} is not JSON: write {{"uri": "..."}} on a line for each recording.') from e
        if not isinstance(values, dict) or not isinstance(values.get("uri"), str) or not values["uri"].strip():
            raise ManifestError(f'{wrong} has no uri: write {{"uri": "..."}}.')
        parameters = values.get("parameters") or {}
        if not isinstance(parameters, dict) or not isinstance(values.get("output") or "", str):
            raise ManifestError(f"{wrong}: parameters must be an object, and output a text.")
        if (values.get("output") or "").endswith("/"):
            raise ManifestError(f"{wrong}: output is a folder; name the results too, without a suffix.")
        output, size = values.get("output") or "", values.get("size")
        entries.append(
            Entry(
                absolute(values["uri"].strip()),
                absolute(output) if output else "",
                parameters,
                size if isinstance(size, int) else 0,
                "failed" if values.get("status") == "failed" else None,
            )
        )
    return entries


def to_text(entries: Iterable[Entry]) -> str:
    """A manifest: what is not known is left out. Queries of URLs are kept, since they are needed to read again."""
    lines = []
    for entry in entries:
        values = {name: value for name, value in asdict(entry).items() if value not in (None, "", {}) and value != 0}
        lines.append(json.dumps(values) + "\n")  # in ASCII: some letters end a line
    return "".join(lines)


def from_text(text: str) -> list[Entry]:
    """The entries of a text of `to_text`, with what became of them."""
    return [Entry(**json.loads(line)) for line in text.split("\n") if line]


def read_report(output: str) -> list[Entry]:
    """What an earlier run into `output` left behind; nothing where none was. Raises `PlaceError`, `ManifestError`."""
    place = join(absolute(output), REPORT)
    try:
        text = read(place, max_bytes=MAX_MANIFEST_BYTES).decode(errors="replace")
    except Missing:
        return []
    try:
        return from_text(text)
    except (ValueError, TypeError) as e:
        raise ManifestError(f"{shown(place)} is no report of an earlier run: give another output.") from e


def merge_report(entries: Sequence[Entry], earlier: Sequence[Entry]) -> list[Entry]:
    """`entries`, and after them those of the `earlier` report that are not among them.

    What was done before keeps its duration and seconds. Raises `ManifestError` where an output belongs to another
    recording: its answer would be taken for this one's.
    """
    before = {entry.output: entry for entry in earlier if entry.status != "failed"}
    for entry in entries:
        owner = before.get(entry.output, entry).uri
        if owner != entry.uri and not (_is_signed(owner) and shown(owner) == shown(entry.uri)):
            raise ManifestError(
                f"{shown(entry.output)} holds the answer of {shown(owner)}, and not of {shown(entry.uri)}: give "
                "another output."
            )
    known = [
        replace(entry, duration=before[entry.output].duration, seconds=before[entry.output].seconds)
        if entry.status == "exists" and entry.output in before
        else entry
        for entry in entries
    ]
    own = {entry.output for entry in entries}
    return known + [entry for entry in earlier if entry.output not in own]


def _is_signed(uri: str) -> bool:
    """Whether the query is a signature, which differs from day to day, rather than a name."""
    return re.search("[?&](X-Amz-Signature|X-Goog-Signature|sig|Signature)=", uri) is not None


def left_to_do(entries: Sequence[Entry], output: str, formats: Sequence[str] = ()) -> tuple[list[Entry], list[Entry]]:
    """Those of whose results one is missing or empty, and the others, with the status "exists".

    One listing of `output` tells; of outputs elsewhere, one for each folder, or where these are many, each file's.
    """
    base = absolute(output).rstrip("/") + "/"
    elsewhere = [file for entry in entries if not entry.output.startswith(base) for file in entry.results(formats)]
    places = list(dict.fromkeys(file.rpartition("/")[0] for file in elsewhere))
    if len(places) > MANY_FOLDERS:
        places = elsewhere
    with ThreadPoolExecutor(LOOKS) as pool:
        sizes = {uri: size for listed in pool.map(find, [absolute(output), *places]) for uri, size in listed.items()}
    there = [all(map(sizes.get, entry.results(formats))) for entry in entries]
    return (
        [replace(entry, status=None) for entry, done in zip(entries, there, strict=True) if not done],
        [replace(entry, status="exists") for entry, done in zip(entries, there, strict=True) if done],
    )


def bundles(entries: Sequence[Entry], *, files: int, size_bytes: int) -> list[list[Entry]]:
    """The entries in bundles of at most `files` of them and, but for a larger one alone, `size_bytes` together.

    The largest come first, so that none of them is begun when the others have ended; files of one bundle are of
    similar length, and share the engine's batches. A file of unknown size counts as a quarter of a bundle.
    """
    most = size_bytes // 4
    by_size = sorted(entries, key=lambda entry: -(entry.size or most))
    made: list[list[Entry]] = []
    room = 0
    for entry in by_size:
        if not made or len(made[-1]) == files or (entry.size or most) > room:
            made.append([])
            room = size_bytes
        made[-1].append(entry)
        room -= entry.size or most
    return made


def summary(entries: Sequence[Entry]) -> str:
    """One line: how many are done, were there already and failed, and how fast it went."""
    counts = Counter(entry.status for entry in entries)
    heard = sum(entry.duration or 0 for entry in entries if entry.status == "done")
    parts = [f"{counts['done']} done ({heard / 60:.1f} minutes of audio)", f"{counts['exists']} there already"]
    return ", ".join([*parts, f"{counts['failed']} failed"])
