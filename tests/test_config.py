from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from config import InferenceConfig, ModelSettings, load_settings, parse_config
from turnscribe.aliases import ALIASES
from turnscribe.errors import BadParameters, SettingsError
from turnscribe.formats import FORMATS
from turnscribe.parameters import parameters_of
from turnscribe.request import Request

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"

ORIGINAL = {
    "task": "transcribe",
    "batch_size": 24,
    "assisted": False,
    "chunk_length_s": 30,
    "sampling_rate": 16000,
    "language": None,
    "num_speakers": None,
    "min_speakers": None,
    "max_speakers": None,
}
ADDED = {
    "diarize": None,
    "timestamps": "segment",
    "response_format": None,
    "prompt": None,
    "keywords": (),
    "known_voices": True,
    "temperature": 0.0,
    "compression_ratio_threshold": 2.4,
    "logprob_threshold": -1.0,
    "no_speech_threshold": 0.6,
    "encoding": None,
    "channels": "mix",
    "languages": (),
    "vad": True,
    "vad_threshold": 0.5,
    "vad_min_speech_duration_ms": 60,
    "vad_min_silence_duration_ms": 2000,
    "vad_speech_pad_ms": 200,
    "speech": None,
    "audio_track": None,
    "num_beams": 1,
    "length_penalty": 1.0,
    "patience": 1.0,
    "full_windows": True,
    "max_line_width": 42,
    "max_line_count": 2,
    "max_cue_duration_s": 7.0,
    "max_characters_per_second": None,
    "min_cue_gap_s": 0.0,
}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.upper().startswith("INFERENCE_") or name.lower() in ModelSettings.model_fields:
            monkeypatch.delenv(name)


def values(request: Request) -> dict[str, object]:
    """Every parameter and its value."""
    return dict.fromkeys(InferenceConfig.model_fields) | parameters_of(request)


def refusal(parameters: object) -> str:
    """The sentence that `parameters` are refused with."""
    with pytest.raises(BadParameters) as caught:
        parse_config(parameters)
    assert_is_sentence(str(caught.value))
    return str(caught.value)


def assert_is_sentence(text: str) -> None:
    assert text.isprintable(), ascii(text)  # so: one line, and no character that breaks a response
    assert text.endswith(".")
    assert not text.endswith("..")
    assert len(text) < 2000


# --- defaults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters", [None, {}, dict.fromkeys(ORIGINAL | ADDED), dict.fromkeys(ORIGINAL | ADDED, "")]
)
def test_nothing_given_means_the_original_defaults(parameters: Any) -> None:
    config = parse_config(parameters)
    assert values(config) == ORIGINAL | ADDED
    assert config.ignored == ()
    assert config.speaker_counts == {}


@pytest.mark.parametrize("nothing", ["none", "None", "NULL", " ", None])
def test_words_for_nothing_mean_not_given(nothing: Any) -> None:
    assert parse_config({"language": nothing, "num_speakers": nothing, "batch_size": nothing}) == parse_config()


def test_a_prompt_may_be_the_word_none_but_not_empty() -> None:
    assert parse_config({"prompt": "none"}).decoding.prompt == "none"
    assert parse_config({"prompt": ""}).decoding.prompt is None


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        parse_config().decoding.batch_size = 1  # type: ignore[misc]


# --- values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given_value", "meant"),
    [
        ("task", "translate", "translate"),
        ("batch_size", "8", 8),
        ("batch_size", 8.0, 8),
        ("assisted", "True", True),
        ("assisted", "false", False),
        ("chunk_length_s", "15.5", 15.5),
        ("chunk_length_s", 1, 1.0),
        ("sampling_rate", "8000", 8000),
        ("num_speakers", "2", 2),
        ("min_speakers", "1", 1),
        ("max_speakers", 100, 100),
        ("diarize", "False", False),
        ("diarize", True, True),
        ("timestamps", "word", "word"),
        ("prompt", "Ünïcode\nin two lines", "Ünïcode\nin two lines"),
        ("temperature", "0.4", 0.4),
        ("compression_ratio_threshold", 1000, 1000.0),
        ("logprob_threshold", "-0.5", -0.5),
        ("no_speech_threshold", 1, 1.0),
        ("language", "multi", "multi"),
        ("languages", "de, English", ("de", "en")),
        ("languages", ["EN", "en-GB", "fr"], ("en", "fr")),
        ("keywords", " Ada  Lovelace,Zoë,\n Ada Lovelace,,Q", ("Ada Lovelace", "Zoë", "Q")),
        ("keywords", ["Lee, Ann", "", "Zoë"], ("Lee, Ann", "Zoë")),
        ("known_voices", "false", False),
        ("vad", "False", False),
        ("full_windows", "false", False),
        ("vad_threshold", "0.35", 0.35),
        ("vad_min_speech_duration_ms", "0", 0),
        ("vad_min_silence_duration_ms", 500.0, 500),
        ("vad_speech_pad_ms", "400", 400),
        ("speech", "[[0.5, 2], [2, 3.5]]", ((0.5, 2.0), (2.0, 3.5))),
        ("speech", [], ()),
        ("encoding", "pcm_s16le", "pcm_s16le"),
        ("channels", "split", "split"),
        ("audio_track", "2", 2),
        ("max_line_width", "32", 32),
        ("max_line_count", 1.0, 1),
        ("max_cue_duration_s", 6, 6.0),
        ("max_characters_per_second", "17", 17.0),
        ("min_cue_gap_s", "0.083", 0.083),
        *(
            ("response_format", name, name)
            for name in (
                "json verbose_json diarized_json text srt vtt tsv rttm ass lrc md docx ctm stm textgrid eaf".split()
            )
        ),
    ],
)
def test_values_arrive_natively_or_as_strings(name: str, given_value: Any, meant: Any) -> None:
    config = parse_config({name: given_value})
    assert values(config)[name] == meant
    assert type(values(config)[name]) is type(meant)
    assert values(config) == ORIGINAL | ADDED | {name: meant}


WRONG = {
    "task": ["summarise", 1, "Transcribe", [], {"a": 1}],
    "batch_size": ["many", 0, "-1", "0.5", 2.5, 513, True, "True", [8], float("nan"), float("inf"), 10**5000],
    "assisted": ["maybe", 2, [], "-1", "0.5"],
    "chunk_length_s": ["long", 0.5, "0.5", "-1", 31, "nan", "inf", True, "True", {}, 10**400],
    "sampling_rate": ["cd", 100, 200_000, "-1", True, 16000.5],
    "language": ["klingon", "-", 7, "x" * 500, ["en"], "\ud800"],
    "languages": ["klingon", "en,klingon", ["en", "x" * 500], [7], 7, {"en": 1}, "auto", ["multi"]],
    "num_speakers": ["two", 0, "-1", "0.5", 101, True],
    "min_speakers": ["two", 0, "-1", "0.5", 101, True],
    "max_speakers": ["two", 0, "-1", "0.5", 101, True],
    "keywords": [7, [7], {"a": 1}, "x" * 101, ["a", "y" * 101], ",".join(map(str, range(201)))],
    "hotwords": [7, "x" * 101],
    "keyterms": [["a", 7]],
    "known_voices": ["maybe", 2, []],
    "diarize": ["maybe", 2, "-1", {}],
    "timestamps": ["words", True, 0],
    "return_timestamps": ["words", 1, "char", [], 10**5000],
    "response_format": ["xml", "JSON", 3],
    "prompt": [3, ["a"], "x" * 10_001, "\ud800"],
    "temperature": ["warm", -0.1, 1.1, "nan", True],
    "compression_ratio_threshold": ["high", 0, -1, "inf", True],
    "logprob_threshold": ["low", 0.1, "-inf", True],
    "no_speech_threshold": ["low", -0.1, 1.1, "nan", False],
    "encoding": ["mp3", "pcm", 16],
    "channels": ["left", 2],
    "vad": ["maybe", 2, "-1", []],
    "vad_threshold": ["high", 0, 1, "-0.1", "nan", True],
    "vad_min_speech_duration_ms": ["short", -1, 0.5, 4_000_000, True],
    "vad_min_silence_duration_ms": ["long", "-1", "0.5", "inf", False],
    "vad_speech_pad_ms": ["wide", -1, 2.5, 2001, 10**5000, True],
    "speech": [
        "everywhere",
        "[",
        "[" * 100_000,
        7,
        [1, 2],
        [[1]],
        [[2, 1]],
        [[-1, 2]],
        [[3, 4], [1, 2]],
        [[0, "nan"]],
        "[[1, Infinity]]",
    ],
    "num_beams": ["many", 0, 11, 2.5, True],
    "length_penalty": ["long", -0.1, 2.1, "nan", True],
    "patience": ["little", 0, -1, 11, "inf", False],
    "full_windows": ["maybe", 2, []],
    "vad_filter": ["maybe", 2, {}],
    "beam_size": ["wide", 0, 11, "1.5", True],
    "vad_parameters": ["0.5", "{", 7, [], "[]", "[" * 100_000, {"threshold": 2}, '{"speech_pad_ms": true}'],
    "audio_track": ["second", 0, "-1", 1.5, 101, True],
    "max_line_width": ["wide", 9, 1001, 32.5, True],
    "max_line_count": ["two", 0, 11, "1.5", True],
    "max_cue_duration_s": ["long", 0.5, 61, "nan", True],
    "max_characters_per_second": ["fast", 0, 101, "inf", True],
    "min_cue_gap_s": ["two frames", -0.1, 2.1, "nan", False],
}
RIGHT = {  # what the sentence has to offer instead
    "task": "'transcribe' or 'translate'",
    "batch_size": "1 to 512",
    "assisted": "true or false",
    "chunk_length_s": "1 to 30",
    "sampling_rate": "4000 to 192000",
    "language": "'en'",
    "num_speakers": "1 to 100",
    "min_speakers": "1 to 100",
    "max_speakers": "1 to 100",
    "diarize": "true, false",
    "timestamps": "'segment' or 'word'",
    "return_timestamps": "true or 'word'",
    "response_format": ", ".join(map(repr, list(FORMATS)[:-1])) + f" or {list(FORMATS)[-1]!r}",
    "prompt": "10000 characters",
    "temperature": "from 0 to 1",
    "compression_ratio_threshold": "above 0",
    "logprob_threshold": "at most 0",
    "no_speech_threshold": "from 0 to 1",
    "encoding": "'pcm_s16le'",
    "channels": "'mix' or 'split'",
    "languages": "with commas between them",
    "keywords": "at most 200 names or terms of at most 100 characters",
    "hotwords": "at most 200 names or terms of at most 100 characters",
    "keyterms": "at most 200 names or terms of at most 100 characters",
    "known_voices": "true or false",
    "vad": "true or false",
    "vad_threshold": "between 0 and 1",
    "vad_min_speech_duration_ms": "0 to 3600000",
    "vad_min_silence_duration_ms": "0 to 3600000",
    "vad_speech_pad_ms": "0 to 2000",
    "speech": "pairs of seconds in order, such as [[0.5, 2.5], [4, 7.25]]",
    "num_beams": "1 to 10",
    "length_penalty": "from 0 to 2",
    "patience": "above 0 and at most 10",
    "full_windows": "true or false",
    "vad_filter": "true or false",
    "beam_size": "1 to 10",
    "vad_parameters": "give ",
    "audio_track": "from 1, the first track",
    "max_line_width": "10 to 1000",
    "max_line_count": "1 to 10",
    "max_cue_duration_s": "seconds from 1 to 60",
    "max_characters_per_second": "a number from 1 to 100",
    "min_cue_gap_s": "seconds from 0 to 2",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG.items() for value in values],
    ids=[f"{name}-{index}" for name, values in WRONG.items() for index in range(len(values))],
)
def test_a_wrong_value_is_named_with_what_would_be_right(name: str, value: Any) -> None:
    sentence = refusal({name: value})
    assert sentence.startswith((f"{name} is ", f"{name}."))
    assert RIGHT[name] in sentence
    assert len(sentence) < 200


def test_every_parameter_has_wrong_values_here() -> None:
    assert WRONG.keys() == RIGHT.keys() == InferenceConfig.model_fields.keys() | ALIASES.keys()


def test_a_wrong_value_is_shown_unless_it_is_long() -> None:
    assert "'many'" in refusal({"batch_size": "many"})
    assert "x" * 41 not in refusal({"batch_size": "x" * 5000})
    assert "inside" not in refusal({"batch_size": ["inside"]})
    assert "2\\n4" in refusal({"batch_size": "2\n4"})


def test_a_value_nested_deeper_than_the_interpreter_goes_is_still_one_sentence() -> None:
    nested: list[Any] = []
    for _ in range(20_000):
        nested = [nested]
    assert "of type list" in refusal({"batch_size": nested})
    assert "of type list" in refusal({"return_timestamps": nested})


def test_every_wrong_value_is_named_at_once() -> None:
    sentence = refusal({"batch_size": "many", "task": "sing", "num_speakers": 0})
    assert all(f"{name} is " in sentence for name in ("batch_size", "task", "num_speakers"))


@pytest.mark.parametrize("parameters", [[], "task=translate", 3, True, b"{}"])
def test_parameters_have_to_be_an_object(parameters: Any) -> None:
    sentence = refusal(parameters)
    assert sentence.startswith("parameters is ")
    assert "object" in sentence


# --- pairs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"num_speakers": 2, "min_speakers": 1}, "num_speakers excludes min_speakers"),
        ({"num_speakers": 2, "max_speakers": "3"}, "num_speakers excludes min_speakers and max_speakers"),
        ({"min_speakers": 3, "max_speakers": 2}, "min_speakers is 3 and max_speakers 2"),
        ({"channels": "split", "diarize": True}, "leave diarize"),
        ({"channels": "split", "num_speakers": 2}, "speaker counts"),
        ({"channels": "split", "min_speakers": 2}, "speaker counts"),
        ({"channels": "split", "encoding": "pcm_s16le"}, "headerless PCM is mono"),
        ({"timestamps": "word", "return_timestamps": True}, "timestamps and return_timestamps disagree"),
        ({"timestamps": "segment", "return_timestamps": "word"}, "timestamps and return_timestamps disagree"),
        ({"vad": True, "vad_filter": "false"}, "vad and vad_filter disagree"),
        ({"num_beams": 5, "beam_size": 4}, "num_beams and beam_size disagree"),
        ({"vad_threshold": 0.4, "vad_parameters": {"threshold": 0.5}}, "vad_threshold and vad_parameters.threshold"),
        ({"num_beams": 3, "assisted": True}, "num_beams is 3 and assisted is true: an assistant helps a single beam"),
        ({"vad": False, "speech": [[1, 2]]}, "vad is false and speech was sent: leave one of them out."),
        ({"language": "de", "languages": "en,fr"}, "language is 'de' and languages are 'en', 'fr'"),
    ],
)
def test_parameters_that_exclude_each_other_are_refused(parameters: dict[str, Any], words: str) -> None:
    assert words in refusal(parameters)
    for name in parameters:  # and each of them alone is fine
        parse_config({name: parameters[name]})


@pytest.mark.parametrize(
    "parameters",
    [
        {"min_speakers": 2, "max_speakers": 2},
        {"channels": "split", "diarize": False},
        {"channels": "mix", "diarize": True, "num_speakers": 2, "encoding": "pcm_s16le"},
        {"diarize": False, "num_speakers": 2},
        {"timestamps": "word", "return_timestamps": "word"},
        {"vad": False, "vad_filter": "False"},
        {"num_beams": 5, "beam_size": "5"},
        {"vad_threshold": 0.4, "vad_parameters": '{"threshold": "0.40"}'},
        {"language": "de", "languages": ("en", "de")},
        {"language": "multi", "languages": ("en", "de")},
    ],
)
def test_parameters_that_agree_are_taken(parameters: dict[str, Any]) -> None:
    config = parse_config(parameters)
    assert all(values(config)[name] == value for name, value in parameters.items() if name not in ALIASES)


def test_speaker_counts_are_those_given() -> None:
    assert parse_config({"min_speakers": 2, "max_speakers": "3"}).speaker_counts == {
        "min_speakers": 2,
        "max_speakers": 3,
    }


# --- unknown names, the alias ---------------------------------------------------------------------------------


def test_unknown_parameters_are_ignored_and_named() -> None:
    config = parse_config({"top_p": 0.5, "batch_size": 4, "beam": {"n": 5}, 7: 1, "unset": None})
    assert config.decoding.batch_size == 4
    assert config.ignored == ("7", "beam", "top_p")
    assert "top_p" not in values(config)


@pytest.mark.parametrize("name", ["\ud800", "a\nb", "n" * 5000, "\u2028"], ids=range(4))
def test_a_name_that_is_no_name_comes_back_quoted_and_short(name: str) -> None:
    (shown,) = parse_config({name: 1}).ignored
    assert shown.isprintable()
    assert len(shown) <= 40
    json.dumps(shown, ensure_ascii=False).encode()


@pytest.mark.parametrize("name", ["_ignored", "ignored", "model_fields", "model_config", "__class__"])
def test_names_of_the_configs_own_parts_are_unknown_parameters(name: str) -> None:
    assert parse_config({name: "x"}).ignored == (name,)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (True, "segment"),
        ("true", "segment"),
        ("True", "segment"),
        (False, "segment"),
        ("word", "word"),
        (None, "segment"),
    ],
)
def test_return_timestamps_stands_for_timestamps(value: Any, meant: str) -> None:
    config = parse_config({"return_timestamps": value})
    assert config.timestamps == meant
    assert config.ignored == ()


@pytest.mark.parametrize(
    "sent",
    [
        {"vad_parameters": {"threshold": 0.4, "speech_pad_ms": 400, "min_silence_duration_ms": None}},
        {"vad_parameters": '{"threshold": "0.4", "speech_pad_ms": 400}'},
        {"vad_parameters[threshold]": "0.4", "vad_parameters[speech_pad_ms]": "400"},  # as a form has objects
    ],
    ids=["object", "json", "form"],
)
def test_vad_parameters_stand_for_their_members(sent: dict[str, Any]) -> None:
    config = parse_config(sent)
    assert values(config) == ORIGINAL | ADDED | {"vad_threshold": 0.4, "vad_speech_pad_ms": 400}
    assert config.ignored == ()


def test_members_that_are_not_known_are_named_with_the_object_they_came_in() -> None:
    config = parse_config({"vad_parameters": {"neg_threshold": 0.2, "threshold": 0.4}, "top_p": 1})
    assert config.ignored == ("top_p", "vad_parameters.neg_threshold")
    assert config.decoding.vad_threshold == 0.4
    (warning,) = config.without_effect
    assert warning == "Unknown parameters were ignored: top_p, vad_parameters.neg_threshold."


def test_a_wrong_member_is_named_as_it_was_sent() -> None:
    assert refusal({"vad_parameters": {"threshold": 7}}).startswith("vad_parameters.threshold is 7: give a number")
    assert refusal({"vad_filter": "perhaps"}).startswith("vad_filter is 'perhaps': give true or false")


def test_what_says_how_speech_is_found_has_no_effect_without_vad() -> None:
    assert parse_config({"vad": False}).without_effect == ()
    assert parse_config({"vad": True, "vad_threshold": 0.6}).without_effect == ()
    (warning,) = parse_config({"vad_filter": False, "vad_threshold": 0.6, "vad_speech_pad_ms": 0}).without_effect
    assert warning == "vad_threshold and vad_speech_pad_ms had no effect: vad is false."
    (warning,) = parse_config({"speech": [[0, 1]], "vad_threshold": 0.6, "vad_speech_pad_ms": 0}).without_effect
    assert warning == "vad_threshold had no effect: speech was sent."


def test_what_says_nothing_with_one_beam_is_told() -> None:
    assert parse_config({"num_beams": 2, "patience": 2, "length_penalty": 0.5}).without_effect == ()
    (warning,) = parse_config({"patience": 2, "length_penalty": 0.5}).without_effect
    assert warning == "length_penalty and patience had no effect: num_beams is 1."


def test_an_operator_may_use_an_alias_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_VAD_FILTER", "false")
    monkeypatch.setenv("INFERENCE_VAD_PARAMETERS", '{"threshold": 0.4}')
    config = parse_config({"vad_threshold": 0.3})
    assert (config.decoding.vad, config.decoding.vad_threshold) == (False, 0.3)


def test_a_callers_own_mapping_is_left_as_it_is() -> None:
    parameters = {"return_timestamps": "word", "language": None, "batch_size": "4"}
    parse_config(parameters)
    assert parameters == {"return_timestamps": "word", "language": None, "batch_size": "4"}


# --- languages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoken", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("english", "en"),
        ("German", "de"),
        (" german ", "de"),
        ("de-AT", "de"),
        ("de_AT", "de"),
        ("pt-BR", "pt"),
        ("zh-Hant-TW", "zh"),
        ("castilian", "es"),
        ("haitian creole", "ht"),
        ("haw", "haw"),
    ],
)
def test_a_language_is_a_code_a_name_or_a_region(spoken: str, code: str) -> None:
    assert parse_config({"language": spoken}).decoding.language == code


def test_auto_is_the_recordings_own_language() -> None:
    assert parse_config({"language": "Auto"}) == parse_config({})


@pytest.mark.parametrize(
    ("operators", "requests", "meant"),
    [
        ({"language": "de"}, {"language": "auto"}, (None, ())),
        ({"language": "de"}, {"languages": "en,fr"}, (None, ("en", "fr"))),
        ({"languages": "de,en"}, {"language": "fr"}, ("fr", ())),
        ({"languages": "de,en"}, {}, (None, ("de", "en"))),
    ],
)
def test_a_requests_languages_replace_all_of_the_operators(
    monkeypatch: pytest.MonkeyPatch, operators: dict[str, str], requests: dict[str, Any], meant: Any
) -> None:
    for name, value in operators.items():
        monkeypatch.setenv(f"INFERENCE_{name.upper()}", value)
    decoding = parse_config(requests).decoding
    assert (decoding.language, decoding.languages) == meant


@pytest.mark.parametrize(
    ("operators", "requests"),
    [
        ({"num_beams": "5"}, {"assisted": True}),
        ({"assisted": "true"}, {"num_beams": 5}),
        ({"vad": "false"}, {"speech": [[1, 2]]}),
        ({"speech": "[[1, 2]]"}, {"vad_filter": False}),
    ],
)
def test_a_request_wins_over_an_operators_default_that_excludes_it(
    monkeypatch: pytest.MonkeyPatch, operators: dict[str, str], requests: dict[str, Any]
) -> None:
    plain = parse_config(requests)
    for name, value in operators.items():
        monkeypatch.setenv(f"INFERENCE_{name.upper()}", value)
    assert parse_config(requests) == plain
    assert parse_config({"batch_size": 24}) != parse_config({"batch_size": 24, **requests})


# --- the operator's defaults ----------------------------------------------------------------------------------


def test_the_environment_changes_the_defaults_and_a_request_changes_them_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INFERENCE_CHUNK_LENGTH_S", "15")
    monkeypatch.setenv("inference_batch_size", "4")
    monkeypatch.setenv("INFERENCE_LANGUAGE", "German")
    monkeypatch.setenv("INFERENCE_PROMPT", "")
    monkeypatch.setenv("INFERENCE_SOMETHING_ELSE", "x")
    config = parse_config({"chunk_length_s": 20})
    changed = {"chunk_length_s": 20.0, "batch_size": 4, "language": "de"}
    assert values(config) == ORIGINAL | ADDED | changed
    assert config.ignored == ()


@pytest.mark.parametrize(
    ("operators", "requests", "meant"),
    [
        ({"num_speakers": "2"}, {}, {"num_speakers": 2}),
        ({"num_speakers": "2"}, {"min_speakers": 3}, {"min_speakers": 3}),
        ({"min_speakers": "5", "max_speakers": "9"}, {"max_speakers": 2}, {"max_speakers": 2}),
        ({"min_speakers": "5", "max_speakers": "9"}, {"num_speakers": 2}, {"num_speakers": 2}),
        ({"min_speakers": "5"}, {"num_speakers": None}, {"min_speakers": 5}),
    ],
)
def test_a_requests_speaker_counts_replace_all_of_the_operators(
    monkeypatch: pytest.MonkeyPatch, operators: dict[str, str], requests: dict[str, Any], meant: dict[str, int]
) -> None:
    for name, value in operators.items():
        monkeypatch.setenv(f"INFERENCE_{name.upper()}", value)
    assert parse_config(requests).speaker_counts == meant


def test_a_request_for_split_channels_drops_the_operators_ways_to_tell_speakers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INFERENCE_DIARIZE", "true")
    monkeypatch.setenv("INFERENCE_NUM_SPEAKERS", "2")
    config = parse_config({"channels": "split"})
    assert config.channels == "split"
    assert config.diarize is None
    assert config.speaker_counts == {}


# --- the operator's settings ----------------------------------------------------------------------------------


def test_settings_have_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_MODEL", "openai/whisper-large-v3")
    for empty in ("ASSISTANT_MODEL", "DIARIZATION_MODEL", "HF_TOKEN", "MAX_AUDIO_SECONDS"):
        monkeypatch.setenv(empty, "")
    settings = load_settings()
    assert settings.model_dump() == {
        "asr_model": "openai/whisper-large-v3",
        "assistant_model": None,
        "diarization_model": None,
        "diarization_effort": "exact",
        "hf_token": None,
        "asr_backend": "engine",
        "asr_dtype": "auto",
        "max_audio_seconds": 4 * 3600,
        "max_input_bytes": 512 * 2**20,
        "allow_url_inputs": False,
        "url_ports": "443",
        "voices_folder": None,
        "speaker_similarity": None,
    }
    assert settings.token is None


def test_an_effort_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_MODEL", "demo/whisper")
    monkeypatch.setenv("DIARIZATION_EFFORT", "fast")
    assert load_settings().diarization_effort == "fast"
    monkeypatch.setenv("DIARIZATION_EFFORT", "thorough")
    with pytest.raises(SettingsError, match=r"DIARIZATION_EFFORT is wrong: .*'fast' or 'exact'"):
        load_settings()


def test_a_backend_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_MODEL", "demo/whisper")
    monkeypatch.setenv("ASR_BACKEND", "vllm")
    with pytest.raises(SettingsError, match=r"ASR_BACKEND is wrong: .*'engine' or 'transformers'"):
        load_settings()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_MODEL", " demo/whisper\n")  # as a file of secrets or a text field leaves it
    monkeypatch.setenv("ASSISTANT_MODEL", "demo/assistant")
    monkeypatch.setenv("DIARIZATION_MODEL", "demo/diarizer")
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}\n")
    monkeypatch.setenv("MAX_AUDIO_SECONDS", "90.5")
    monkeypatch.setenv("MAX_INPUT_BYTES", "1000")
    monkeypatch.setenv("ALLOW_URL_INPUTS", "true")
    monkeypatch.setenv("URL_PORTS", "443, 8443")
    settings = load_settings()
    assert settings.asr_model == "demo/whisper"
    assert settings.assistant_model == "demo/assistant"
    assert settings.diarization_model == "demo/diarizer"
    assert settings.token == TOKEN
    assert settings.max_audio_seconds == 90.5
    assert settings.max_input_bytes == 1000
    assert settings.allow_url_inputs is True
    assert settings.limits.url_ports == (443, 8443)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_asr_model_is_named_with_an_example(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("ASR_MODEL", value)
    with pytest.raises(SettingsError, match=r"^ASR_MODEL is not set: .*ASR_MODEL=openai/whisper-large-v3\.$"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAX_AUDIO_SECONDS", "0"),
        ("MAX_AUDIO_SECONDS", "-1"),
        ("MAX_AUDIO_SECONDS", "nan"),
        ("MAX_AUDIO_SECONDS", "an hour"),
        ("MAX_INPUT_BYTES", "0"),
        ("MAX_INPUT_BYTES", "1.5"),
        ("ALLOW_URL_INPUTS", "perhaps"),
        ("URL_PORTS", "443,,"),
        ("URL_PORTS", "443;8443"),
        ("URL_PORTS", "65536"),
        ("INFERENCE_BATCH_SIZE", "many"),
        ("INFERENCE_LANGUAGE", "klingon"),
        ("INFERENCE_NUM_SPEAKERS", "0"),
        ("INFERENCE_CHUNK_LENGTH_S", "60"),
    ],
)
def test_a_wrong_setting_is_named_at_start(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv("ASR_MODEL", "demo/whisper")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    sentence = str(caught.value)
    assert_is_sentence(sentence)
    assert TOKEN not in sentence
    if variable.startswith("INFERENCE_"):
        assert "INFERENCE_" in sentence
        assert variable.removeprefix("INFERENCE_").lower() in sentence
    else:
        assert sentence.startswith(f"{variable} is wrong: ")


def test_operators_defaults_that_exclude_each_other_are_named_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_MODEL", "demo/whisper")
    monkeypatch.setenv("INFERENCE_NUM_SPEAKERS", "2")
    monkeypatch.setenv("INFERENCE_MAX_SPEAKERS", "3")
    with pytest.raises(SettingsError, match=r"INFERENCE_.*num_speakers excludes"):
        load_settings()


def test_the_token_is_in_nothing_that_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("ASR_MODEL", "demo/whisper")
    settings = load_settings()
    assert settings.token == TOKEN
    shown = [repr(settings), str(settings), f"{settings}", settings.model_dump_json(), str(settings.model_dump())]
    monkeypatch.delenv("ASR_MODEL")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    with pytest.raises(ValidationError) as invalid:
        ModelSettings()
    shown += [str(refused.value), repr(refused.value), str(invalid.value)]
    assert refused.value.__cause__ is None
    assert not [text for text in shown if TOKEN in text]


# --- properties -----------------------------------------------------------------------------------------------

NAMES = sorted(InferenceConfig.model_fields.keys() | ALIASES.keys() | {"vad_parameters[threshold]"})
TELLING = [
    *("", " ", "none", "null", "true", "False", "word", "segment", "split", "mix", "translate", "srt", "pcm_s16le"),
    *(
        "-1",
        "0.5",
        "1e9",
        "24.0",
        "0x10",
        "1_0",
        "٣",
        "nan",
        "inf",
        "en",
        "de-AT",
        "German",
        "a\nb",
        "\u2028",
        "\ud800",
    ),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 40)
    | st.floats()
    | st.text(st.characters(), max_size=50)
    | st.sampled_from(TELLING)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@pytest.mark.property
@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES) | st.text(st.characters(), max_size=60), SCALARS | JSON, max_size=6))
def test_any_object_is_a_valid_config_or_one_sentence(parameters: dict[str, Any]) -> None:
    try:
        config = parse_config(parameters)
    except BadParameters as error:
        sentence = str(error)
    else:
        assert values(parse_config(values(config))) == values(config)
        assert len(config.speaker_counts) < 3
        json.dumps([values(config), config.ignored], allow_nan=False, ensure_ascii=False).encode()
        return
    assert_is_sentence(sentence)
    assert any(name.replace("[threshold]", ".threshold") in sentence for name in parameters)


@pytest.mark.property
@settings(deadline=None)
@given(JSON)
def test_anything_at_all_is_a_valid_config_or_one_sentence(parameters: Any) -> None:
    try:
        parse_config(parameters)
    except BadParameters as error:
        assert_is_sentence(str(error))


SPOKEN = {
    "task": st.sampled_from(["transcribe", "translate", "sing", None]),
    "batch_size": st.integers(-2, 600) | st.floats(-2, 40) | st.booleans() | st.none(),
    "assisted": st.booleans() | st.integers(-1, 2) | st.none(),
    "chunk_length_s": st.floats(allow_nan=True) | st.floats(0, 32) | st.integers(0, 32) | st.booleans() | st.none(),
    "sampling_rate": st.sampled_from([3999, 4000, 16000.0, 44100, 192_000, 192_001, None]),
    "num_speakers": st.integers(-1, 101) | st.booleans() | st.none(),
    "min_speakers": st.integers(0, 3) | st.none(),
    "max_speakers": st.integers(0, 3) | st.none(),
    "diarize": st.booleans() | st.integers(-1, 2) | st.none(),
    "return_timestamps": st.booleans() | st.none() | st.just("word"),
    "channels": st.sampled_from(["mix", "split", None]),
}


def outcome(parameters: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return values(parse_config(parameters))
    except BadParameters:
        return None


@pytest.mark.property
@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=SPOKEN))
def test_strings_parse_as_the_values_they_spell(parameters: dict[str, Any]) -> None:
    assert outcome({name: str(value) for name, value in parameters.items()}) == outcome(parameters)
