"""Whispers in transformers' format as people have them: with a generation configuration that is old, or none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoints.ctranslate2_files import write_whisper
from tests.checkpoints.openai_files import ENGLISH, LARGE_V3, MULTILINGUAL
from tests.engine.models import sound
from turnscribe.asr.registry import load_asr
from turnscribe.asr.whisper_loading import load_whisper
from turnscribe.errors import SettingsError
from turnscribe.request import DecodingOptions

pytestmark = pytest.mark.slow

EVERYTHING = DecodingOptions(compression_ratio_threshold=None, logprob_threshold=None, no_speech_threshold=None)
FILE = "generation_config.json"
SAID = (  # by a whole generation configuration
    "no_timestamps_token_id lang_to_id task_to_id is_multilingual alignment_heads suppress_tokens "
    "begin_suppress_tokens decoder_start_token_id eos_token_id pad_token_id prev_sot_token_id max_length "
    "max_initial_timestamp_index"
).split()
BACKENDS = ("engine", "transformers")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Path]]:
    """A folder with everything; one thread, as for `no_gradients`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield cache(lambda vocabulary: write_whisper(tmp_path_factory.mktemp(str(vocabulary)), vocabulary))
    torch.set_num_threads(threads)


def changed(folder: Path, copy: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Path:
    """A copy with another generation configuration, or none."""
    shutil.copytree(folder, copy)
    config = change(json.loads((copy / FILE).read_text()))
    if config is None:
        (copy / FILE).unlink()
    else:
        (copy / FILE).write_text(json.dumps(config))
    return copy


def loaded_config(folder: Path) -> Any:
    options: dict[str, Any] = {"assistant": None, "token": None, "device": "cpu", "dtype": "float32", "modules": True}
    return load_whisper(str(folder), **options).model.generation_config


def heard(folder: Path, backend: Any) -> list[tuple[str, float, float]]:
    recognition = load_asr(str(folder), backend=backend).transcribe(sound(0, 22.0), EVERYTHING)
    assert recognition.language
    return [(chunk.text, chunk.start, chunk.end) for chunk in recognition.chunks]


def in_lists(config: dict[str, Any]) -> dict[str, Any]:
    return {
        key: [value] if key in ("eos_token_id", "pad_token_id", "decoder_start_token_id") else value
        for key, value in config.items()
    }


def of_2022(config: dict[str, Any]) -> dict[str, Any]:
    """As versions before 4.27 wrote it, without timestamps."""
    kept = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "suppress_tokens", "max_length")
    forced = [[1, config["no_timestamps_token_id"]]]
    return {key: config[key] for key in kept} | {"forced_decoder_ids": forced}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("vocabulary", [MULTILINGUAL, LARGE_V3, ENGLISH])
@pytest.mark.parametrize(
    "change",
    [lambda _: None, lambda _: {"max_length": 448}, in_lists, of_2022],
    ids=["missing", "max_length", "lists", "of-2022"],
)
def test_the_text_is_that_of_the_whole_configuration(
    whole: Callable[[int], Path], tmp_path: Path, vocabulary: int, change: Any, backend: str
) -> None:
    complete = whole(vocabulary)
    text = heard(complete, backend)
    assert sum(len(said) for said, _, _ in text) > 10
    assert heard(changed(complete, tmp_path / "fine-tune", change), backend) == text


@pytest.mark.parametrize("vocabulary", [MULTILINGUAL, LARGE_V3, ENGLISH])
def test_each_of_its_parts_is_read_off_the_vocabulary(
    whole: Callable[[int], Path], tmp_path: Path, vocabulary: int
) -> None:
    complete = whole(vocabulary)
    expected = loaded_config(complete)
    assert expected.is_multilingual is (vocabulary != ENGLISH)
    assert ("<|yue|>" in (getattr(expected, "lang_to_id", None) or {})) is (vocabulary == LARGE_V3)
    bare = loaded_config(changed(complete, tmp_path / "bare", lambda _: {}))
    for key in SAID:
        if key == "alignment_heads":  # known for shapes that were released, and this is none
            assert getattr(bare, key) is None
        else:
            assert getattr(bare, key, None) == getattr(expected, key, None), key


def test_what_the_configuration_says_stays(whole: Callable[[int], Path], tmp_path: Path) -> None:
    own = {"suppress_tokens": [], "lang_to_id": {"<|en|>": 50259, "<|hi|>": 50276}, "max_length": 225}
    config = loaded_config(changed(whole(MULTILINGUAL), tmp_path / "fine-tune", lambda _: own))
    assert {key: getattr(config, key) for key in own} == own
    assert config.task_to_id == {"translate": 50358, "transcribe": 50359}
    english = loaded_config(
        changed(whole(MULTILINGUAL), tmp_path / "english", lambda _: {"is_multilingual": False, "max_length": 448})
    )
    assert english.is_multilingual is False


@pytest.mark.parametrize(
    ("dimensions", "heads"),
    [
        ({"n_text_layer": 4, "n_text_head": 6}, [[2, 2], [3, 0], [3, 2], [3, 3], [3, 4], [3, 5]]),  # tiny's
        ({"n_text_layer": 4, "n_text_head": 20}, None),  # turbo's shape, which has another vocabulary
    ],
    ids=["tiny", "none"],
)
def test_a_fine_tune_has_the_heads_of_the_model_it_was_made_from(
    tmp_path: Path, dimensions: dict[str, int], heads: Any
) -> None:
    width = 12 * dimensions["n_text_head"]
    folder = write_whisper(tmp_path / "made", MULTILINGUAL, n_audio_state=width, n_text_state=width, **dimensions)
    assert loaded_config(changed(folder, tmp_path / "bare", lambda _: {})).alignment_heads == heads


def test_heads_of_a_teacher_with_more_layers_are_not_looked_for(whole: Callable[[int], Path], tmp_path: Path) -> None:
    folder = changed(
        whole(MULTILINGUAL), tmp_path / "distilled", lambda config: config | {"alignment_heads": [[1, 0], [30, 1]]}
    )
    asr = load_asr(str(folder), backend="engine")
    assert asr.models.heads == tuple((layer, head) for layer in (1, 2) for head in range(4))  # type: ignore[attr-defined]


def test_a_folder_without_its_preprocessor_is_heard_alike(whole: Callable[[int], Path], tmp_path: Path) -> None:
    folder = changed(whole(LARGE_V3), tmp_path / "fine-tune", lambda config: config)
    text = heard(folder, "transformers")
    for file in ("preprocessor_config.json", "processor_config.json"):
        (folder / file).unlink(missing_ok=True)
    assert heard(folder, "transformers") == text


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (
            {"no_timestamps_token_id": 50364},
            "tokens of another model: copy the file that belongs to it, or leave it out.",
        ),
        ({"suppress_tokens": [51865]}, "tokens of another model"),
        ({"lang_to_id": {"<|en|>": -1}}, "tokens of another model"),
        ({"eos_token_id": "the end"}, "tokens of another model"),
    ],
)
def test_tokens_of_another_model_are_one_sentence(
    whole: Callable[[int], Path], tmp_path: Path, own: dict[str, Any], said: str
) -> None:
    folder = changed(whole(MULTILINGUAL), tmp_path / "mine", lambda config: config | own)
    with pytest.raises(SettingsError, match=said) as caught:
        load_asr(str(folder), backend="engine")
    assert str(caught.value).startswith("ASR_MODEL mine has a generation_config.json")
    assert str(tmp_path) not in str(caught.value)


def test_a_tokenizer_of_another_vocabulary_is_one_sentence(whole: Callable[[int], Path], tmp_path: Path) -> None:
    folder = changed(whole(MULTILINGUAL), tmp_path / "mine", lambda _: None)
    shutil.copy(whole(LARGE_V3) / "tokenizer.json", folder)
    with pytest.raises(SettingsError, match=r"^ASR_MODEL mine has 51865 tokens and its tokenizer 51866: copy"):
        load_asr(str(folder), backend="engine")


def test_a_tokenizer_that_knows_no_timestamps_is_one_sentence(whole: Callable[[int], Path], tmp_path: Path) -> None:
    folder = changed(whole(MULTILINGUAL), tmp_path / "mine", lambda _: None)
    for file in folder.glob("*token*.json"):
        file.write_text(file.read_text().replace("<|notimestamps|>", "<|another|>"))
    with pytest.raises(
        SettingsError, match=r"^ASR_MODEL mine has neither .* tokenizer with <\|notimestamps\|>: copy"
    ):
        load_asr(str(folder), backend="engine")
