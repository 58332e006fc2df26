"""`ASR_DTYPE=int8`: where it is refused, and that the demo models say the same in it."""

from __future__ import annotations

from difflib import SequenceMatcher
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from turnscribe.asr.engine_backend import EngineAsr
from turnscribe.asr.protocol import Recognition
from turnscribe.asr.registry import load_asr
from turnscribe.engine.linear import FineInt8Linear, Int8Linear, multiplies_int8
from turnscribe.errors import SettingsError
from turnscribe.inputs.decode import decode_audio
from turnscribe.request import DecodingOptions
from turnscribe.settings import ModelSettings, load_settings
from turnscribe.transcript import Word

MODEL, ASSISTANT = (str(REPOSITORY / "demo" / name) for name in ("whisper", "assistant"))

needs_int8 = pytest.mark.skipif(not multiplies_int8(), reason="this processor has no VNNI")


def test_the_setting_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_DTYPE", "int8")
    assert load_settings(ModelSettings, asr_model=MODEL).asr_dtype == "int8"


@pytest.mark.models
def test_a_processor_without_the_instructions_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnscribe.asr.engine_backend.multiplies_int8", lambda: False)
    with pytest.raises(SettingsError, match=r"^ASR_DTYPE is int8, which needs a CPU with VNNI .* leave it out\.$"):
        load_asr(MODEL, dtype="int8")


def test_the_other_backend_is_told() -> None:
    with pytest.raises(SettingsError, match=r"^ASR_DTYPE=int8 needs ASR_BACKEND=engine: change one of them\.$"):
        load_asr(MODEL, backend="transformers", dtype="int8")


@needs_int8
@pytest.mark.models
@pytest.mark.parametrize("bfloat16", [True, False])
def test_the_demo_says_the_same_in_8_bits(bfloat16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With bfloat16 beside them, and on processors that have none."""
    if not bfloat16:
        monkeypatch.setattr("turnscribe.engine.linear.multiplies_bfloat16", lambda: False)
        monkeypatch.setattr("turnscribe.engine.weights.multiplies_bfloat16", lambda: False)
    waveform = decode_audio(Path(REPOSITORY, "demo", "conversation.flac").read_bytes()).mono
    exact, ours = (load_asr(MODEL, assistant=ASSISTANT, dtype=dtype) for dtype in ("float32", "int8"))
    assert isinstance(ours, EngineAsr)
    assert ours.running.dtype == "int8"
    decoder = ours.models.decoder.weights
    assert isinstance(decoder.vocabulary, FineInt8Linear)
    assert isinstance(decoder.layers[0].cross_key_value, Int8Linear)
    assert isinstance(decoder.layers[0].fc1, FineInt8Linear) is not bfloat16
    expected = words(exact.transcribe(waveform, DecodingOptions(word_times=True)))
    for assisted in (False, True):
        answer = ours.transcribe(waveform, DecodingOptions(word_times=True, assisted=assisted))
        found = words(answer)
        blocks = SequenceMatcher(None, [w.text for w in expected], [w.text for w in found], autojunk=False)
        same = [
            (expected[first + index], found[second + index])
            for first, second, count in blocks.get_matching_blocks()
            for index in range(count)
        ]
        assert len(same) >= max(len(expected), len(found)) - 1  # float32 misses a word that is said
        assert all(abs(one.start - other.start) < 0.021 for one, other in same)
        if assisted:
            assert answer.speculation is not None
            assert answer.speculation.accepted > 0.5 * answer.speculation.proposed


def words(recognition: Recognition) -> list[Word]:
    return [word for chunk in recognition.chunks for word in chunk.words]
