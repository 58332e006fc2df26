"""The table of formats: what it measures is right, and each row that is not exact has its reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tools.formats import command
from tools.formats.files import FREQUENCY, ONSET, ROWS, tone
from tools.formats.measure import Timing, decoders, onset
from turnscribe.inputs.decode import decode_audio

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="builds its files with ffmpeg")

SHOWN = (
    "wav, pcm_s16le",
    "mp3, mp3, constant rate",
    "aac, aac",
    "ogg, opus",
    "m4a, aac",
    "mp4, opus",
    "webm, opus, video",
)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_tone_is_found_where_it_begins(rate: int) -> None:
    times = np.arange(rate) / rate
    assert onset(np.sin(2 * np.pi * FREQUENCY * times) * (times > 0.5), rate) == pytest.approx(0.5, abs=0.0005)
    assert onset(np.zeros(rate, np.float32), rate) is None
    assert onset(decode_audio(tone()).mono, 16_000) == pytest.approx(ONSET, abs=0.0005)


def test_rows_are_exact_or_say_why_not() -> None:
    rows = [row for row in ROWS if row.name in SHOWN]
    assert len(rows) == len(SHOWN)
    measured = command.measure(rows, dict(list(decoders().items())[:1]))
    assert command.unexplained(measured) == []
    off = [row.name for row, timings in measured.items() for one in timings.values() if one is None or one.onset > 5]
    assert off == ["aac, aac"]


def test_the_table_has_a_reason_only_where_ours_is_off() -> None:
    row = next(row for row in ROWS if row.name == "aac, aac")
    exact, late = Timing(0.04, -0.04), Timing(21.4, 29.3)
    assert command.table({row: {"Turnscribe": exact, "other": late}}).endswith(
        "| aac, aac | 0.0, 0.0 | +21.4, +29.3 |  |\n"
    )
    assert row.reason in command.table({row: {"Turnscribe": late, "other": None}})
    assert command.unexplained({ROWS[0]: {"Turnscribe": late}}) == [ROWS[0].name]


def test_the_page_keeps_what_is_around_the_table(tmp_path: Path) -> None:
    page = tmp_path / "formats.md"
    page.write_text(f"before\n{command.BEGIN}old\n{command.END}after\n")
    command.write("new", page)
    assert page.read_text() == f"before\n{command.BEGIN}\nnew\n{command.END}after\n"
    assert command.BEGIN in command.PAGE.read_text()
