"""The figures of several programs as tables in Markdown, by a name for each.

Words, languages, speakers, what is heard where nobody speaks, what is told twice; times are in `time_tables.py`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata

from tests.real.markdown import table
from tests.real.recording import NOBODY_SPEAKS, PLACED, READ
from tests.real.row import Row
from tests.real.systems import System
from tests.real.time_tables import boundaries, times
from turnscribe.cli.evaluation.measures import Figures, Ratio, total
from turnscribe.formats.times import timestamp
from turnscribe.whisper.languages import language_name

Measured = Mapping[System, Sequence[Row]]
Group = Callable[[Row], bool]
PACKAGES = ("torch", "transformers", "ctranslate2", "faster-whisper", "openai-whisper", "jiwer", "meeteval")


def tables(measured: Measured) -> dict[str, str]:
    """Those that have a line."""
    greedy = {system: rows for system, rows in measured.items() if system.beams == 1}
    beams = {system: rows for system, rows in measured.items() if system.beams > 1}
    made = {
        "about": about(measured),
        "groups": words(greedy, groups(measured)),
        "groups, 5 beams": words(beams, groups(measured)),
        "sets": words(greedy, sets(measured)),
        "sets, 5 beams": words(beams, sets(measured)),
        "languages": languages(greedy),
        "nobody": nobody(measured),
        "twice": twice(measured),
        "times": times(measured),
        "boundaries": boundaries(measured),
        "speakers": speakers(measured),
    }
    return {name: text for name, text in made.items() if text}


def about(measured: Measured) -> str:
    """How much was measured, with what."""
    rows = next(iter(measured.values()))
    minutes = sum(row.figures.seconds for row in rows) / 60
    versions = [f"{name} {metadata.version(name)}" for name in PACKAGES if _installed(name)]
    return (
        f"{len(rows)} recordings, {minutes:.0f} minutes; Python {platform.python_version()}, {', '.join(versions)}."
    )


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


# Words -----------------------------------------------------------------------------------------------


def groups(measured: Measured) -> dict[str, Group]:
    """What people ask for: everything, each language, conversation, read speech; of recordings as they are."""
    rows = next(iter(measured.values()))
    spoken = sorted({row.recording.language for row in rows if row.recording.language and _as_it_is(row)})
    by_language: dict[str, Group] = {
        language_name(code): lambda row, code=code: row.recording.language == code  # type: ignore[misc]
        for code in sorted(spoken, key=lambda code: (code != "en", language_name(code)))
    }
    chosen: dict[str, Group] = {
        "all": lambda row: True,
        **by_language,
        "conversation": lambda row: row.recording.kind == "conversation",
        "read speech": lambda row: row.recording.kind in READ,
    }
    return {name: lambda row, of=of: _as_it_is(row) and of(row) for name, of in chosen.items()}  # type: ignore[misc]


def sets(measured: Measured) -> dict[str, Group]:
    rows = next(iter(measured.values()))
    names = dict.fromkeys(row.recording.group for row in rows if row.recording.kind not in NOBODY_SPEAKS)
    return {name: lambda row, name=name: row.recording.group == name for name in names}  # type: ignore[misc]


def _as_it_is(row: Row) -> bool:
    return row.recording.kind not in (*PLACED, *NOBODY_SPEAKS)


def words(measured: Measured, chosen: Mapping[str, Group]) -> str:
    """Word error rate, with the words that were substituted, deleted and inserted, by group."""
    lines = []
    for name, group in chosen.items():
        of_group = [_figures(filter(group, rows)) for rows in measured.values()]
        if of_group and of_group[0].wer is not None:
            one = of_group[0]
            cells = [name, str(one.recordings), timestamp(one.seconds)[:-4], f"{_whole(one.wer):g}"]
            lines.append([*cells, *map(_errors, of_group)])
    return table(["", "recordings", "audio", "words", *(system.name for system in measured)], lines) if lines else ""


def _figures(rows: Iterable[Row]) -> Figures:
    return total(row.figures for row in rows if row.figures.wer)


def _whole(ratio: Ratio | None) -> float:
    return ratio.whole if ratio else 0.0


def _errors(figures: Figures) -> str:
    parts = [figures.substitutions, figures.deletions, figures.insertions]
    counts = " ".join(f"{part.part:g}" for part in parts if part is not None)
    return f"{percent(figures.wer)} ({counts})"


def percent(ratio: Ratio | None) -> str:
    return "-" if ratio is None or ratio.value is None else f"{100 * ratio.value:.1f} %"


# Languages, speakers, text that was not said ---------------------------------------------------------


def languages(measured: Measured) -> str:
    """In how many recordings another language was found than is spoken; sets without any are left out."""
    first = next(iter(measured.values()), ())
    names = dict.fromkeys(row.recording.group for row in first if row.recording.language)
    chosen: dict[str, Group] = {
        "all": lambda row: row.recording.language is not None,
        "10 s and more, twelve largest languages": lambda row: row.in_known_language,
        **{name: lambda row, name=name: row.recording.group == name for name in names},  # type: ignore[misc]
    }
    lines = []
    for name, group in chosen.items():
        wrong = [[wrong_language(row) for row in filter(group, rows)] for rows in measured.values()]
        if any(map(any, wrong)) or name not in names:
            lines.append([name, *(f"{sum(found)} of {len(found)}" for found in wrong)])
    return table(["the wrong language", *(system.name for system in measured)], lines) if names else ""


def wrong_language(row: Row) -> bool:
    return row.recording.language is not None and row.heard.language != row.recording.language


def nobody(measured: Measured) -> str:
    """Words where nobody speaks, and in how many recordings, by kind."""
    kinds = [
        kind for kind in NOBODY_SPEAKS if any(row.recording.kind == kind for row in next(iter(measured.values())))
    ]
    lines = []
    for system, rows in measured.items():
        cells = []
        for of in (NOBODY_SPEAKS, *((kind,) for kind in kinds)):
            counts = [unsaid(row) for row in rows if row.recording.kind in of]
            cells.append(f"{sum(counts)} in {sum(map(bool, counts))} of {len(counts)}")
        lines.append([system.name, *cells])
    return table(["words where nobody speaks", "all", *kinds], lines) if kinds else ""


def unsaid(row: Row) -> int:
    """Words heard in a recording in which nobody speaks."""
    return int(row.figures.insertions.part) if row.figures.insertions else 0


def twice(measured: Measured) -> str:
    lines = []
    for system, rows in measured.items():
        counts = [row.told_twice for row in rows if row.spoken.text]
        if counts:
            lines.append([system.name, str(sum(counts)), f"{sum(map(bool, counts))} of {len(counts)}"])
    return table(["told twice, or invented at length", "words", "recordings"], lines) if lines else ""


def speakers(measured: Measured) -> str:
    """Of the recordings with several voices, one line each."""
    lines = []
    for system, rows in measured.items():
        for row in rows:
            figures = row.figures
            if figures.der is not None and figures.speakers_found is not None:
                parts = (figures.missed, figures.false_alarm, figures.confusion)
                found = figures.speakers_found
                cells = [row.recording.name, percent(figures.der), " + ".join(map(percent, parts))]
                cells += [percent(figures.cpwer), percent(figures.tcpwer), f"{found.part:g} of {found.whole:g}"]
                lines.append([system.name, *cells])
    heading = ["", "recording", "DER", "missed + false alarm + confused", "cpWER", "tcpWER", "speakers"]
    return table(heading, lines) if lines else ""
