"""The trainer of the demo Whisper, on a bank of noise: no synthesizer is needed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import REPOSITORY
from tools.train_demo_models.asr import distil, train
from tools.train_demo_models.asr_data import FRAMES, IGNORED, make_batch
from tools.train_demo_models.asr_model import OFFSETS, WIDTH, LogMel, Trainee, new_model
from tools.train_demo_models.bank import Bank, Stage, load_bank, save_bank
from tools.train_demo_models.tokenizer import TokenIds, text_tokens
from turnscribe.cli.evaluation.synthetic_speech import VOICES, TimedWord, Utterance, vocabulary
from turnscribe.waveform import SAMPLE_RATE

pytestmark = pytest.mark.slow

TINY = (Stage(2.0, 2, 2), Stage(30.0, 1, 1))


@pytest.fixture(scope="module")
def bank() -> Bank:
    generator = np.random.default_rng(0)

    def utterance(voice: str, words: list[str]) -> Utterance:
        waveform = generator.standard_normal(len(words) * SAMPLE_RATE // 2, np.float32) * 0.05
        timed = tuple(TimedWord(word, index / 2 + 0.05, index / 2 + 0.45) for index, word in enumerate(words))
        return Utterance(voice, waveform, timed)

    words = vocabulary()
    return Bank(
        {voice: [utterance(voice, [word]) for word in words[:20]] for voice in VOICES},
        {voice: [utterance(voice, words[first : first + 4]) for first in range(0, 40, 4)] for voice in VOICES},
    )


@pytest.fixture(scope="module")
def ids() -> TokenIds:
    return TokenIds()


def test_every_word_is_one_token_of_the_saved_tokenizer(ids: TokenIds) -> None:
    from transformers import WhisperTokenizerFast

    tokenizer = WhisperTokenizerFast.from_pretrained(REPOSITORY / "demo" / "whisper")
    assert len(vocabulary()) == len(set(vocabulary())) >= 120
    for word, token in ids.words.items():
        assert tokenizer.encode(" " + word, add_special_tokens=False) == [token]
    assert tokenizer.convert_tokens_to_ids("<|0.00|>") == ids.first_timestamp
    assert tokenizer.convert_tokens_to_ids("<|30.00|>") == ids.size - 1


def test_no_merge_competes_with_another() -> None:
    _, merges = text_tokens()
    assert len({left + right for left, right in merges}) == len(merges)
    assert all(len(right) == 1 for _, right in merges)


def test_a_batch_says_where_every_word_is(bank: Bank, ids: TokenIds) -> None:
    by_number = dict(enumerate(ids.words.values(), start=1))
    words = 0
    for seed in range(20):
        batch = make_batch(bank, ids, random.Random(seed), Stage(4.0, 3, 1))
        frames = batch.frame_words.shape[1]
        assert frames == 200
        assert 0 <= batch.first_frame <= FRAMES - frames
        for row, position in torch.nonzero((batch.targets != IGNORED) & (batch.targets < ids.end)).tolist():
            first, last = batch.target_frames[row, position].tolist()
            assert 0 <= first < last <= frames
            labels = batch.frame_words[row, first:last].tolist()
            assert {by_number.get(label) for label in labels} == {int(batch.targets[row, position])}
            words += 1
        times = batch.targets[batch.targets >= ids.first_timestamp] - ids.first_timestamp - batch.first_frame
        assert ((times >= 0) & (times <= frames)).all()
    assert words > 50


def test_features_are_those_of_transformers() -> None:
    from transformers import WhisperFeatureExtractor

    waveform = np.random.default_rng(1).standard_normal(30 * SAMPLE_RATE, np.float32) * 0.1
    expected = WhisperFeatureExtractor(feature_size=80)(waveform, sampling_rate=SAMPLE_RATE, return_tensors="pt")
    computed = LogMel()(torch.from_numpy(waveform)[None])
    assert torch.allclose(computed, expected.input_features, atol=1e-4)


def test_the_training_forward_is_the_models_own(ids: TokenIds) -> None:
    torch.manual_seed(0)
    trainee = Trainee(ids, new_model(ids)).eval()
    features = torch.randn(1, 80, 2 * FRAMES)
    tokens = torch.tensor([[ids.start, ids.english, ids.transcribe, ids.first_timestamp + 70, 300, 301]])
    with torch.no_grad():
        logits, _ = trainee.decode(tokens, trainee.encode(features, 0))
        trainee.settle()
        expected = trainee.whisper(input_features=features, decoder_input_ids=tokens).logits
    assert torch.allclose(logits, expected, atol=2e-4)


def test_encoder_heads_begin_by_looking_at_their_offset(ids: TokenIds) -> None:
    torch.manual_seed(0)
    encoder = new_model(ids).model.encoder
    hidden = 0.5 * torch.randn(400, WIDTH)
    hidden[:, :64] = 0
    with torch.no_grad():
        hidden = encoder.layers[0].self_attn_layer_norm(hidden + encoder.embed_positions.weight[:400])
        attention = encoder.layers[0].self_attn
        query, key = attention.q_proj(hidden).view(400, 6, 32), attention.k_proj(hidden).view(400, 6, 32)
        weights = torch.einsum("ihd,jhd->hij", query, key).mul(32**-0.5).softmax(-1)
    for head, offset in enumerate(OFFSETS[0]):
        near = [weights[head, i, i + offset - 1 : i + offset + 2].sum().item() for i in range(20, 380)]
        assert np.mean(near) > 0.5


def test_training_goes_on_from_its_checkpoint(bank: Bank, tmp_path: Path) -> None:
    short = TINY[:1]
    whole = train(bank, tmp_path / "a", seed=3, stages=TINY, refining=short, tracking=short)
    train(bank, tmp_path / "b", seed=3, stages=TINY, refining=(), tracking=())
    resumed = train(bank, tmp_path / "b", seed=3, stages=TINY, refining=short, tracking=short)
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, resumed.state_dict()[name], atol=1e-5), name


def test_the_assistant_keeps_the_encoder_and_learns_a_decoder_layer(
    bank: Bank, ids: TokenIds, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    main = Trainee(ids, new_model(ids))
    assistant = distil(main, bank, tmp_path, seed=3, stages=TINY[:1])
    main_weights, weights = main.whisper.state_dict(), assistant.whisper.state_dict()
    assert not any("decoder.layers.1" in name for name in weights)
    for name, value in weights.items():
        if "encoder." in name:
            assert torch.equal(value, main_weights[name]), name
    name = "model.decoder.layers.{}.fc1.weight"
    assert not torch.equal(weights[name.format(0)], main_weights[name.format(1)])


def test_the_bank_comes_back_from_disk(bank: Bank, tmp_path: Path) -> None:
    utterances = [u for group in (*bank.words.values(), *bank.sentences.values()) for u in group]
    save_bank(tmp_path / "bank.npz", utterances)
    loaded = load_bank(tmp_path / "bank.npz")
    for voice in VOICES:
        assert [u.words for u in loaded.sentences[voice]] == [u.words for u in bank.sentences[voice]]
        assert np.allclose(loaded.words[voice][3].waveform, bank.words[voice][3].waveform, atol=1e-4)
