"""Where sound comes out of each format that is taken, beside other decoders.

    python -m scripts.formats            the table
    python -m scripts.formats --write    and into docs/formats.md
    python -m scripts.formats opus mp4   only rows whose name has one of these words

The files are made by the ffmpeg on the path, which takes half a minute. faster-whisper and soundfile have a column
where they are installed. Exit status: 0, or 1 where a row is more than 5 ms off and no reason is known.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.formats.files import ROWS, Row, ffmpeg_version, make
from tools.formats.measure import Decode, Timing, decoders, timing

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
BEGIN, END = "<!-- the table: python -m scripts.formats --write -->\n", "<!-- its end -->\n"
EXACT = 5.0  # milliseconds


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.formats", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="only rows whose name has one of these")
    parser.add_argument("--write", action="store_true", help="write the table into docs/formats.md")
    args = parser.parse_args(argv)
    if args.write and args.words:
        parser.error("--write takes the whole table: leave the words out.")
    rows = [row for row in ROWS if not args.words or any(word in row.name for word in args.words)]
    measured = measure(rows, decoders())
    text = f"{made_by()}\n\n{table(measured)}"
    print(text)
    if args.write:
        write(text, PAGE)
    off = unexplained(measured)
    for name in off:
        print(f"{name}: over {EXACT:g} ms off, and no reason is given in tools/formats/files.py", file=sys.stderr)
    return 1 if off else 0


def measure(rows: Sequence[Row], decode: Mapping[str, Decode]) -> dict[Row, dict[str, Timing | None]]:
    """Each row's file, measured by each decoder; a row is left out where ffmpeg lacks its encoder."""
    measured = {}
    for row in rows:
        try:
            data = make(row)
        except subprocess.CalledProcessError:
            print(f"{row.name}: this ffmpeg cannot make it", file=sys.stderr)
            continue
        measured[row] = {name: timing(one, data) for name, one in decode.items()}
    return measured


def table(measured: Mapping[Row, Mapping[str, Timing | None]]) -> str:
    """As Markdown; a decoder that refuses a file, or hears nothing in it, has a dash."""
    names = list(next(iter(measured.values()), {}))
    lines = [f"| container, codec | {' | '.join(names)} | why |", "|---" * (len(names) + 2) + "|"]
    for row, timings in measured.items():
        cells = [_cell(timings[name]) for name in names]
        lines.append(f"| {row.name} | {' | '.join(cells)} | {row.reason if _is_off(timings) else ''} |")
    return "\n".join(lines) + "\n"


def made_by() -> str:
    import av

    ours = ".".join(map(str, av.library_versions["libavcodec"]))
    return (
        f"Made by ffmpeg {ffmpeg_version()}, the AMR files by PyAV; decoded by PyAV "
        f"{importlib.metadata.version('av')} (libavcodec {ours})."
    )


def unexplained(measured: Mapping[Row, Mapping[str, Timing | None]]) -> list[str]:
    """The rows whose error is over `EXACT` for no known reason."""
    return [row.name for row, timings in measured.items() if _is_off(timings) and not row.reason]


def write(text: str, page: Path) -> None:
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def _is_off(timings: Mapping[str, Timing | None]) -> bool:
    ours = next(iter(timings.values()))
    return ours is None or max(abs(ours.onset), abs(ours.length)) > EXACT


def _cell(one: Timing | None) -> str:
    return (
        "-" if one is None else f"{one.onset:+.1f}, {one.length:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")
    )
