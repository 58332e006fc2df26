"""What a backend declares is what a request is held against."""

from __future__ import annotations

from dataclasses import replace

import pytest

from turnscribe.asr.capabilities import Capabilities, adapt
from turnscribe.asr.registry import BACKENDS, load_asr
from turnscribe.errors import BadParameters, SettingsError
from turnscribe.request import DecodingOptions

EVERYTHING = Capabilities(frozenset({"en", "de"}), frozenset({"transcribe", "translate"}), assistant=True)
LITTLE = Capabilities(
    frozenset({"en"}),
    frozenset({"transcribe"}),
    prompt=False,
    fallback=False,
    word_times=False,
    beams=False,
    assistant=True,
    assisted_batch_size=2,
    longest_window_s=12.0,
)
ASKED = DecodingOptions(
    batch_size=8, assisted=True, prompt="names", temperature=0.2, word_times=True, chunk_length_s=30
)


def test_what_can_be_honoured_stays_as_it_is() -> None:
    assert adapt(ASKED, EVERYTHING) == (ASKED, ())


def test_what_cannot_be_honoured_is_changed_and_told() -> None:
    options, warnings = adapt(ASKED, LITTLE)
    assert (options.batch_size, options.prompt, options.word_times, options.chunk_length_s) == (2, None, False, 12.0)
    assert warnings == (
        "This backend speculates 2 windows at a time: batch_size 2 was used.",
        "This backend decodes a window once: temperature had no effect.",
        "This backend takes no prompt: it had no effect.",
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (DecodingOptions(language="fr"), "language 'fr' is not one the model knows: en"),
        (DecodingOptions(languages=("fr",)), "languages 'fr' is not one the model knows: en"),
        (DecodingOptions(languages=("fr", "de")), "languages 'fr', 'de' are not among those the model knows: en"),
        (DecodingOptions(task="translate"), "knows English only"),
        (DecodingOptions(num_beams=5), "num_beams is 5 and this backend has one beam"),
    ],
)
def test_another_text_than_was_asked_for_is_refused(options: DecodingOptions, sentence: str) -> None:
    with pytest.raises(BadParameters, match=sentence):
        adapt(options, LITTLE)


@pytest.mark.parametrize(
    ("asked", "left", "told"),
    [
        (("de", "en"), (None, ("de", "en")), ()),
        (("de",), ("de", ("de",)), ()),
        (("fr", "de", "yue"), ("de", ("de",)), ("The model does not know fr and yue: languages are de.",)),
    ],
)
def test_languages_are_those_of_the_model(asked: tuple[str, ...], left: object, told: tuple[str, ...]) -> None:
    options, warnings = adapt(DecodingOptions(languages=asked), EVERYTHING)
    assert (options.language, options.languages) == left
    assert warnings == told


def test_an_english_only_model_has_no_other_language_to_judge() -> None:
    english = Capabilities(frozenset({"en"}), frozenset({"transcribe"}))
    assert adapt(DecodingOptions(language="multi"), english)[0].language is None
    assert adapt(DecodingOptions(language="multi"), EVERYTHING)[0].language == "multi"


def test_a_patience_that_has_no_effect_is_told() -> None:
    impatient = replace(EVERYTHING, patience=False)
    asked = DecodingOptions(num_beams=3, patience=2)
    assert adapt(asked, EVERYTHING) == (asked, ())
    assert adapt(asked, impatient) == (
        asked,
        ("This backend stops once it has num_beams texts: patience had no effect.",),
    )


def test_short_windows_that_a_backend_does_not_have_are_told() -> None:
    asked = DecodingOptions(full_windows=False)
    assert adapt(asked, replace(EVERYTHING, short_windows=True)) == (asked, ())
    assert adapt(asked, EVERYTHING)[1] == ("This backend encodes full windows: full_windows had no effect.",)


def test_no_assistant_is_refused() -> None:
    with pytest.raises(BadParameters, match="ASSISTANT_MODEL"):
        adapt(DecodingOptions(assisted=True), Capabilities(frozenset({"en"}), frozenset({"transcribe"})))


def test_an_unknown_backend_is_one_sentence() -> None:
    with pytest.raises(SettingsError, match=f"ASR_BACKEND is 'x': give {' or '.join(BACKENDS)}"):
        load_asr("model", backend="x")
