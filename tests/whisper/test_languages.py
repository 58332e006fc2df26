"""The languages against those of the tokenizer that transformers brings."""

from __future__ import annotations

import pytest
from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

from turnscribe.whisper.languages import _OTHER_CODES, _codes, _pairs, language_code, language_name


def test_names_are_those_of_whisper() -> None:
    assert {code: language_name(code) for code in LANGUAGES} == LANGUAGES
    assert language_name("English") == "english"


def test_every_name_that_whisper_knows_has_its_code() -> None:
    assert {name: language_code(name) for name in TO_LANGUAGE_CODE} == TO_LANGUAGE_CODE
    assert {code: language_code(code) for code in LANGUAGES} == {code: code for code in LANGUAGES}


@pytest.mark.parametrize(
    ("code", "others"),
    [
        ("no", "nb nob nor nb-NO Bokmål"),
        ("nn", "nno nn-NO"),
        ("jw", "jv jav Javanese"),
        ("he", "iw heb iw-IL"),
        ("tl", "fil tgl Filipino fil-PH"),
        ("id", "in ind"),
        ("yi", "ji yid"),
        ("ro", "mo ron rum"),
        ("zh", "zho chi cmn cmn-Hans-CN zh_CN zh-TW"),
        ("yue", "zh-yue YUE yue-HK"),
        ("en", "eng EN-us"),
        ("de", "deu ger de-CH"),
        ("fr", "fra fre"),
        ("pt", "por pt-BR"),
        ("fa", "fas per pes farsi"),
        ("haw", "haw"),
    ],
)
def test_codes_that_others_use_are_taken(code: str, others: str) -> None:
    assert {other: language_code(other) for other in others.split()} == dict.fromkeys(others.split(), code)


def test_every_language_has_its_code_of_three_letters() -> None:
    """ISO 639-3 gives each one; no code stands for two languages of Whisper's."""
    three = {code: [other for other in _codes() if len(other) == 3 and _codes()[other] == code] for code in LANGUAGES}
    assert [code for code, others in three.items() if not others and len(code) == 2] == []
    entries = _pairs(_OTHER_CODES)
    listed = [other for _, more in entries for other in more.split()]
    assert len(listed) == len(set(listed))
    assert not set(listed) & LANGUAGES.keys()
    assert {code for code, _ in entries} <= LANGUAGES.keys()


def test_others_are_unknown() -> None:
    assert [language_code(name) for name in ("", "-", "klingon", "x" * 500)] == [None] * 4
