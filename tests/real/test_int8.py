"""Products of 8-bit integers on real speech, held against their slow twin, float32."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest

from tests.real import precision
from tests.real.row import Row
from tests.real.systems import endpoint_handler, heard_by
from turnscribe.engine.linear import multiplies_int8

GROUPS = ("reading en", "prompt en", "message fr", "conversation en")
FRAME = 0.02  # seconds

needs_int8 = pytest.mark.skipif(not multiplies_int8(), reason="this processor has no VNNI")


@needs_int8
def test_words_and_times_are_those_of_float32(measured: Sequence[Row], real_models: Path) -> None:
    """As measured over all: 174 of 210 texts the same, 99 % of the words of both within a frame."""
    handler = endpoint_handler(real_models, "int8")
    words = same = near = 0
    for row in measured:
        if row.recording.group not in GROUPS:
            continue
        exact = row.heard.words
        ours = heard_by(handler, row.recording.load().audio, diarize=False).words
        assert exact is not None
        assert ours is not None
        words += len(exact)
        blocks = SequenceMatcher(None, [w.text for w in exact], [w.text for w in ours], autojunk=False)
        for first, second, count in blocks.get_matching_blocks():
            same += count
            pairs = zip(exact[first : first + count], ours[second : second + count], strict=True)
            near += sum(bool(np.abs(np.subtract(a.span, b.span)).max() < FRAME + 0.001) for a, b in pairs)
    assert words > 500
    assert same > 0.96 * words
    assert near > 0.95 * same


@needs_int8
def test_what_has_more_bits_needs_them(
    real_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "WINDOWS", 1)
    monkeypatch.setattr(precision, "fetch_models", lambda: real_models)
    assert precision.main() == 0
    rows = [line.strip("|").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    moved = {row[0].strip(): float(row[1].split()[0]) for row in rows}
    diverges = {row[0].strip(): float(row[2].split(",")[0]) for row in rows}
    assert moved["encoder's layer 0 int8"] > 2 * max(moved[f"encoder's layer {layer} int8"] for layer in range(1, 6))
    assert moved["the encoder as it is"] < 0.75 * moved["the whole encoder int8"]
    assert diverges["output layer fine"] < 0.5 * diverges["output layer int8"]
