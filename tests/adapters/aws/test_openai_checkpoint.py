"""A checkpoint made with openai-whisper, loaded by the handler's code, against openai-whisper itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from whisper.audio import log_mel_spectrogram, pad_or_trim
from whisper.decoding import DecodingTask
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import LANGUAGES, Tokenizer, get_tokenizer

from config import ModelSettings
from handler import EndpointHandler
from tests.checkpoints.openai_files import ENGLISH, LARGE_V3, MULTILINGUAL, dimensions, random_state, save, shapes
from tests.engine.models import sound
from turnscribe.asr.registry import load_asr
from turnscribe.checkpoints.openai_generation import ALIGNMENT_HEADS
from turnscribe.checkpoints.openai_whisper import WhisperComponents, load_checkpoint
from turnscribe.request import DecodingOptions
from turnscribe.waveform import to_wav
from turnscribe.whisper.alignment import alignment_heads
from turnscribe.whisper.reading import Reader

RATE = 16_000
CALM = DecodingOptions(compression_ratio_threshold=None, logprob_threshold=None, no_speech_threshold=None)
VOCABULARIES = (MULTILINGUAL, LARGE_V3, ENGLISH)
TEXTS = (
    " Hello, how are you? I'm fine, we'll see; they'd've gone.",
    "The 3 quick brown foxes cost $12,345.67 (or 1 000 000 yen)!",
    " Grüße aus Köln: süße Äpfel für 4,50 € – «très bien», ça va?",
    " Привет, как дела? Съешь ещё этих мягких французских булок.",
    "今日は天気がいいですね。東京タワーに行きましょう。",
    "我们明天去北京,好吗?粵語都得。",
    "안녕하세요, 만나서 반갑습니다.",
    " مرحبا، كيف حالك؟ שלום עולם नमस्ते दुनिया ขอบคุณ",
    " 👍🏽 family: 👨‍👩‍👧‍👦 flags 🇩🇪 and ♪♪ music ♫",
    "  two  spaces\tand\n\nlines   ",
    "\u00a0\u200b\ufeff combining e\u0301 \U00010348 \x00\x7f",
    "",
    " ",
)


@dataclass(frozen=True)
class Pair:
    """One model twice: openai's own, and what the handler's code made of its file."""

    file: Path
    theirs: Whisper
    ours: WhisperComponents
    loaded: dict[str, Any]  # by backend

    @property
    def tokenizer(self) -> Tokenizer:
        return get_tokenizer(self.theirs.is_multilingual, num_languages=self.theirs.num_languages)

    def asr(self, backend: Any) -> Any:
        if backend not in self.loaded:
            self.loaded[backend] = load_asr(str(self.file), backend=backend)
        return self.loaded[backend]

    def ids(self, text: str) -> list[int]:
        return list(self.ours.tokenizer.encode(text, add_special_tokens=False))


@pytest.fixture(scope="module", params=VOCABULARIES, ids=("multilingual", "large-v3", "english"))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The vocabulary file is found in the installed package: none lies beside the checkpoint."""
    dims = ModelDimensions(**dimensions(request.param))
    theirs = Whisper(dims).eval()
    theirs.load_state_dict(random_state(asdict(dims), seed=3))
    file = tmp_path_factory.mktemp("checkpoint") / "model.pt"
    torch.save({"dims": asdict(dims), "model_state_dict": theirs.state_dict()}, file)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ours = load_checkpoint(str(file), variable="ASR_MODEL", device="cpu", weights=torch.float32)
    yield Pair(file, theirs, ours, {})
    torch.set_num_threads(threads)


def heard(pair: Pair, waveform: np.ndarray) -> torch.Tensor:
    """`[mels, 3000]`, by openai-whisper."""
    return log_mel_spectrogram(pad_or_trim(waveform), n_mels=pair.theirs.dims.n_mels)


# --- the model ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_the_random_checkpoints_of_the_other_tests_are_as_openais(vocabulary: int) -> None:
    dims = dimensions(vocabulary)
    expected = {name: tuple(tensor.shape) for name, tensor in Whisper(ModelDimensions(**dims)).state_dict().items()}
    assert shapes(dims) == expected


@torch.inference_mode()
def test_encoder_and_decoder_compute_the_same(pair: Pair) -> None:
    mel = heard(pair, sound(3, 12.0))[None]
    encoded = pair.theirs.encoder(mel)
    np.testing.assert_allclose(pair.ours.model.get_encoder()(mel).last_hidden_state, encoded, atol=1e-4)
    assert encoded.std() > 0.1
    tokens = torch.randint(0, pair.theirs.dims.n_vocab, (2, 40), generator=torch.Generator().manual_seed(0))
    logits = pair.theirs.decoder(tokens, encoded.expand(2, -1, -1))
    ours = pair.ours.model(encoder_outputs=(encoded.expand(2, -1, -1),), decoder_input_ids=tokens).logits
    np.testing.assert_allclose(ours, logits, atol=1e-4)
    assert logits.std() > 0.1


def test_it_hears_the_same(pair: Pair) -> None:
    for seconds in (0.4, 12.3, 30.0):
        waveform = sound(5, seconds)
        features = pair.ours.feature_extractor(
            waveform, sampling_rate=RATE, return_tensors="pt", padding="max_length"
        ).input_features[0]
        np.testing.assert_allclose(features, heard(pair, waveform), atol=1e-5)


def test_a_checkpoint_in_float16_has_the_same_weights(pair: Pair, tmp_path: Path) -> None:
    halves = {name: tensor.half() for name, tensor in pair.theirs.state_dict().items()}
    file = save(tmp_path / "half.pt", asdict(pair.theirs.dims), halves)
    model = load_checkpoint(str(file), variable="ASR_MODEL", device="cpu", weights=torch.float32).model
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    theirs = Whisper(pair.theirs.dims).eval()
    theirs.load_state_dict(halves)
    mel = heard(pair, sound(3, 5.0))[None]
    with torch.inference_mode():
        np.testing.assert_allclose(model.get_encoder()(mel).last_hidden_state, theirs.encoder(mel), atol=1e-4)


# --- the tokens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_has_the_same_tokens_and_comes_back(pair: Pair, text: str) -> None:
    ids = pair.ids(text)
    assert ids == pair.tokenizer.encode(text)
    assert pair.ours.tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_random_text_has_the_same_tokens(pair: Pair) -> None:
    chance = random.Random(0)
    pieces = [pair.tokenizer.decode([token]) for token in range(pair.tokenizer.eot)]
    for _ in range(2000):
        text = "".join(chance.choice(pieces) for _ in range(chance.randint(1, 20)))
        text += "".join(chr(chance.randint(1, 0xD7FF)) for _ in range(chance.randint(0, 5)))
        assert pair.ids(text) == pair.tokenizer.encode(text, disallowed_special=())


def test_every_token_reads_the_same(pair: Pair) -> None:
    for token in range(pair.tokenizer.eot):
        assert pair.ours.tokenizer.decode([token], clean_up_tokenization_spaces=False) == pair.tokenizer.decode(
            [token], errors="replace"
        )


def test_special_tokens_have_the_same_ids(pair: Pair) -> None:
    theirs, ours = pair.tokenizer, pair.ours.tokenizer
    names = list(theirs.special_tokens)
    assert len(names) == pair.theirs.dims.n_vocab - theirs.eot
    assert len(ours) == pair.theirs.dims.n_vocab
    assert ours.convert_tokens_to_ids(names) == [theirs.special_tokens[name] for name in names]
    config = pair.ours.model.generation_config
    assert (config.decoder_start_token_id, config.eos_token_id) == (theirs.sot, theirs.eot)
    assert (config.no_timestamps_token_id, config.prev_sot_token_id) == (theirs.no_timestamps, theirs.sot_prev)
    assert theirs.timestamp_begin == ours.convert_tokens_to_ids("<|0.00|>") == ours.all_special_ids[-1] + 1
    assert config.is_multilingual == pair.theirs.is_multilingual
    if not pair.theirs.is_multilingual:
        assert not hasattr(config, "lang_to_id")
        return
    codes = list(LANGUAGES)[: theirs.num_languages]
    assert config.lang_to_id == {f"<|{code}|>": theirs.to_language_token(code) for code in codes}
    assert config.task_to_id == {"transcribe": theirs.transcribe, "translate": theirs.translate}


def test_earlier_text_is_marked_the_same(pair: Pair) -> None:
    expected = [pair.tokenizer.sot_prev, *pair.tokenizer.encode(" Names: Ångström & Co.")]
    assert list(pair.ours.tokenizer.get_prompt_ids("Names: Ångström & Co.")) == expected


def test_the_same_tokens_are_suppressed(pair: Pair) -> None:
    config, theirs = pair.ours.model.generation_config, pair.tokenizer
    task = DecodingTask(pair.theirs, whisper.DecodingOptions(language="en", fp16=False))
    assert tuple(config.suppress_tokens) == task._get_suppress_tokens()
    assert len(config.suppress_tokens) > 80
    assert set(config.begin_suppress_tokens) == {*theirs.encode(" "), theirs.eot}


# --- the alignment heads --------------------------------------------------------------------------------------


class Heads:
    """A `Whisper` as far as `set_alignment_heads` looks."""

    set_alignment_heads = Whisper.set_alignment_heads

    def __init__(self, layers: int, heads: int) -> None:
        self.dims: Any = type("Dims", (), {"n_text_layer": layers, "n_text_head": heads})

    def register_buffer(self, _: str, mask: torch.Tensor, persistent: bool) -> None:
        self.pairs = set(map(tuple, mask.indices().T.tolist()))


def test_the_table_is_openais() -> None:
    names = {name for name, _, _ in ALIGNMENT_HEADS}
    assert names == set(whisper._ALIGNMENT_HEADS) - {"large"}  # a name of three models so far
    for (name, layers, heads), table in ALIGNMENT_HEADS.items():
        unpacked = Heads(layers, heads)
        unpacked.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
        assert {(layer, head) for layer, among in table.items() for head in among} == unpacked.pairs, name


def test_an_unknown_checkpoint_has_openais_default_heads(pair: Pair) -> None:
    assert alignment_heads(pair.ours.model) == [
        tuple(head) for head in pair.theirs.alignment_heads.indices().T.tolist()
    ]


# --- decoding -------------------------------------------------------------------------------------------------


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The tokens of every window that is decoded."""
    tokens: list[list[int]] = []
    read = Reader.read

    def noting(self: Reader, decoded: Any, language: str | None) -> Any:
        tokens.append(decoded.tokens)
        return read(self, decoded, language)

    monkeypatch.setattr(Reader, "read", noting)
    return tokens


@pytest.mark.parametrize("backend", ["engine", "transformers"])
def test_greedy_decoding_gives_openais_tokens(pair: Pair, said: list[list[int]], backend: Any) -> None:
    waveform, first = sound(0, 22.0), pair.tokenizer.timestamp_begin
    multilingual = pair.theirs.is_multilingual
    for task, language in (("transcribe", "de"), ("translate", "ja")) if multilingual else (("transcribe", "en"),):
        theirs = whisper.decode(
            pair.theirs, heard(pair, waveform), whisper.DecodingOptions(task=task, language=language, fp16=False)
        )
        assert sum(token < first for token in theirs.tokens) > 10
        assert sum(token >= first for token in theirs.tokens) >= 2
        assert len(theirs.tokens) < 200  # it ended by itself
        said.clear()
        pair.asr(backend).transcribe(waveform, replace(CALM, task=task, language=language))
        assert said[0] == theirs.tokens


@pytest.mark.parametrize("backend", ["engine", "transformers"])
def test_the_same_language_is_heard(pair: Pair, backend: Any) -> None:
    asr, waveform = pair.asr(backend), sound(2, 14.0)
    expected, languages = "en", {"en"}
    if pair.theirs.is_multilingual:
        _, shares = pair.theirs.detect_language(heard(pair, waveform))
        expected = max(shares, key=shares.__getitem__)
        languages = set(list(LANGUAGES)[: pair.tokenizer.num_languages])
        assert expected != "en"
    assert asr.capabilities.languages == languages
    assert asr.transcribe(waveform, CALM).language == expected


@pytest.mark.parametrize("backend", ["engine", "transformers"])
def test_the_handler_transcribes_with_words(pair: Pair, backend: Any) -> None:
    settings = ModelSettings(asr_model=pair.file.name, asr_backend=backend)
    handler = EndpointHandler(str(pair.file.parent), settings)
    thresholds = {"compression_ratio_threshold": 1000, "logprob_threshold": -1000}
    parameters = {"timestamps": "word", "vad": False, **thresholds}  # the sound is nobody's
    answer = handler({"inputs": to_wav(sound(0, 22.0)), "parameters": parameters})
    assert answer["text"]
    assert answer["words"]
    assert "".join(word["word"] for word in answer["words"]).strip() == answer["text"]
    starts = [word["start"] for word in answer["words"]]
    assert all(0 <= start <= 22.0 for start in starts)
    assert len(set(starts)) > 2
