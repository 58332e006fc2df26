from __future__ import annotations

from pathlib import Path

import pytest

from turnscribe.speeds import MOST_KEPT, Expected, Speeds


def test_nothing_seen_is_a_guess() -> None:
    assert Speeds().expect("asr", "base, cpu", 100.0, guess=0.1) == Expected(10.0, False)


def test_what_was_seen_counts_by_how_long_ago_it_was_and_how_long_the_recording() -> None:
    speeds = Speeds()
    speeds.add("asr", "base, cpu", 100.0, 10.0)
    assert speeds.expect("asr", "base, cpu", 50.0, guess=9.0).seconds == pytest.approx(5.0)
    assert speeds.expect("asr", "large, cpu", 50.0, guess=9.0) == Expected(450.0, False)
    speeds.add("asr", "base, cpu", 3600.0, 72.0)
    near, far = (speeds.expect("asr", "base, cpu", long, guess=9.0).seconds / long for long in (100.0, 3600.0))
    assert 0.02 < far < 0.03 < 0.08 < near < 0.1
    for _ in range(8):
        speeds.add("asr", "base, cpu", 100.0, 30.0)
    assert speeds.expect("asr", "base, cpu", 100.0, guess=9.0).seconds == pytest.approx(30.0)


def test_a_later_process_knows_them(tmp_path: Path) -> None:
    speeds, path = Speeds(), tmp_path / "cache" / "speeds.json"
    for number in range(MOST_KEPT + 5):
        speeds.add("asr", f"model {number}", 100.0, 10.0)
    speeds.write(path)
    again = Speeds.read(path)
    known = again.expect("asr", f"model {MOST_KEPT + 4}", 10.0, guess=9.0)
    assert known.seen
    assert known.seconds == pytest.approx(1.0)
    assert not again.expect("asr", "model 4", 10.0, guess=9.0).seen


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"version": 2, "speeds": {}}',
        '{"version": 1, "speeds": {"a": 1}}',
        '{"version": 1, "speeds": {"asr: b": [[0, 1]]}}',
        '{"version": 1, "speeds": {"asr: b": [["1", 2]]}}',
        '{"version": 1, "speeds": []}',
    ],
)
def test_a_file_that_is_none_of_ours_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "speeds.json").write_text(text)
    assert not Speeds.read(tmp_path / "speeds.json").expect("asr", "b", 1.0, guess=1.0).seen
    assert not Speeds.read(tmp_path / "gone.json").expect("asr", "b", 1.0, guess=1.0).seen
