"""The transformers backend: on a scripted model for its logic, on the demo models for what it hears."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import WhisperForConditionalGeneration

from tests.conftest import REPOSITORY
from turnscribe.asr.registry import load_asr
from turnscribe.asr.transformers_backend import TransformersAsr
from turnscribe.errors import BadParameters, Cancelled, OutOfMemory, SettingsError
from turnscribe.listener import Listener
from turnscribe.request import DecodingOptions
from turnscribe.waveform import SAMPLE_RATE

# A vocabulary of letters: text below END, special tokens from END, timestamps from FIRST.
END, START, ENGLISH, GERMAN, TRANSLATE, TRANSCRIBE, PREVIOUS, NO_TIMESTAMPS = range(100, 108)
FIRST = NO_TIMESTAMPS + 1
INITIAL = [START, ENGLISH, TRANSCRIBE]


def at(seconds: float) -> int:
    return FIRST + round(seconds / 0.02)


def letters(text: str) -> list[int]:
    return [ord(letter) - 32 for letter in text]


class LetterTokenizer:
    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(chr(token + 32) for token in ids if token < END)

    def get_prompt_ids(self, text: str, return_tensors: str) -> torch.Tensor:
        return torch.tensor([PREVIOUS, *letters(text)])


class ScriptedWhisper(torch.nn.Module):
    """Answers every window with the next scripted tokens and notes what it was asked."""

    def __init__(self, *scripts: list[int], largest_batch: int = 1000) -> None:
        super().__init__()
        self.scripts = list(scripts)
        self.largest_batch = largest_batch
        self.batches: list[int] = []
        self.arguments: dict[str, Any] = {}
        self.decoder = torch.nn.Identity()
        self.config = SimpleNamespace(eos_token_id=END, model_type="whisper", max_target_positions=448)
        self.generation_config = SimpleNamespace(
            is_multilingual=True,
            lang_to_id={"<|en|>": ENGLISH, "<|de|>": GERMAN},
            no_timestamps_token_id=NO_TIMESTAMPS,
            decoder_start_token_id=START,
            begin_suppress_tokens=None,
        )
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def get_encoder(self) -> Any:
        return lambda features: SimpleNamespace(last_hidden_state=features)

    def get_decoder(self) -> torch.nn.Module:
        return self.decoder

    def forward(self, encoder_outputs: Any, decoder_input_ids: torch.Tensor) -> Any:
        """German is likeliest after the start token."""
        assert decoder_input_ids.tolist() == [[START]]
        logits = torch.zeros(1, 1, FIRST)
        logits[..., GERMAN] = 1.0
        return SimpleNamespace(logits=logits)

    def generate(self, encoder_outputs: Any, **arguments: Any) -> torch.Tensor:
        count = len(encoder_outputs.last_hidden_state)
        self.batches.append(count)
        self.arguments = arguments
        if count > self.largest_batch:
            raise torch.OutOfMemoryError("CUDA out of memory")
        rows = [INITIAL + self.scripts.pop(0) + [END] for _ in range(count)]
        longest = max(map(len, rows))
        return torch.tensor([row + [END] * (longest - len(row)) for row in rows])


def features(waveforms: list[np.ndarray], **_: Any) -> Any:
    return SimpleNamespace(input_features=torch.zeros(len(waveforms), 1, 1))


def scripted(*scripts: list[int], largest_batch: int = 1000, assistant: Any = None) -> TransformersAsr:
    return TransformersAsr(
        ScriptedWhisper(*scripts, largest_batch=largest_batch), LetterTokenizer(), features, assistant
    )


def sound(seconds: float) -> np.ndarray:
    return np.full(round(seconds * SAMPLE_RATE), 0.1, np.float32)


def untimed(**options: Any) -> DecodingOptions:
    """A scripted model has no attention to time words by."""
    return DecodingOptions(word_times=False, **options)


def sentence(text: str, start: float, end: float) -> list[int]:
    return [at(start), *letters(text), at(end)]


def test_windows_are_put_on_the_recordings_clock() -> None:
    asr = scripted(sentence(" one", 0, 2), sentence(" two", 1, 3), sentence(" three", 0.5, 1))
    result = asr.transcribe(sound(25), untimed(chunk_length_s=10, language="en"))
    assert [(chunk.text, chunk.start, chunk.end) for chunk in result.chunks] == [
        (" one", 0.0, 2.0),
        (" two", 11.0, 13.0),
        (" three", 20.5, 21.0),
    ]


def test_a_window_closed_by_two_timestamps_is_decoded_on_from_there() -> None:
    asr = scripted([*sentence(" early", 0, 4), at(4)], sentence(" late", 0, 3))
    result = asr.transcribe(sound(10), untimed(language="en"))
    assert [(chunk.text, chunk.start, chunk.end) for chunk in result.chunks] == [(" early", 0, 4), (" late", 4, 7)]


def test_follow_ups_come_in_the_order_of_time() -> None:
    asr = scripted([*sentence(" a", 0, 4), at(4)], sentence(" c", 0, 1), sentence(" b", 0, 1))
    result = asr.transcribe(sound(20), untimed(chunk_length_s=10, language="en"))
    assert "".join(chunk.text for chunk in result.chunks) == " a b c"


def test_a_missing_final_end_time_is_the_end_of_the_audio() -> None:
    result = scripted([at(1), *letters(" cut off")]).transcribe(sound(6), untimed(language="en"))
    assert [(chunk.text, chunk.start, chunk.end) for chunk in result.chunks] == [(" cut off", 1.0, 6.0)]


def test_silence_is_no_chunk() -> None:
    assert scripted([at(0)]).transcribe(sound(5), untimed(language="en")).chunks == ()


def test_no_audio_is_no_chunk() -> None:
    assert scripted().transcribe(sound(0), untimed()).chunks == ()


def test_the_language_is_detected_once_and_used() -> None:
    asr = scripted(sentence(" ja", 0, 1), sentence(" ja", 0, 1))
    result = asr.transcribe(sound(20), untimed(chunk_length_s=10))
    assert result.language == "de"
    assert asr.model.arguments["language"] == "de"


def test_decoding_is_greedy_whatever_the_pipeline_defaults_to() -> None:
    asr = scripted([at(0)])
    asr.transcribe(sound(5), untimed(language="en", task="translate"))
    assert asr.model.arguments["num_beams"] == 1
    assert asr.model.arguments["task"] == "translate"


def test_out_of_memory_halves_the_batch_and_loses_nothing() -> None:
    texts = [f" w{index}" for index in range(7)]
    asr = scripted(*(sentence(text, 0, 1) for text in texts), largest_batch=2)
    result = asr.transcribe(sound(70), untimed(chunk_length_s=10, batch_size=7, language="en"))
    assert [chunk.text for chunk in result.chunks] == texts
    assert asr.model.batches == [7, 3, 1, 1, 1, 1, 1, 1, 1]


def test_out_of_memory_at_batch_size_one_is_said() -> None:
    with pytest.raises(OutOfMemory, match="smaller model or a larger device"):
        scripted([at(0)], largest_batch=0).transcribe(sound(5), untimed(language="en"))


def test_stopping_is_asked_between_batches() -> None:
    asr = scripted([at(0)], [at(0)], [at(0)])
    with pytest.raises(Cancelled):
        asr.transcribe(
            sound(30),
            untimed(chunk_length_s=10, batch_size=1, language="en"),
            listener=Listener(should_stop=lambda: len(asr.model.batches) == 2),
        )
    assert len(asr.model.batches) == 2


def test_progress_rises_to_one() -> None:
    seen: list[float] = []
    scripted([at(0)], [at(0)], [at(0)]).transcribe(
        sound(30),
        untimed(chunk_length_s=10, batch_size=1, language="en"),
        listener=Listener(on_progress=seen.append),
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) == 3


def test_a_long_prompt_is_cut_at_its_beginning_and_said() -> None:
    asr = scripted([at(0)])
    result = asr.transcribe(sound(5), untimed(language="en", prompt="a" * 300 + "bc"))
    prompt = asr.model.arguments["prompt_ids"].tolist()
    assert prompt[0] == PREVIOUS
    assert len(prompt) == 224
    assert prompt[-2:] == letters("bc")
    assert "prompt" in result.warnings[0]


def test_assisted_without_an_assistant_is_refused() -> None:
    with pytest.raises(BadParameters, match="ASSISTANT_MODEL"):
        scripted().transcribe(sound(1), untimed(assisted=True))


def test_assisted_runs_one_window_at_a_time_and_says_so() -> None:
    config = SimpleNamespace(is_encoder_decoder=False)
    assistant = SimpleNamespace(config=config, get_decoder=lambda: torch.nn.Identity())
    asr = scripted([at(0)], [at(0)], assistant=assistant)
    result = asr.transcribe(sound(20), untimed(chunk_length_s=10, language="en", assisted=True))
    assert asr.model.batches == [1, 1]
    assert "batch_size 1" in result.warnings[0]
    assert result.speculation is not None


def test_an_unknown_language_names_the_known_ones() -> None:
    with pytest.raises(BadParameters, match="de, en"):
        scripted().transcribe(sound(1), untimed(language="fr"))


def test_an_english_only_model_is_not_given_language_or_task() -> None:
    asr = scripted(sentence(" a", 0, 1))
    asr.model.generation_config.is_multilingual = False
    result = asr.transcribe(sound(5), untimed())
    assert result.language == "en"
    assert not {"language", "task"} & asr.model.arguments.keys()
    with pytest.raises(BadParameters, match="English only"):
        asr.transcribe(sound(5), untimed(task="translate"))
    with pytest.raises(BadParameters, match="language 'de'"):
        asr.transcribe(sound(5), untimed(language="de"))


# Loading ---------------------------------------------------------------------------------------------


def test_a_missing_model_names_the_variable() -> None:
    with pytest.raises(SettingsError, match="ASR_MODEL") as caught:
        load_asr("/nowhere/model")
    assert "/nowhere" not in str(caught.value)


def test_a_model_of_another_kind_is_refused(tmp_path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    config = Wav2Vec2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    Wav2Vec2ForCTC(config).save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match="ASR_MODEL"):
        load_asr(str(tmp_path))


def test_an_assistant_of_another_vocabulary_is_refused(tmp_path) -> None:
    from transformers import WhisperConfig

    config = WhisperConfig(
        vocab_size=2000, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, bos_token_id=1, eos_token_id=1,
        pad_token_id=1, decoder_start_token_id=2,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match=r"ASSISTANT_MODEL.*vocabulary"):
        load_asr(str(REPOSITORY / "demo/whisper"), assistant=str(tmp_path))


# On the demo models ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_asr(reference_asr):
    return reference_asr


@pytest.mark.models
def test_batches_do_not_change_the_text(demo_asr, conversation_waveform) -> None:
    texts = []
    for size in (1, 4):
        result = demo_asr.transcribe(conversation_waveform, DecodingOptions(batch_size=size, chunk_length_s=10))
        texts.append([chunk.text for chunk in result.chunks])
    assert texts[0] == texts[1]
    assert len("".join(texts[0]).split()) > 80


@pytest.mark.models
def test_word_times_leave_text_and_attention_as_they_were(demo_asr, conversation_waveform) -> None:
    options = DecodingOptions(chunk_length_s=15)
    plain = demo_asr.transcribe(conversation_waveform, options)
    timed = demo_asr.transcribe(conversation_waveform, DecodingOptions(chunk_length_s=15, word_times=True))
    assert [chunk.text for chunk in plain.chunks] == [chunk.text for chunk in timed.chunks]
    for chunk in timed.chunks:
        assert "".join(word.text for word in chunk.words) == chunk.text
        assert all(0 <= word.start <= word.end <= len(conversation_waveform) / SAMPLE_RATE for word in chunk.words)
        assert all(0 < word.probability <= 1 for word in chunk.words)
    assert demo_asr.model.config._attn_implementation == "sdpa"


@pytest.mark.models
def test_the_assistant_drafts_and_the_text_stays(demo_asr, conversation_waveform) -> None:
    waveform = conversation_waveform[: 20 * SAMPLE_RATE]
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    plain = demo_asr.transcribe(waveform, DecodingOptions(language="en", word_times=True))
    handle = demo_asr.assistant.get_decoder().register_forward_hook(count)
    try:
        assisted = demo_asr.transcribe(waveform, DecodingOptions(language="en", word_times=True, assisted=True))
    finally:
        handle.remove()
    assert passes > 5
    assert [chunk.text for chunk in assisted.chunks] == [chunk.text for chunk in plain.chunks]
    assert assisted.speculation.proposed == passes
    assert 0 < assisted.speculation.accepted <= passes


@pytest.mark.models
def test_an_assistant_with_its_own_encoder_leaves_the_text_alone(demo_asr, conversation_waveform, tmp_path) -> None:
    torch.manual_seed(0)
    config = demo_asr.model.config.__class__.from_dict(
        {**demo_asr.model.config.to_dict(), "d_model": 48, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    )
    WhisperForConditionalGeneration(config).save_pretrained(tmp_path)
    asr = load_asr(str(REPOSITORY / "demo" / "whisper"), assistant=str(tmp_path), backend="transformers")
    assert asr.assistant.config.is_encoder_decoder
    waveform = conversation_waveform[: 12 * SAMPLE_RATE]
    plain = asr.transcribe(waveform, DecodingOptions(language="en"))
    assisted = asr.transcribe(waveform, DecodingOptions(language="en", assisted=True))
    assert assisted.chunks == plain.chunks
    assert len(plain.chunks) > 2
    assert assisted.speculation.proposed > 0


@pytest.mark.models
def test_the_first_token_is_the_same_with_an_assistant(demo_asr, conversation_waveform) -> None:
    """`generate` forgets `begin_suppress_tokens` when it is given an assistant; the handler must not."""
    config = demo_asr.model.generation_config
    before = config.begin_suppress_tokens
    first = demo_asr.transcribe(
        conversation_waveform[: 5 * SAMPLE_RATE], DecodingOptions(word_times=False, language="en")
    ).chunks[0]
    # Forbid the very token that the model wants to begin with.
    config.begin_suppress_tokens = [int(config.no_timestamps_token_id) + 1 + round(first.start / 0.02)]
    try:
        plain = demo_asr.transcribe(
            conversation_waveform[: 5 * SAMPLE_RATE], DecodingOptions(word_times=False, language="en")
        )
        assisted = demo_asr.transcribe(
            conversation_waveform[: 5 * SAMPLE_RATE], DecodingOptions(word_times=False, language="en", assisted=True)
        )
    finally:
        config.begin_suppress_tokens = before
    assert plain.chunks[0].start != first.start
    assert assisted.chunks == plain.chunks
