"""`make demo`: what it prints of an answer beside its reference, and what it does without the real models."""

from __future__ import annotations

import pytest

from tools.demo import command, real, synthetic
from turnscribe.cli.evaluation.references import Reference, spoken
from turnscribe.errors import SettingsError
from turnscribe.transcript import Turn

ANSWER = {
    "text": "Hello. Oh yellow, I did know you were there now.",
    "duration": 10.0,
    "formatted": "SPEAKER recording 1 1.000 3.000 <NA> <NA> SPEAKER_00 <NA> <NA>\n"
    "SPEAKER recording 1 4.000 2.000 <NA> <NA> SPEAKER_00 <NA> <NA>\n",
}
REFERENCE = Reference(
    words=tuple(spoken("Hello. Oh hello, I didn't know you were there.")),
    turns=(Turn("anna", 1.0, 4.0), Turn("ben", 4.0, 6.5)),
)


def test_an_answer_is_held_against_its_reference() -> None:
    text = real.judged(ANSWER, REFERENCE)
    assert "hello oh [-hello-] {+yellow+} i [-didnt-] {+did+} know you were there {+now+}" in text
    assert "word error rate 33.3%: of 9 words 2 are other words and 0 missing; 1 were not said" in text
    assert (
        "diarization error rate 45.5%: of 5.5 s of speech 0.5 s missed, 0.0 s nobody spoke, 2.0 s other speaker"
        in text
    )


def test_without_words_in_the_reference_only_the_speakers_are_judged() -> None:
    text = real.judged(ANSWER, Reference(turns=REFERENCE.turns))
    assert text.startswith("diarization error rate")


def test_the_telephone_call_is_found_without_importing_pyannote_and_has_its_turns() -> None:
    reference = real.read_reference(real.sample())
    assert reference.turns is not None
    assert len({turn.speaker for turn in reference.turns}) == 2


def test_without_the_real_models_the_demo_models_speak_and_one_line_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise SettingsError("whisper-base could not be fetched: no package index has it.")

    monkeypatch.setattr(real, "fetch_models", refuse)
    monkeypatch.setattr(synthetic, "run", lambda: 0)
    assert command.main() == 0
    reason = "whisper-base could not be fetched: no package index has it"
    assert capsys.readouterr().out == f"The real models cannot be had ({reason}), so the demo models speak.\n\n"


def test_an_interrupted_demo_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(real, "fetch_models", interrupt)
    assert command.main() == 130
    assert "goes on from there" in capsys.readouterr().err
