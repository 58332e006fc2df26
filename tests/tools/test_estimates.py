from __future__ import annotations

import shlex

import pytest

from tests.manual import block
from tools.benchmarks.estimates import Told, _parser, errors_of, main


def test_estimates_are_held_against_the_time_that_was_left() -> None:
    told = [Told(1, 900), Told(10, 99), Told(50, 55), Told(80, 20), Told(95, 10)]
    errors = errors_of(told, 100)
    assert errors.of_what_is_left == (pytest.approx(0.1), pytest.approx(0.1))
    assert errors.of_the_whole == (pytest.approx(0.09), pytest.approx(0.05))
    with pytest.raises(ValueError, match="Nothing"):
        errors_of([Told(1, 1)], 100)


def test_the_manuals_command_is_one() -> None:
    words = shlex.split(block("sh", "tools.benchmarks.estimates"))
    args = _parser().parse_args(words[words.index("tools.benchmarks.estimates") + 1 :])
    assert args.minutes == [3, 30]


@pytest.mark.models
def test_both_times_are_in_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ASR_MODEL", "demo/whisper")
    monkeypatch.setenv("DIARIZATION_MODEL", "demo/diarizer")
    assert main(["--minutes", "1"]) == 0
    _, _, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("| 1 | first | ")
    assert second.startswith("| 1 | second | ")
