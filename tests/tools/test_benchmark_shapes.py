"""The benchmarks' random models: all programs must do the same work on them, in every supported version."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tools.benchmarks import shapes
from tools.benchmarks.audio import speech
from tools.benchmarks.peers import TransformersPipeline, Work, peers
from tools.benchmarks.shapes import SHAPES, distilled, make_assistant, make_diarizer, make_whisper

pytestmark = pytest.mark.slow

NEW_TOKENS = 20
TEST = SHAPES["test"]


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory):
    return make_whisper(TEST, tmp_path_factory.mktemp("shapes") / "test", new_tokens=NEW_TOKENS)


def test_named_shapes_have_the_true_vocabularies():
    assert {shape.vocab_size for shape in SHAPES.values()} == {51_865, 51_866}
    assert (SHAPES["base"].first_timestamp, SHAPES["large-v3"].first_timestamp) == (50_364, 50_365)
    assert SHAPES["distil-large-v3"].decoder_layers == 2
    assert SHAPES["distil-large-v3"].encoder_layers == 32


@pytest.mark.parametrize("name", ["transformers stock", "transformers greedy", "transformers assisted"])
def test_pipeline_decodes_the_same_number_of_tokens_in_every_window(whisper_folder, tmp_path, name):
    assistant = make_assistant(TEST, whisper_folder, tmp_path / "assistant")
    (peer,) = (peer for peer in peers() if peer.name == name)
    assert peer.available() is None
    peer.load(whisper_folder, assistant=assistant)
    work = peer(speech(45))
    assert (work.windows, work.tokens) == (2, 2 * NEW_TOKENS)
    assert work.is_full(NEW_TOKENS)
    for row in work.rows:
        assert row[0] >= TEST.first_timestamp
        assert all(256 <= token < shapes.TEXT_TOKENS - 1 for token in row[1:])
        assert len(set(row)) > NEW_TOKENS // 2


def test_speculation_changes_no_token(whisper_folder, tmp_path):
    rows = []
    for assisted in (False, True):
        peer = TransformersPipeline("greedy", beams=1, assisted=assisted)
        peer.load(whisper_folder, assistant=make_assistant(TEST, whisper_folder, tmp_path / "assistant"))
        rows.append(peer(speech(30)).rows)
    assert rows[0] == rows[1]


def test_every_text_token_is_a_word_and_survives_the_tokenizer(whisper_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(whisper_folder))
    assert len(tokenizer) == TEST.vocab_size
    ids = list(range(300, shapes.TEXT_TOKENS - 1, 997))
    text = tokenizer.decode(ids)
    assert text.startswith(" ")
    assert len(text.split()) == len(ids)
    assert tokenizer.encode(text, add_special_tokens=False) == ids
    names = ["<|endoftext|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>", "<|0.00|>", "<|30.00|>"]
    wanted = [50_257, 50_259, 50_359, 50_363, 50_364, 51_864]
    assert tokenizer.convert_tokens_to_ids(names) == wanted


def test_assistant_has_the_encoder_and_the_outer_decoder_layers(tmp_path):
    from safetensors.torch import load_file

    deep = replace(TEST, name="deep", decoder_layers=3)
    main = make_whisper(deep, tmp_path / "deep", new_tokens=NEW_TOKENS)
    assistant = make_assistant(deep, main, tmp_path / "assistant")
    theirs, ours = (load_file(folder / "model.safetensors") for folder in (main, assistant))
    assert json.loads((assistant / "config.json").read_text())["decoder_layers"] == 2
    last, kept = "model.decoder.layers.2.fc1.weight", "model.decoder.layers.1.fc1.weight"
    assert theirs[last].equal(ours[kept])
    assert len(ours) < len(theirs)
    assert all(
        theirs[name].equal(ours[name]) for name in ours if ".layers.1." not in name or "encoder.layers" in name
    )
    assert distilled(deep).name == "distil-deep"


def test_folder_is_made_once_and_never_half(tmp_path, monkeypatch):
    folder = tmp_path / "model"

    def interrupted(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shapes, "write_tokenizer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_whisper(TEST, folder, new_tokens=NEW_TOKENS)
    assert not folder.exists()

    make_whisper(TEST, folder, new_tokens=NEW_TOKENS)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    made = (folder / "model.safetensors").stat().st_mtime_ns
    make_whisper(TEST, folder, new_tokens=NEW_TOKENS)
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    with pytest.raises(ValueError, match="delete it"):
        make_whisper(TEST, folder, new_tokens=NEW_TOKENS + 1)


def test_speech_has_the_length_asked_for_and_is_heard():
    waveform = speech(100.5)
    assert waveform.dtype == np.float32
    assert len(waveform) == 1_608_000
    assert 0.01 < float(np.abs(waveform[-160_000:]).mean()) < 0.5
    assert not np.array_equal(waveform[:160_000], speech(60)[-160_000:])


def test_work_counts_windows_and_tokens():
    work = Work(((1, 2), (3, 4)))
    assert (work.windows, work.tokens) == (2, 4)
    assert work.is_full(2)
    assert not Work(((1,), (3, 4))).is_full(2)


@pytest.mark.models
def test_random_diarizer_finds_varied_turns(tmp_path):
    from diarization_utils import diarize, load_diarizer

    diarizer = load_diarizer(str(make_diarizer(tmp_path / "diarizer")))
    segmentation = diarizer.pipeline._segmentation
    assert segmentation.duration == 10.0
    assert segmentation.step == pytest.approx(1.0)
    segmentation.step = 5.0  # three windows instead of eleven, each of which takes the ResNet a second a speaker
    waveform = speech(20)
    activity = segmentation({"waveform": _batched(waveform), "sample_rate": 16_000}).data  # [windows, frames, 3]
    at_once = np.bincount(activity.sum(axis=-1).astype(int).ravel(), minlength=4) / activity[..., 0].size
    assert (at_once[:3] > 0.02).all()
    assert at_once[3] == 0
    turns = diarize(diarizer, waveform)
    assert len(turns) > 5
    spoken = sum(turn.end - turn.start for turn in turns)
    assert 5 < spoken < 20


def _batched(waveform):
    import torch

    return torch.from_numpy(waveform)[None]
