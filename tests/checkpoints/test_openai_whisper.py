"""Checkpoints in the format of openai-whisper, without that package (`platforms/aws` compares with it)."""

from __future__ import annotations

import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from config import ModelSettings
from handler import EndpointHandler
from tests.checkpoints.openai_files import (
    ENGLISH,
    LARGE_V3,
    MULTILINGUAL,
    dimensions,
    random_state,
    save,
    write_vocabulary,
)
from tests.conftest import REPOSITORY
from tests.engine.models import sound
from tools.benchmarks.peers import openai_name
from turnscribe.asr.protocol import Asr
from turnscribe.asr.registry import load_asr
from turnscribe.checkpoints import openai_vocabulary
from turnscribe.checkpoints.openai_whisper import (
    WhisperComponents,
    describe_checkpoint,
    is_checkpoint,
    load_checkpoint,
)
from turnscribe.errors import SettingsError
from turnscribe.request import DecodingOptions
from turnscribe.waveform import to_wav
from turnscribe.whisper.alignment import alignment_heads
from turnscribe.whisper.constants import LONGEST_PROMPT
from turnscribe.whisper.generation_config import keyword_tokens, prompt_tokens

pytestmark = pytest.mark.slow

EVERYTHING = DecodingOptions(compression_ratio_threshold=None, logprob_threshold=None, no_speech_threshold=None)


@pytest.fixture(autouse=True)
def _no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """No openai-whisper is installed, whatever this machine has."""
    monkeypatch.setattr(openai_vocabulary.importlib.util, "find_spec", lambda _: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint of each kind and its vocabulary; one thread, as for `no_gradients`."""
    made = tmp_path_factory.mktemp("checkpoints")
    for vocabulary in (MULTILINGUAL, LARGE_V3, ENGLISH):
        write_vocabulary(made, vocabulary)
        dims = dimensions(vocabulary)
        save(made / f"{vocabulary}.pt", dims, random_state(dims))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield made
    torch.set_num_threads(threads)


def converted(file: Path, weights: torch.dtype = torch.float32) -> WhisperComponents:
    return load_checkpoint(str(file), variable="ASR_MODEL", device="cpu", weights=weights)


# --- what is loaded -------------------------------------------------------------------------------------------


def their_name(ours: str) -> str:
    """openai's name of a weight of transformers; the benchmark, which goes the other way, spells them for itself."""
    return "decoder.token_embedding.weight" if ours == "proj_out.weight" else openai_name(ours)


@pytest.mark.parametrize("vocabulary", [MULTILINGUAL, LARGE_V3, ENGLISH])
def test_every_weight_is_in_its_place(folder: Path, vocabulary: int) -> None:
    model = converted(folder / f"{vocabulary}.pt").model
    state = random_state(dimensions(vocabulary))
    ours = model.state_dict()
    assert {their_name(name) for name in ours} == set(state)
    for name, tensor in ours.items():
        assert torch.equal(tensor, state[their_name(name)]), name
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert not model.training
    assert model.config._attn_implementation == "sdpa"


def test_the_parts_fit_the_checkpoint(folder: Path) -> None:
    large, english = converted(folder / f"{LARGE_V3}.pt"), converted(folder / f"{ENGLISH}.pt")
    assert large.feature_extractor.feature_size == large.model.config.num_mel_bins == 128
    assert english.feature_extractor.feature_size == 80
    assert (len(large.tokenizer), len(english.tokenizer)) == (LARGE_V3, ENGLISH)
    assert large.model.generation_config.lang_to_id["<|yue|>"] == 50358
    assert english.model.generation_config.decoder_start_token_id == 50257
    for made in (large, english):
        config = made.model.generation_config
        assert made.tokenizer.convert_tokens_to_ids("<|0.00|>") == config.no_timestamps_token_id + 1
        assert made.tokenizer.decode(made.tokenizer.encode(" tea eat", add_special_tokens=False)) == " tea eat"


@pytest.mark.parametrize("stored", [torch.float16, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wanted", [torch.float16, torch.float32])
def test_weights_get_the_type_that_is_asked_for(
    folder: Path, tmp_path: Path, stored: torch.dtype, wanted: torch.dtype
) -> None:
    write_vocabulary(tmp_path, ENGLISH)
    state = {name: tensor.to(stored) for name, tensor in random_state(dimensions(ENGLISH)).items()}
    model = converted(save(tmp_path / "small.pt", dimensions(ENGLISH), state), wanted).model
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == wanted
        assert torch.equal(tensor, state[their_name(name)].to(wanted)), name


def test_the_model_outlives_its_file(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, ENGLISH)
    state = random_state(dimensions(ENGLISH))
    file = save(tmp_path / "small.pt", dimensions(ENGLISH), state)
    model = converted(file).model
    with file.open("r+b") as opened:  # what was mapped would be gone, and the process with it
        opened.truncate(0)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[their_name(name)])


def test_a_released_name_brings_its_heads(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, ENGLISH)
    dims = dimensions(ENGLISH, n_audio_state=48, n_text_state=48, n_text_layer=4, n_text_head=6)
    named = converted(save(tmp_path / "tiny.en.pt", dims, random_state(dims))).model
    assert alignment_heads(named) == [(1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)]
    fine_tune = converted(save(tmp_path / "mine.pt", dims, random_state(dims))).model
    assert alignment_heads(fine_tune) == alignment_heads(named), "the shape tells what it was made from"
    other_shape = dimensions(ENGLISH)  # three layers of four heads
    misnamed = converted(save(tmp_path / "tiny.en.pt", other_shape, random_state(other_shape))).model
    assert alignment_heads(misnamed) == [(layer, head) for layer in (1, 2) for head in range(4)]


@pytest.mark.parametrize("vocabulary", [MULTILINGUAL, ENGLISH])
@pytest.mark.parametrize(
    "prompt",
    ["<|endoftext|>", "tea <|0.00|> eat<|nospeech|>", "<|<|en|>|>", "<|startofprev|><|startofprev|>", "<|endoftext|"],
)
def test_special_tokens_spelled_in_a_prompt_are_text(folder: Path, vocabulary: int, prompt: str) -> None:
    made = converted(folder / f"{vocabulary}.pt")
    config = made.weights.generation_config
    (first, *tokens), warnings = prompt_tokens(made.tokenizer, prompt)
    assert first == config.prev_sot_token_id
    assert max(tokens) < config.eos_token_id
    assert made.tokenizer.backend_tokenizer.decode(tokens) == f" {prompt}"
    assert not warnings


@pytest.mark.parametrize("vocabulary", [MULTILINGUAL, ENGLISH])
def test_keywords_come_before_the_prompt_as_many_as_there_is_room_for(folder: Path, vocabulary: int) -> None:
    made = converted(folder / f"{vocabulary}.pt")
    previous = made.weights.generation_config.prev_sot_token_id

    def told(prompt: str | None, keywords: list[str]) -> str:
        (first, *tokens), warnings = prompt_tokens(made.tokenizer, prompt, keywords)
        assert first == previous
        assert len(tokens) <= LONGEST_PROMPT
        assert not warnings
        return str(made.tokenizer.backend_tokenizer.decode(tokens))

    assert told("Dear Sir,", ["Ada Lovelace", "Zoë"]) == " Ada Lovelace, Zoë. Dear Sir,"
    assert told(None, ["<|endoftext|>"]) == " <|endoftext|>."
    many = [f"Zebra{number}" for number in range(200)]
    shown = told("Dear Sir,", many)
    assert shown.startswith(" Zebra0, Zebra1, Zebra2")
    assert shown.endswith(". Dear Sir,")
    assert told("x " * LONGEST_PROMPT, many) == " x" * LONGEST_PROMPT, "no room"
    assert prompt_tokens(made.tokenizer, None, []) == ([], [])


@pytest.mark.parametrize("vocabulary", [MULTILINGUAL, ENGLISH])
def test_a_keyword_has_the_tokens_that_it_has_in_a_text(folder: Path, vocabulary: int) -> None:
    """After a space, but in writing without spaces; and as it begins a sentence."""
    tokenizer = converted(folder / f"{vocabulary}.pt").tokenizer
    tokens = keyword_tokens(tokenizer, ["ada", "Zoë", "東京", "กรุงเทพ"])
    decoded = [tokenizer.backend_tokenizer.decode(list(one)) for one in tokens]
    assert decoded == [" ada", " Ada", " Zoë", "東京", "กรุงเทพ"]
    assert keyword_tokens(tokenizer, []) == ()


# --- what is made of it ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asrs(folder: Path) -> Callable[[int, Any], Asr]:
    loaded: dict[tuple[int, str], Asr] = {}

    def get(vocabulary: int, backend: Any) -> Asr:
        if (vocabulary, backend) not in loaded:
            loaded[vocabulary, backend] = load_asr(str(folder / f"{vocabulary}.pt"), backend=backend)
        return loaded[vocabulary, backend]

    return get


@pytest.mark.parametrize("vocabulary", [MULTILINGUAL, LARGE_V3, ENGLISH])
def test_both_backends_decode_the_same(asrs: Callable[[int, Any], Asr], vocabulary: int) -> None:
    waveform = sound(0, 22.0)
    engine, reference = (asrs(vocabulary, backend).transcribe(waveform, EVERYTHING) for backend in BACKENDS)
    assert [(chunk.text, chunk.start, chunk.end) for chunk in engine.chunks] == [
        (chunk.text, chunk.start, chunk.end) for chunk in reference.chunks
    ]
    assert engine.language == reference.language
    assert sum(len(chunk.text) for chunk in engine.chunks) > 10


BACKENDS = ("engine", "transformers")


def test_english_only_knows_english_only(asrs: Callable[[int, Any], Asr]) -> None:
    for backend in BACKENDS:
        assert asrs(ENGLISH, backend).capabilities.languages == {"en"}
        assert not asrs(ENGLISH, backend).capabilities.multilingual
        assert len(asrs(LARGE_V3, backend).capabilities.languages) == 100
        assert asrs(MULTILINGUAL, backend).capabilities.multilingual


def test_the_handler_takes_a_checkpoint_of_its_folder(folder: Path) -> None:
    handler = EndpointHandler(str(folder), ModelSettings(asr_model=f"{MULTILINGUAL}.pt"))
    parameters = {"timestamps": "word", "compression_ratio_threshold": 1000, "logprob_threshold": -1000, "vad": False}
    answer = handler({"inputs": to_wav(sound(0, 22.0)), "parameters": parameters})
    assert answer["text"]
    assert "".join(word["word"] for word in answer["words"]).strip() == answer["text"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_checkpoint_can_be_the_assistant(folder: Path, tmp_path: Path, backend: Any) -> None:
    write_vocabulary(tmp_path, MULTILINGUAL)
    dims = dimensions(MULTILINGUAL, n_audio_layer=1, n_text_layer=1)
    small = save(tmp_path / "small.pt", dims, random_state(dims, seed=4))
    asr = load_asr(str(folder / f"{MULTILINGUAL}.pt"), assistant=str(small), backend=backend)
    waveform = sound(0, 22.0)
    plain, assisted = (
        asr.transcribe(waveform, DecodingOptions(**{**vars(EVERYTHING), "language": "de", "assisted": assisted}))
        for assisted in (False, True)
    )
    assert [chunk.text for chunk in assisted.chunks] == [chunk.text for chunk in plain.chunks]
    assert assisted.speculation is not None
    assert assisted.speculation.proposed > 0


def test_an_assistant_of_another_vocabulary_is_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match=rf"ASSISTANT_MODEL {LARGE_V3}.pt has {LARGE_V3} tokens"):
        load_asr(str(folder / f"{MULTILINGUAL}.pt"), assistant=str(folder / f"{LARGE_V3}.pt"))


LOADING = """
import sys
asked = []
sys.addaudithook(lambda event, _: asked.append(event) if event in {"socket.connect", "socket.getaddrinfo"} else None)
from turnscribe.asr.registry import load_asr
load_asr(sys.argv[1], assistant=sys.argv[2])
print("checkpoint:", len(asked), "whisper" in sys.modules)
from huggingface_hub import constants, get_session
try:
    get_session().get(constants.ENDPOINT)
except OSError:
    pass
except Exception as error:
    assert type(error).__name__ == "ConnectError", error
print("hub:", len(asked) > 0)
"""


def test_nothing_is_fetched(folder: Path) -> None:
    """With the Hub allowed, where nobody listens; asking it is the control."""
    online = {
        name: value for name, value in os.environ.items() if not re.match("HF_|TRANSFORMERS_|.*_proxy$", name, re.I)
    }
    online |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}
    file = str(folder / f"{MULTILINGUAL}.pt")
    ran = subprocess.run(
        [sys.executable, "-c", LOADING, file, file],
        cwd=REPOSITORY,
        env=online,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.stdout.splitlines() == ["checkpoint: 0 False", "hub: True"], ran.stderr


# --- what is refused ------------------------------------------------------------------------------------------


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> Any:
        return open, (str(self.sprung), "w")


def refusal(file: Path) -> str:
    """Of loading, and before it: the same."""
    with pytest.raises(SettingsError) as refused:
        load_asr(str(file))
    with pytest.raises(SettingsError, match=f"^{re.escape(str(refused.value))}$"):
        describe_checkpoint(str(file), variable="ASR_MODEL")
    message = str(refused.value)
    assert message.startswith(f"ASR_MODEL {file.name} ")
    assert message.endswith(".")
    assert str(file.parent) not in message
    return message


def test_code_in_a_checkpoint_is_not_run(folder: Path, tmp_path: Path) -> None:
    dims, sprung = dimensions(ENGLISH), tmp_path / "sprung"
    contents = {"dims": dims, "model_state_dict": random_state(dims), "more": Trap(sprung)}
    file, older = tmp_path / "small.pt", tmp_path / "older.pt"
    torch.save(contents, file)
    torch.save(contents, older, _use_new_zipfile_serialization=False)
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Trap(sprung)))
    write_vocabulary(tmp_path, ENGLISH)
    assert "nothing of it was run" in refusal(file)
    assert "zip format" in refusal(older)
    assert "zip format" in refusal(plain)
    assert not sprung.exists()
    torch.load(file, weights_only=False)  # the trap works
    assert sprung.exists()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_torchscript_archive_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch 2.5 hands one to `torch.jit.load`, weights only or not."""
    compressed, file = tmp_path / "compressed.pt", tmp_path / "scripted.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), compressed)
    with zipfile.ZipFile(compressed) as archive, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as stored:
        for entry in archive.infolist():
            stored.writestr(entry.filename, archive.read(entry))
    torch.jit.load(file)  # it is one
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was loaded"))
    assert "zip format" in refusal(compressed)
    assert "zip format" in refusal(file)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_file_that_shows_torch_other_contents_than_python_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two directories: torch reads the first, which has TorchScript in it, zipfile the second, which has not."""
    compressed, stored, file = (tmp_path / name for name in ("compressed.pt", "stored.pt", "two.pt"))
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), compressed)
    with zipfile.ZipFile(compressed) as archive, zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as plain:
        for entry in archive.infolist():
            plain.writestr(entry.filename, archive.read(entry))
    data = stored.read_bytes()
    end = data.rfind(b"PK\x05\x06")
    _, _, _, _, number, size, offset, _ = struct.unpack("<4s4H2LH", data[end : end + 22])
    harmless = data[offset : offset + size].replace(b"constants.pkl", b"constants.pkx")
    last = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, size, offset, 0)
    file.write_bytes(data[: offset + size] + harmless + last)
    with zipfile.ZipFile(file) as archive:
        assert not any(name.endswith("constants.pkl") for name in archive.namelist())
    torch.jit.load(file)  # it is one
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was loaded"))
    assert "zip format" in refusal(file)


def test_a_damaged_file_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / f"{ENGLISH}.pt").read_bytes()
    file = tmp_path / "small.pt"
    for contents in (b"", b"<html>not found</html>", whole[:1000], whole[: len(whole) // 2], whole[1000:]):
        file.write_bytes(contents)
        refusal(file)


def test_a_compressed_file_is_refused(folder: Path, tmp_path: Path) -> None:
    """Mapped, it would be noise."""
    file = tmp_path / "small.pt"
    with (
        zipfile.ZipFile(folder / f"{ENGLISH}.pt") as stored,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped,
    ):
        for entry in stored.infolist():
            zipped.writestr(entry.filename, stored.read(entry))
    assert "zip format" in refusal(file)


@pytest.mark.parametrize(
    "contents",
    [
        [1, 2],
        {"state_dict": {}},
        {"dims": [80], "model_state_dict": {}},
        {"dims": dimensions(ENGLISH), "model_state_dict": torch.zeros(3)},
        {"encoder.conv1.weight": torch.zeros(3)},
    ],
)
def test_another_models_file_is_refused(tmp_path: Path, contents: Any) -> None:
    write_vocabulary(tmp_path, ENGLISH)
    file = tmp_path / "small.pt"
    torch.save(contents, file)
    assert "dims and model_state_dict" in refusal(file)


@pytest.mark.parametrize(
    "changed",
    [
        {"n_vocab": 51867},
        {"n_vocab": "51864"},
        {"n_audio_layer": 0},
        {"n_audio_layer": 10**12},
        {"n_text_layer": -1},
        {"n_text_layer": 3.0},
        {"n_text_layer": True},
        {"n_audio_head": 5},
        {"n_text_head": 64},
        {"n_audio_ctx": 750},
        {"n_text_ctx": 224},
        {"n_text_state": 64},
        {"n_more": 1},
    ],
)
def test_dims_of_no_whisper_are_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    write_vocabulary(tmp_path, ENGLISH)
    file = save(tmp_path / "small.pt", dimensions(ENGLISH) | changed, random_state(dimensions(ENGLISH)))
    assert "dims that are not a Whisper's" in refusal(file)


def test_missing_dims_are_refused(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, ENGLISH)
    dims = dimensions(ENGLISH)
    state = random_state(dims)
    del dims["n_mels"]
    assert "dims that are not a Whisper's" in refusal(save(tmp_path / "small.pt", dims, state))


@pytest.mark.parametrize(
    "changed",
    [
        {"decoder.ln.bias": None},
        {"decoder.more": torch.zeros(3)},
        {"decoder.ln.bias": torch.zeros(33)},
        {"decoder.ln.bias": torch.zeros(32, dtype=torch.int64)},
        {"decoder.ln.bias": 3},
        {"proj_out.weight": torch.zeros(ENGLISH, 32)},
        {7: torch.zeros(3)},
        {"model.decoder.layer_norm.bias": torch.zeros(32)},
    ],
)
def test_weights_that_are_not_those_of_the_dims_are_refused(tmp_path: Path, changed: dict[Any, Any]) -> None:
    write_vocabulary(tmp_path, ENGLISH)
    state = {**random_state(dimensions(ENGLISH)), **changed}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    assert "weights that its dims name" in refusal(save(tmp_path / "small.pt", dimensions(ENGLISH), state))


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "not there" in refusal(tmp_path / "large-v3.pt")


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(tmp_path / "small.pt", dimensions(ENGLISH), random_state(dimensions(ENGLISH)))
    opened = Path.open

    def forbidden(path: Path, *args: Any, **kwargs: Any) -> Any:  # root may read anything
        if path == file:
            raise PermissionError(str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", forbidden)
    assert "check the permissions" in refusal(file)


def test_only_files_are_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    assert not is_checkpoint(str(tmp_path / "folder.pt"))
    assert not is_checkpoint("openai/whisper-large-v3")
    assert is_checkpoint("models/Large-V3.PT")


# --- the vocabulary file --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vocabulary", "name"),
    [(MULTILINGUAL, "multilingual.tiktoken"), (LARGE_V3, "multilingual.tiktoken"), (ENGLISH, "gpt2.tiktoken")],
)
def test_a_missing_vocabulary_is_named_and_where_it_goes(tmp_path: Path, vocabulary: int, name: str) -> None:
    file = save(tmp_path / "small.pt", dimensions(vocabulary), random_state(dimensions(vocabulary)))
    message = refusal(file)
    assert name in message
    assert "beside the checkpoint" in message


def test_the_vocabulary_of_an_installed_package_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside, package = tmp_path / "beside", tmp_path / "site" / "whisper"
    beside.mkdir()
    (package / "assets").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('it was imported')")
    monkeypatch.undo()  # of `_no_package`
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "whisper", raising=False)
    assert openai_vocabulary.find_vocabulary("gpt2.tiktoken", beside) is None  # another package of this name
    installed = write_vocabulary(package / "assets", ENGLISH)
    assert openai_vocabulary.find_vocabulary("gpt2.tiktoken", beside) == installed
    own = write_vocabulary(beside, ENGLISH)
    assert openai_vocabulary.find_vocabulary("gpt2.tiktoken", beside) == own


def test_a_module_of_that_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whisper.py").write_text("raise RuntimeError('it was imported')")
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "whisper", raising=False)
    assert openai_vocabulary.find_vocabulary("gpt2.tiktoken", tmp_path) is None


@pytest.mark.parametrize(
    "damaged",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole.replace(b" 77\n", b" 78\n"),
        lambda whole: whole.replace(b"QQ== ", b"QQ= "),
        lambda whole: whole[whole.index(b"\n") + 1 :],
        lambda whole: b"<html>\n",
        lambda whole: b"",
    ],
)
def test_a_damaged_vocabulary_is_refused(folder: Path, tmp_path: Path, damaged: Callable[[bytes], bytes]) -> None:
    vocabulary = write_vocabulary(tmp_path, ENGLISH)
    vocabulary.write_bytes(damaged(vocabulary.read_bytes()))
    file = save(tmp_path / "small.pt", dimensions(ENGLISH), random_state(dimensions(ENGLISH)))
    with pytest.raises(SettingsError, match=r"^gpt2\.tiktoken "):
        load_asr(str(file))


def test_the_vocabulary_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, MULTILINGUAL).rename(tmp_path / "gpt2.tiktoken")
    file = save(tmp_path / "small.pt", dimensions(ENGLISH), random_state(dimensions(ENGLISH)))
    with pytest.raises(SettingsError, match=r"^gpt2\.tiktoken has 50257 tokens and the checkpoint 50256"):
        load_asr(str(file))
