"""Whispers that CTranslate2's own converter wrote, beside what `ctranslate2` makes of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ctranslate2
import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError

from tests.checkpoints import ctranslate2_files as files
from tests.checkpoints.openai_files import ENGLISH, LARGE_V3, MULTILINGUAL
from tests.conftest import DEMO, REPOSITORY
from tests.engine.models import sound
from turnscribe.asr.registry import load_asr
from turnscribe.checkpoints.ctranslate2_file import open_model_file
from turnscribe.checkpoints.ctranslate2_whisper import (
    describe_ctranslate2,
    find_ctranslate2,
    is_ctranslate2,
    load_ctranslate2,
)
from turnscribe.checkpoints.openai_generation import released_name
from turnscribe.checkpoints.whisper_components import WhisperComponents, weight_shapes
from turnscribe.errors import SettingsError
from turnscribe.request import DecodingOptions
from turnscribe.whisper.alignment import alignment_heads

pytestmark = pytest.mark.slow

LANGUAGE = {MULTILINGUAL: "de", LARGE_V3: "yue", ENGLISH: None}
HUB_ID = "Systran/faster-whisper-small"
EVERYTHING = DecodingOptions(language="de", **files.ONE_ATTEMPT)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Path]]:
    """A Whisper of transformers for each vocabulary; one thread, as for `no_gradients`."""
    folder, threads = tmp_path_factory.mktemp("transformers"), torch.get_num_threads()
    torch.set_num_threads(1)

    def get(vocabulary: int) -> Path:
        made = folder / str(vocabulary)
        return made if made.exists() else files.write_whisper(made, vocabulary)

    yield get
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(whisper: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The same in CTranslate2's format."""
    folder = tmp_path_factory.mktemp("ctranslate2")

    def get(vocabulary: int, quantization: str = "float32") -> Path:
        made = folder / f"{vocabulary}-{quantization}"
        return made if made.exists() else files.convert(whisper(vocabulary), made, quantization)

    return get


@pytest.fixture
def copied(model: Callable[..., Path], tmp_path: Path) -> Path:
    """An English-only one to be damaged."""
    folder = tmp_path / "small"
    shutil.copytree(model(ENGLISH), folder)
    return folder


def read(folder: Path, weights: torch.dtype = torch.float32) -> WhisperComponents:
    return load_ctranslate2(str(folder), variable="ASR_MODEL", device="cpu", weights=weights)


# --- what is loaded -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocabulary", [MULTILINGUAL, LARGE_V3, ENGLISH])
def test_every_weight_is_in_its_place(
    whisper: Callable[[int], Path], model: Callable[..., Path], vocabulary: int
) -> None:
    loaded, expected = read(model(vocabulary)), files.original(whisper(vocabulary))
    for state in (loaded.weights.tensors, loaded.model.state_dict()):
        assert state.keys() == expected.keys()
        for name, tensor in state.items():
            assert torch.equal(tensor, expected[name]), name
    assert loaded.model.get_output_embeddings().weight is loaded.model.get_input_embeddings().weight
    assert not loaded.model.training


def in_int8(weight: torch.Tensor) -> torch.Tensor:
    """Rounded as the converter does: each row to 127 steps of its largest weight."""
    values = weight.numpy()
    rows = values.reshape(len(values), -1)
    scale = 127 / np.abs(rows).max(axis=1, keepdims=True)
    return torch.from_numpy((np.rint(rows * scale) / scale).reshape(values.shape).astype(np.float32))


ROUNDED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {  # how weights come back; others than products
    "float16": lambda weight: weight.half().float(),
    "bfloat16": lambda weight: weight.bfloat16().float(),
    "int8": lambda weight: weight,
    "int8_float16": lambda weight: weight.half().float(),
    "int8_bfloat16": lambda weight: weight.bfloat16().float(),
}


@pytest.mark.parametrize("quantization", ROUNDED)
def test_what_is_rounded_or_quantized_comes_back_as_it_was_stored(
    whisper: Callable[[int], Path], model: Callable[..., Path], quantization: str
) -> None:
    loaded, expected = read(model(ENGLISH, quantization)).weights.tensors, files.original(whisper(ENGLISH))
    for name, weight in expected.items():
        quantized = "int8" in quantization and weight.dim() > 1 and "positions" not in name
        stored = in_int8(weight) if quantized else ROUNDED[quantization](weight)
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], stored, rtol=1e-6 if quantized else 0, atol=0)


def test_int16_has_one_scale_for_a_whole_product(whisper: Callable[[int], Path], model: Callable[..., Path]) -> None:
    loaded, expected = read(model(ENGLISH, "int16")).weights.tensors, files.original(whisper(ENGLISH))
    joined = ("q_proj", "k_proj", "v_proj")
    for name, weight in expected.items():
        together = [expected[re.sub("|".join(joined), part, name)] for part in joined if "k_proj.weight" in name]
        largest = max(float(part.abs().max()) for part in (weight, *together))
        if re.search("[qv]_proj.weight", name):
            continue  # seen with the key
        step = largest / 2**10 if weight.dim() > 1 and "positions" not in name else 0
        assert float((loaded[name] - weight).abs().max()) <= step * 0.501


@pytest.mark.parametrize("wanted", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("stored", ["float16", "int8"])
def test_weights_get_the_type_that_is_asked_for(model: Callable[..., Path], stored: str, wanted: torch.dtype) -> None:
    exact = read(model(ENGLISH, stored)).weights.tensors
    for name, tensor in read(model(ENGLISH, stored), wanted).weights.tensors.items():
        assert tensor.dtype == wanted
        assert torch.equal(tensor, exact[name].to(wanted))


def test_the_shapes_of_the_weights_are_those_of_transformers(model: Callable[..., Path]) -> None:
    dims, parameters = describe_ctranslate2(str(model(LARGE_V3)), variable="ASR_MODEL")
    made = read(model(LARGE_V3)).model
    state = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items() if name != "proj_out.weight"}
    assert weight_shapes(dims) == state
    assert parameters == sum(weight.numel() for weight in made.parameters())


def test_mel_bins_come_from_the_weights_whatever_another_file_says(
    model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "large"
    shutil.copytree(model(LARGE_V3), folder)
    assert read(folder).feature_extractor.feature_size == 128
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": 80}))
    loaded = read(folder)
    assert loaded.feature_extractor.feature_size == loaded.model.config.num_mel_bins == 128
    assert load_asr(str(folder)).models.log_mel.filters.shape[0] == 128  # type: ignore[attr-defined]


@pytest.mark.parametrize("vocabulary", [MULTILINGUAL, LARGE_V3, ENGLISH])
def test_the_tokenizer_is_the_same_with_and_without_its_file(
    whisper: Callable[[int], Path], model: Callable[..., Path], tmp_path: Path, vocabulary: int
) -> None:
    listed, older = tmp_path / "listed", tmp_path / "older"
    for folder in (listed, older):
        shutil.copytree(model(vocabulary), folder)
        (folder / "tokenizer.json").unlink()
    tokens = json.loads((older / "vocabulary.json").read_text())
    (older / "vocabulary.json").unlink()
    (older / "vocabulary.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    text = " tea at three, est-ce que \u00e7a va?\n\u8336"
    with_file = read(model(vocabulary)).tokenizer
    ids = with_file.encode(text, add_special_tokens=False)
    assert with_file.decode(ids) == text
    for folder in (listed, older):
        loaded = read(folder)
        assert len(loaded.tokenizer) == len(with_file) == vocabulary
        assert loaded.tokenizer.encode(text, add_special_tokens=False) == ids
        assert loaded.tokenizer.all_special_ids == with_file.all_special_ids
        assert (
            loaded.weights.generation_config.to_dict() == read(model(vocabulary)).weights.generation_config.to_dict()
        )


def test_the_first_rule_of_joining_is_put_back(copied: Path) -> None:
    """The first tokenizers on the Hub lack it."""
    stored = json.loads((copied / "tokenizer.json").read_text())
    merges = stored["model"]["merges"]
    as_it_was = ["".join(pair) for pair in merges] if isinstance(merges[0], list) else merges
    at = next(index for index, pair in enumerate(as_it_was) if pair.replace(" ", "") == "\u0120t")
    merges.insert(0, merges.pop(at))
    (copied / "tokenizer.json").write_text(json.dumps(stored))
    whole = read(copied).tokenizer.encode(" tea at three", add_special_tokens=False)
    del merges[0]
    (copied / "tokenizer.json").write_text(json.dumps(stored))
    assert read(copied).tokenizer.encode(" tea at three", add_special_tokens=False) == whole


def test_a_tokenizer_that_ends_before_the_timestamps_is_completed(copied: Path) -> None:
    stored = json.loads((copied / "tokenizer.json").read_text())
    stored["added_tokens"] = [token for token in stored["added_tokens"] if token["special"]]
    (copied / "tokenizer.json").write_text(json.dumps(stored))
    tokenizer = read(copied).tokenizer
    assert len(tokenizer) == ENGLISH
    assert tokenizer.convert_tokens_to_ids("<|30.00|>") == ENGLISH - 1


def change_config(folder: Path, **changed: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= changed
    kept = {key: value for key, value in config.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(kept))


def test_what_the_configuration_says_counts_and_what_it_lacks_follows_the_rules(copied: Path) -> None:
    loaded = read(copied)
    said, ruled = loaded.weights.generation_config, loaded.weights.generation_config.suppress_tokens
    assert alignment_heads(loaded.weights) == [tuple(pair) for pair in files.HEADS]
    change_config(copied, suppress_ids=[5, 6], suppress_ids_begin=[], alignment_heads=[[2, 1]])
    said = read(copied).weights.generation_config
    assert (said.suppress_tokens, said.begin_suppress_tokens) == ([5, 6], [])
    assert alignment_heads(read(copied).weights) == [(2, 1)]
    for missing in (..., None):
        change_config(
            copied, suppress_ids=missing, suppress_ids_begin=missing, alignment_heads=missing, lang_ids=missing
        )
        loaded = read(copied)
        assert loaded.weights.generation_config.suppress_tokens == ruled
        assert alignment_heads(loaded.weights) == [(layer, head) for layer in (1, 2) for head in range(4)]
    (copied / "config.json").unlink()
    assert read(copied).weights.generation_config.suppress_tokens == ruled


def test_languages_are_those_of_the_configuration(model: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "two"
    shutil.copytree(model(MULTILINGUAL), folder)
    assert len(load_asr(str(folder)).capabilities.languages) == 99
    change_config(folder, lang_ids=[50259, 50261, 50362])  # the last is <|nospeech|>, as some converters write
    assert load_asr(str(folder)).capabilities.languages == {"en", "de"}
    assert load_asr(str(model(ENGLISH))).capabilities.languages == {"en"}


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Systran/faster-whisper-large-v3", "large-v3"),
        ("deepdml/faster-whisper-large-v3-turbo-ct2", "large-v3-turbo"),
        ("whisper-tiny.en", "tiny.en"),
        ("mobiuslabsgmbh/faster-whisper-large-v3-turbo", "large-v3-turbo"),
    ],
)
def test_a_released_models_heads_are_known_by_its_name(title: str, name: str) -> None:
    assert released_name(title) == name


def test_a_small_vocabulary_loads_as_well(tmp_path: Path) -> None:
    """The demo's Whisper knows 130 words."""
    folder = files.convert(REPOSITORY / DEMO["asr_model"], tmp_path / "demo", "float32")
    waveform = sound(0, 12.0)
    texts = [
        [chunk.text for chunk in load_asr(name).transcribe(waveform, DecodingOptions(language="en")).chunks]
        for name in (str(folder), str(REPOSITORY / DEMO["asr_model"]))
    ]
    assert texts[0] == texts[1]


# --- what is made of it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocabulary", [MULTILINGUAL, LARGE_V3, ENGLISH])
def test_the_engines_tokens_are_those_of_ctranslate2(model: Callable[..., Path], vocabulary: int) -> None:
    asr: Any = load_asr(str(model(vocabulary)))
    theirs = ctranslate2.models.Whisper(str(model(vocabulary)), compute_type="float32", intra_threads=1)
    windows = files.engine_tokens(asr, sound(0, 60.0), LANGUAGE[vocabulary])
    expected = files.ctranslate2_tokens(theirs, asr, [samples for samples, _ in windows], LANGUAGE[vocabulary])
    assert [tokens for _, tokens in windows] == expected
    assert len(set(map(tuple, expected))) > 1
    assert min(map(len, expected)) > 10


def test_both_backends_decode_the_same(model: Callable[..., Path]) -> None:
    folder = str(model(MULTILINGUAL, "int8"))
    engine, reference = (
        load_asr(folder, backend=backend).transcribe(sound(0, 22.0), EVERYTHING)
        for backend in ("engine", "transformers")
    )
    assert [(chunk.text, chunk.start, chunk.end) for chunk in engine.chunks] == [
        (chunk.text, chunk.start, chunk.end) for chunk in reference.chunks
    ]
    assert sum(len(chunk.text) for chunk in engine.chunks) > 10


@pytest.mark.parametrize("backend", ["engine", "transformers"])
def test_it_can_be_the_assistant(
    whisper: Callable[[int], Path], model: Callable[..., Path], tmp_path: Path, backend: Any
) -> None:
    """As distil-whisper's: fewer layers."""
    small = files.write_whisper(tmp_path / "small", MULTILINGUAL, seed=4, n_audio_layer=1, n_text_layer=3)
    assistant = files.convert(small, tmp_path / "assistant", "float16")
    asr = load_asr(str(model(MULTILINGUAL)), assistant=str(assistant), backend=backend)
    plain, assisted = (
        asr.transcribe(sound(0, 22.0), DecodingOptions(**{**vars(EVERYTHING), "assisted": assisted}))
        for assisted in (False, True)
    )
    assert [chunk.text for chunk in assisted.chunks] == [chunk.text for chunk in plain.chunks]
    assert assisted.speculation is not None
    assert assisted.speculation.proposed > 0


def test_an_assistant_of_another_vocabulary_is_refused(model: Callable[..., Path]) -> None:
    with pytest.raises(SettingsError, match=rf"ASSISTANT_MODEL {LARGE_V3}-float32 has {LARGE_V3} tokens"):
        load_asr(str(model(MULTILINGUAL)), assistant=str(model(LARGE_V3)))


LOADING = """
import sys
from turnscribe.asr.registry import load_asr
load_asr(sys.argv[1])
print(*sorted(set(sys.modules) & set(sys.argv[2:])))
print("transformers.models.whisper.modeling_whisper" in sys.modules)
"""
SLOW = ("ctranslate2", "torchvision", "torchaudio", "scipy", "sklearn", "pandas", "sympy", "pyannote.audio")


def test_the_engine_loads_it_without_slow_imports(model: Callable[..., Path]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LOADING, str(model(ENGLISH)), *SLOW],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.stdout == "\nFalse\n", ran.stderr


# --- where it is found ----------------------------------------------------------------------------------------


def test_a_folder_of_transformers_is_not_taken_for_one(
    whisper: Callable[[int], Path], model: Callable[..., Path]
) -> None:
    assert is_ctranslate2(str(model(ENGLISH)))
    assert not is_ctranslate2(str(whisper(ENGLISH)))
    assert not is_ctranslate2(HUB_ID)


def cached(folder: Path, cache: Path) -> Path:
    """`folder` as huggingface_hub keeps a repository."""
    repository = cache / f"models--{HUB_ID.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    return Path(shutil.copytree(folder, repository / "snapshots" / ("0" * 40)))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and HF_HUB_OFFLINE."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_hub_id_in_the_cache_needs_no_network(model: Callable[..., Path], offline: Path) -> None:
    cached(model(MULTILINGUAL), offline)
    assert load_asr(HUB_ID).capabilities.multilingual


def test_a_repository_that_is_cached_in_part_says_what_it_lacks(model: Callable[..., Path], offline: Path) -> None:
    (cached(model(MULTILINGUAL), offline) / "model.bin").unlink()
    with pytest.raises(SettingsError, match=rf"^ASR_MODEL {HUB_ID} lacks model.bin: "):
        load_asr(HUB_ID)


def test_offline_and_not_cached_is_said(offline: Path) -> None:
    with pytest.raises(SettingsError, match="is not on this machine and the Hub cannot be reached"):
        load_asr(HUB_ID)


def test_of_a_hub_id_only_what_is_read_is_fetched(
    model: Callable[..., Path], whisper: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[Any] = []
    source = {"ct2/whisper": model(ENGLISH), "hf/whisper": whisper(ENGLISH)}

    def file(repository: str, name: str, *, token: str | None) -> str:
        fetched.append((repository, name, token))
        if repository not in source:
            raise EntryNotFoundError("no such file")
        return str(source[repository] / name)

    def snapshot(repository: str, *, token: str | None, allow_patterns: list[str]) -> str:
        fetched.append((repository, sorted(allow_patterns), token))
        return str(source[repository])

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", file)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert find_ctranslate2("ct2/whisper", "hf_secret") == str(model(ENGLISH))
    wanted = ["config.json", "model.bin", "tokenizer.json", "vocabulary.json", "vocabulary.txt"]
    assert fetched == [("ct2/whisper", "config.json", "hf_secret"), ("ct2/whisper", wanted, "hf_secret")]
    assert find_ctranslate2("hf/whisper", None) is None
    assert find_ctranslate2("no/whisper", None) is None
    assert len(fetched) == 4


# --- what is refused ------------------------------------------------------------------------------------------


def refusal(folder: Path) -> str:
    """Of loading, and before it: the same."""
    with pytest.raises(SettingsError) as refused:
        load_asr(str(folder))
    message = str(refused.value)
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        describe_ctranslate2(str(folder), variable="ASR_MODEL")
    assert message.startswith("ASR_MODEL small ")
    assert message.endswith(".")
    assert str(folder.parent) not in message
    return message


def test_a_file_cut_off_is_refused(copied: Path) -> None:
    whole = (copied / "model.bin").read_bytes()
    for share in (0.001, 0.3, 0.9, 1 - 1 / len(whole)):
        (copied / "model.bin").write_bytes(whole[: int(len(whole) * share)])
        assert "cut off or damaged" in refusal(copied)


@pytest.mark.parametrize("damaged", ["tokenizer.json", "config.json"])
@pytest.mark.parametrize("contents", ["", "{", "[]", '{"version": 1}'])
def test_a_damaged_file_beside_the_weights_is_named(copied: Path, damaged: str, contents: str) -> None:
    (copied / damaged).write_text(contents)
    if (damaged, contents) == ("config.json", '{"version": 1}'):
        assert is_ctranslate2(str(copied))
        return
    assert f"damaged {damaged}" in refusal(copied)


@pytest.mark.parametrize("contents", ["", "[1, 2]", '{"a": 1}', '["a", "b"]'])
def test_a_damaged_vocabulary_is_named(copied: Path, contents: str) -> None:
    (copied / "tokenizer.json").unlink()
    (copied / "vocabulary.json").write_text(contents)
    assert "damaged vocabulary.json" in refusal(copied)
    (copied / "vocabulary.json").unlink()
    assert "lacks tokenizer.json and vocabulary.json" in refusal(copied)


def test_the_tokenizer_of_another_model_is_refused(copied: Path, model: Callable[..., Path]) -> None:
    shutil.copy(model(MULTILINGUAL) / "tokenizer.json", copied)
    assert f"has {ENGLISH} tokens and its tokenizer.json {MULTILINGUAL}" in refusal(copied)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("suppress_ids", [ENGLISH]),
        ("suppress_ids", "all"),
        ("suppress_ids_begin", [-1]),
        ("alignment_heads", [[3, 0]]),
        ("alignment_heads", [[0, 4]]),
        ("alignment_heads", [[0]]),
        ("alignment_heads", 7),
    ],
)
def test_a_configuration_of_another_model_is_refused(copied: Path, key: str, value: Any) -> None:
    change_config(copied, **{key: value})
    assert f"{key} in its config.json" in refusal(copied)


WIDTH = np.zeros(32, np.float32)


@pytest.mark.parametrize(
    "changed",
    [
        {"decoder/layer_norm/beta": None},
        {"decoder/layer_norm/beta": np.zeros(33, np.float32)},
        {"decoder/layer_norm/beta": np.zeros(32, np.int32)},
        {"decoder/layer_norm/beta": np.zeros(32, np.int8)},  # no scale
        {"decoder/more": WIDTH},
        {"decoder/layer_9/ffn/layer_norm/beta": WIDTH},
        {"decoder/layer_4000000000/ffn/layer_norm/beta": WIDTH},
        {"encoder/num_heads": None},
        {"encoder/num_heads": np.array(5, np.int16)},
        {"encoder/num_heads": np.array(0, np.int16)},
        {"encoder/conv1/weight": np.zeros(32, np.float32)},
        {"encoder/position_encodings/encodings": np.zeros((750, 32), np.float32)},
        {"decoder/position_encodings/encodings": np.zeros((448, 64), np.float32)},
        {"decoder/projection/weight": np.zeros((ENGLISH, 32), np.float32)},  # not the embedding's
    ],
)
def test_weights_of_no_whisper_are_refused(copied: Path, changed: dict[str, Any]) -> None:
    path = copied / "model.bin"
    file = open_model_file(path, "small", kind="WhisperSpec", revision=3)
    output, embedding = "decoder/projection/weight", "decoder/embeddings/weight"
    variables: dict[str, Any] = {name: file.tensor(name).numpy() for name in file.variables if name != output}
    variables |= changed
    kept = {name: values for name, values in variables.items() if values is not None}
    files.write_model_file(path, kept, {} if output in kept else {output: embedding})
    assert "not those of a Whisper" in refusal(copied)
