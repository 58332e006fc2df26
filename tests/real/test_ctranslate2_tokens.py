"""On real models and recordings the engine's tokens are those of `ctranslate2`: float32, the same windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctranslate2
import pytest

from tests.checkpoints.ctranslate2_files import ctranslate2_tokens, engine_tokens
from turnscribe.asr.registry import load_asr
from turnscribe.inputs.decode import decode_audio
from turnscribe.waveform import SAMPLE_RATE

WINDOWS = {1: 20, 5: 10}  # by the number of beams
SECONDS = {1: 600, 5: 30}  # of a recording, at most
LONGEST = 224  # tokens, at which `ctranslate2` ends a window: over noise a model may go on and on
KINDS = {"whisper-base": ("prompt", "conversation"), "whisper-tiny.en": ("prompt",)}


def chosen(recordings: dict[str, Any], model: str, windows: int) -> list[Any]:
    """So many recordings in turn from each language and kind that the model hears."""
    english = model.endswith(".en")
    groups: dict[str, list[Any]] = {}
    for one in recordings.values():
        if one.kind in KINDS[model] and one.language and (one.language == "en" or not english):
            groups.setdefault(one.group, []).append(one)
    share = -(-windows // len(groups))
    return [one for group in groups.values() for one in group[:: max(len(group) // share, 1)][:share]]


@pytest.mark.parametrize(("model", "beams"), [("whisper-base", 1), ("whisper-tiny.en", 1), ("whisper-base", 5)])
def test_the_tokens_are_those_of_ctranslate2(
    model: str, beams: int, real_models: Path, real_recordings: dict[str, Any], no_gradients: None
) -> None:
    folder = real_models / model
    asr: Any = load_asr(str(folder))
    theirs = ctranslate2.models.Whisper(str(folder), compute_type="float32", intra_threads=1)
    differing, compared = [], 0
    for recording in chosen(real_recordings, model, WINDOWS[beams]):
        waveform = decode_audio(recording.load().audio).channels[0][: SECONDS[beams] * SAMPLE_RATE]
        language = recording.language if asr.capabilities.multilingual else None
        windows = engine_tokens(asr, waveform, language, beams=beams)[: WINDOWS[beams] - compared]
        expected = ctranslate2_tokens(theirs, asr, [samples for samples, _ in windows], language, beams=beams)
        for (_, ours), tokens in zip(windows, expected, strict=True):
            if ours[:LONGEST] != tokens:
                differing.append(recording.name)
        compared += len(windows)
    assert compared > 0.8 * WINDOWS[beams]
    assert not differing
