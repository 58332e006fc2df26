"""The languages against those of the tokenizer that transformers brings."""

from __future__ import annotations

from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

from turnscribe.whisper.languages import language_code, language_name


def test_names_are_those_of_whisper() -> None:
    assert {code: language_name(code) for code in LANGUAGES} == LANGUAGES
    assert language_name("English") == "english"


def test_every_name_that_whisper_knows_has_its_code() -> None:
    assert {name: language_code(name) for name in TO_LANGUAGE_CODE} == TO_LANGUAGE_CODE
    assert {code: language_code(code) for code in LANGUAGES} == {code: code for code in LANGUAGES}


def test_others_are_unknown() -> None:
    assert [language_code(name) for name in ("", "-", "klingon", "x" * 500)] == [None] * 4
