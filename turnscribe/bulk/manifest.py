"""The list of what to transcribe, and how each went: one format, JSON lines, for what goes in and what comes out.

    {"uri": "s3://bucket/talk.mp4", "parameters": {"language": "en"}}

Only `uri` has to be there. `output` is where the results go, without their suffixes; `parameters` are a request's.
A finished run adds `status` ("done", "exists" or "failed"), `error`, `duration` and `seconds`, so a report is itself
a manifest: given again, what failed is tried again. Flyte's tasks add `made_by` and `outdated`, for the next run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace

from turnscribe.bulk.places import Missing, PlaceError, absolute, find, join, read, shown, write
from turnscribe.formats import find_format
from turnscribe.inputs.suffixes import is_recording

MANIFEST_SUFFIX = ".jsonl"
MAX_MANIFEST_BYTES = 2**30
MANY_FOLDERS = 20  # of outputs: beyond, asking for each file is less work than listing
LOOKUPS = 32  # at places, at a time
REPORT = "manifest.jsonl"  # in the output folder
ANSWER = ".json"  # the output that is written last: where it is, the others are


class ManifestError(ValueError):
    """One sentence: which line of which manifest is wrong."""


@dataclass(frozen=True)
class Entry:
    """One recording; what follows `size` is known once it was transcribed.

    `size` is in bytes (0: unknown), `duration` the recording's seconds, `seconds` what the transcription took.
    `made_by` tells the recording's content, models and parameters that make the answer from others (`None`: nobody
    knows); `outdated` says that the answer that is there, if one is, may still be of others.
    """

    uri: str
    output: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    size: int = 0
    status: str | None = None
    error: str | None = None
    duration: float | None = None
    seconds: float | None = None
    made_by: str | None = None
    outdated: bool = False

    @property
    def answer(self) -> str:
        return self.output + ANSWER

    def rendering(self, name: str) -> str:
        """Where the result in the format `name` is."""
        return f"{self.output}.{find_format(name).suffix}"

    def results(self, formats: Sequence[str]) -> list[str]:
        """Where everything is that a run with these formats writes."""
        return [self.answer, *map(self.rendering, formats)]


def list_entries(inputs: Sequence[str], output: str, earlier: Sequence[Entry] = ()) -> list[Entry]:
    """The recordings in folders, below prefixes, in manifests and given singly, each once, in order.

    `output` is the folder (or prefix) of the results: a recording's have its name below what was given, its suffix
    included (`talks/a.mp3.json`), and where two would be the same, a piece of their URIs' hashes as well. Those that
    are in it by the `earlier` report keep their names, whatever else is in the list by now. Raises `ManifestError`,
    or `PlaceError` for an input that is not there.
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
    below = join(absolute(output), "")
    kept = {_recording(entry): entry.output for entry in reversed(earlier) if entry.output.startswith(below)}
    entries = [
        replace(entry, output=entry.output or kept.get(_recording(entry)) or below + _distinct(entry, name, names))
        for entry, name in found.values()
    ]
    for place, number in Counter(entry.output for entry in entries).items():
        if number > 1:
            raise ManifestError(f"{shown(place)} is the output of {number} recordings: give each its own.")
    return entries


def _found(given: str) -> Iterator[tuple[Entry, str]]:
    if shown(given).endswith(MANIFEST_SUFFIX):
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
        elif is_recording(_last(uri)):
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
        return [replace(entry, uri=absolute(entry.uri)) for entry in from_text(text)]  # it may be a list by hand
    except (ValueError, TypeError) as e:
        raise ManifestError(f"{shown(place)} is no report of an earlier run: give another output.") from e


def merge_report(entries: Sequence[Entry], earlier: Sequence[Entry]) -> list[Entry]:
    """`entries`, and after them those of the `earlier` report that are not among them, by recording and by output.

    What was done before and exists keeps what is known of it. Raises `ManifestError` where an output has the answer
    of another recording, or one exists that was made with other parameters: it would be taken for this one's.
    """
    before = {entry.output: entry for entry in earlier}
    _check_owners(entries, before)
    known = [
        _remembered(entry, before[entry.output]) if entry.status == "exists" and entry.output in before else entry
        for entry in entries
    ]
    outputs, recordings = {entry.output for entry in entries}, {_recording(entry) for entry in entries}
    others = [entry for entry in earlier if entry.output not in outputs and _recording(entry) not in recordings]
    return known + others


def add_to_report(entries: Sequence[Entry], output: str, earlier: Sequence[Entry]) -> None:
    """Writes the report into `output`: `merge_report` of both. Raises `ManifestError`, `PlaceError`."""
    write(join(absolute(output), REPORT), to_text(merge_report(entries, earlier)))


def _check_owners(entries: Sequence[Entry], before: Mapping[str, Entry]) -> None:
    """Where another recording was to have the output, it is that one's once its answer is there."""
    others = [
        (entry, before[entry.output])
        for entry in entries
        if entry.output in before and _recording(before[entry.output]) != _recording(entry)
    ]

    def owns(owner: Entry) -> bool:
        return owner.status in ("done", "exists") or any(find(owner.answer).values())

    with ThreadPoolExecutor(LOOKUPS) as pool:
        for (entry, owner), owned in zip(others, pool.map(owns, [owner for _, owner in others]), strict=True):
            if owned:
                raise ManifestError(
                    f"{shown(entry.output)} holds the answer of {shown(owner.uri)}, and not of {shown(entry.uri)}: "
                    "give another output."
                )


def _remembered(entry: Entry, before: Entry) -> Entry:
    if _recording(before) != _recording(entry):
        return entry
    if before.parameters != entry.parameters:
        raise ManifestError(
            f"{shown(entry.answer)} was made with other parameters: give another output, or delete it."
        )
    return replace(before, uri=entry.uri, size=entry.size, status=entry.status, error=None)


def _recording(entry: Entry) -> str:
    """Its URI, but for a signature, which differs from day to day; any other query is a name."""
    signed = re.search("[?&](X-Amz-Signature|X-Goog-Signature|sig|Signature)=", entry.uri)
    return shown(entry.uri) if signed else entry.uri


def left_to_do(entries: Sequence[Entry], output: str, formats: Sequence[str] = ()) -> tuple[list[Entry], list[Entry]]:
    """Those of whose results one is missing or empty, and the others, with the status "exists".

    One listing of `output` tells; of outputs elsewhere, one for each folder, or where these are many, each file's.
    """
    base = absolute(output).rstrip("/") + "/"
    elsewhere = [file for entry in entries if not entry.output.startswith(base) for file in entry.results(formats)]
    places = list(dict.fromkeys(file.rpartition("/")[0] for file in elsewhere))
    if len(places) > MANY_FOLDERS:
        places = elsewhere
    with ThreadPoolExecutor(LOOKUPS) as pool:
        listings = [pool.submit(find, absolute(output)), *(pool.submit(find, place, depth=1) for place in places)]
        sizes = {uri: size for listing in listings for uri, size in listing.result().items()}
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
    seconds = sum(entry.duration or 0 for entry in entries if entry.status == "done")
    parts = [f"{counts['done']} done ({seconds / 60:.1f} minutes of audio)", f"{counts['exists']} there already"]
    return ", ".join([*parts, f"{counts['failed']} failed"])
