"""Agreement of two transcripts, counted; and the command on the demo recording."""

from __future__ import annotations

import pytest

from tests.conftest import REPOSITORY
from tools.benchmarks.precision import Agreement, main
from turnscribe.transcript import Word

SAID = [Word(" one", 0.0, 0.4), Word(" two", 0.5, 0.9), Word(" three", 1.0, 1.4), Word(" four", 1.5, 1.9)]


def test_what_is_the_same_is_counted() -> None:
    moved = [Word(word.text, word.start + 0.02 * index, word.end) for index, word in enumerate(SAID)]
    agreement = Agreement().with_one(SAID, moved).with_one(SAID, SAID[:3])
    assert str(agreement) == "1 of 2 | 87.50 % of 8 | 50.0 %"


@pytest.mark.parametrize(("theirs", "ours"), [(SAID, []), ([], SAID)])
def test_all_or_nothing_is_no_agreement(theirs: list[Word], ours: list[Word]) -> None:
    assert Agreement().with_one(theirs, ours).edits == 4
    assert Agreement().with_one([], []).same == 1


@pytest.mark.models
def test_the_demo_recording_in_bfloat16(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ASR_MODEL", "demo/whisper")
    assert main([str(REPOSITORY / "demo" / "conversation.flac"), "--dtypes", "bfloat16"]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("| bfloat16 | ")
    assert float(last.split("|")[3].split()[0]) > 90
    with pytest.raises(SystemExit):
        main([])
    assert main(["nowhere.wav"]) == 2
