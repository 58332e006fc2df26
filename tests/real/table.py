"""The figures of several programs as tables in Markdown: words, speakers, and what is heard where nobody speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.real.scoring import Heard
from tests.real.sources import NOBODY_SPEAKS, Recording
from turnscribe.cli.evaluation.measures import Figures, Ratio, total
from turnscribe.formats.times import timestamp

Rows = Sequence[tuple[Recording, Figures, Heard]]


def tables(measured: Mapping[str, Rows]) -> str:
    return "\n\n".join(filter(None, (words(measured), languages(measured), speakers(measured), nobody(measured))))


def words(measured: Mapping[str, Rows]) -> str:
    """Word error rate, with the words that were substituted, deleted and inserted, by group and over each kind."""
    first = next(iter(measured.values()))
    groups = list(dict.fromkeys(recording.group for recording, _, _ in first if recording.kind not in NOBODY_SPEAKS))
    lines = []
    for group in groups:
        of_group = {name: _figures(rows, group) for name, rows in measured.items()}
        one = next(iter(of_group.values()))
        if one.wer is not None:
            cells = [group, str(one.recordings), timestamp(one.seconds)[:-4], f"{one.wer.whole:g}"]
            lines.append([*cells, *map(_errors, of_group.values())])
    return _table(["", "recordings", "audio", "words", *measured], lines) if lines else ""


def languages(measured: Mapping[str, Rows]) -> str:
    """In how many recordings of a group the language was found that is spoken, where that was not all of them."""
    first = next(iter(measured.values()))
    lines = []
    for group in dict.fromkeys(recording.group for recording, _, _ in first if recording.language):
        right = {
            name: [heard.language == recording.language for recording, _, heard in rows if recording.group == group]
            for name, rows in measured.items()
        }
        if not all(map(all, right.values())):
            lines.append([group, *(f"{sum(found)} of {len(found)}" for found in right.values())])
    return _table(["the right language", *measured], lines) if lines else ""


def speakers(measured: Mapping[str, Rows]) -> str:
    """Of the recordings with several voices, one line each."""
    lines = []
    for name, rows in measured.items():
        for recording, figures, _ in rows:
            if figures.der is not None and figures.speakers_found is not None:
                parts = (figures.missed, figures.false_alarm, figures.confusion)
                found = figures.speakers_found
                cells = [recording.name, percent(figures.der), " + ".join(map(percent, parts))]
                cells += [percent(figures.cpwer), percent(figures.tcpwer), f"{found.part:g} of {found.whole:g}"]
                lines.append([name, *cells])
    heading = ["", "recording", "DER", "missed + false alarm + confused", "cpWER", "tcpWER", "speakers"]
    return _table(heading, lines) if lines else ""


def nobody(measured: Mapping[str, Rows]) -> str:
    """Words where nobody speaks, and in how many recordings."""
    lines = []
    for name, rows in measured.items():
        counts = [
            figures.insertions.part for one, figures, _ in rows if one.kind in NOBODY_SPEAKS and figures.insertions
        ]
        if counts:
            lines.append([name, f"{sum(counts):g}", f"{sum(map(bool, counts))} of {len(counts)}"])
    return _table(["nobody speaks", "words", "recordings with words"], lines) if lines else ""


def percent(ratio: Ratio | None) -> str:
    return "-" if ratio is None or ratio.value is None else f"{100 * ratio.value:.1f} %"


def _figures(rows: Rows, group: str) -> Figures:
    return total(figures for recording, figures, _ in rows if recording.group == group and figures.wer)


def _errors(figures: Figures) -> str:
    parts = [figures.substitutions, figures.deletions, figures.insertions]
    counts = " ".join(f"{part.part:g}" for part in parts if part is not None)
    return f"{percent(figures.wer)} ({counts})"


def _table(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heading, ["---"] * len(heading), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
