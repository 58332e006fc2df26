"""The open diarizer with its real weights: speakerlab's embeddings, and the turns of stock pyannote."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.diarization.stock_twin import renamed, stock_segmentation, stock_twin
from tests.real.recording import Recording
from turnscribe.cli.evaluation.measures import diarization_errors
from turnscribe.diarization import pyannote_versions
from turnscribe.diarization.diarizer import diarize, embed, load_diarizer
from turnscribe.diarization.open_diarizer import OpenDiarizer
from turnscribe.inputs.decode import decode_audio
from turnscribe.request import Request
from turnscribe.waveform import SAMPLE_RATE, Waveform

FILE = Path(__file__).with_name("campplus.json")  # what speakerlab 0.0.6 makes of stretches of a recording


@pytest.fixture(autouse=True)
def _no_expected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        pyannote_versions.silence_pyannote()
        yield


@pytest.fixture(scope="module")
def folder(real_models: Path) -> Path:
    return real_models / "open-diarizer"


@pytest.fixture(scope="module")
def diarizer(folder: Path) -> OpenDiarizer:
    loaded = load_diarizer(str(folder), effort="exact")
    assert isinstance(loaded, OpenDiarizer)
    return loaded


def waveform_of(recording: Recording) -> Waveform:
    return decode_audio(recording.load().audio).mono


def test_embeddings_are_speakerlabs(diarizer: OpenDiarizer, real_recordings: dict[str, Recording]) -> None:
    published = json.loads(FILE.read_text())
    waveform = waveform_of(real_recordings[published["recording"]])
    for voice in published["voices"]:
        piece = waveform[round(voice["start"] * SAMPLE_RATE) : round(voice["end"] * SAMPLE_RATE)]
        np.testing.assert_allclose(embed(diarizer, piece), voice["embedding"], rtol=0, atol=1e-4)


def test_segmentation_is_pyannotes(
    diarizer: OpenDiarizer, folder: Path, real_recordings: dict[str, Recording]
) -> None:
    waveform = torch.from_numpy(waveform_of(real_recordings["conversation/know"])[: 20 * SAMPLE_RATE].reshape(2, -1))
    with torch.inference_mode():
        expected = stock_segmentation(folder)(waveform[:, None])
        torch.testing.assert_close(diarizer.segmentation(waveform), expected, rtol=0, atol=1e-5)


@pytest.mark.real_oldest
@pytest.mark.parametrize(
    ("name", "counts"),
    [("sample", {}), ("sample", {"num_speakers": 3}), ("know", {}), ("aepyx", {})],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_turns_are_stock_pyannotes(
    name: str, counts: dict[str, int], diarizer: OpenDiarizer, folder: Path, real_recordings: dict[str, Recording]
) -> None:
    """Of the first 40 s; 3.4 lets every voice form clusters, however little is heard of it."""
    if pyannote_versions.pyannote_major() < 4:
        diarizer = replace(diarizer, clustering=replace(diarizer.clustering, least_alone=None))
    waveform = waveform_of(real_recordings[f"conversation/{name}"])[: 40 * SAMPLE_RATE]
    turns = diarize(diarizer, waveform, Request(**counts))
    expected = diarize(stock_twin(diarizer, folder), waveform, Request(**counts))
    assert renamed(turns) == renamed(expected)
    assert len({turn.speaker for turn in turns}) > 1


@pytest.mark.parametrize("name", ["conversation/sample", "conversation/know", "conversation/frint980428"])
def test_each_second_heard_once_is_as_good(
    name: str, diarizer: OpenDiarizer, folder: Path, real_recordings: dict[str, Recording]
) -> None:
    """The error rate is at most 0.3 points above the exact way's, and as many people are found."""
    spoken = real_recordings[name].load()
    waveform = decode_audio(spoken.audio).mono
    exact, fast = (diarize(one, waveform) for one in (diarizer, load_diarizer(str(folder), effort="fast")))
    assert spoken.turns is not None
    rates = [
        sum(
            error.part / error.whole for error in diarization_errors(spoken.turns, turns, len(waveform) / SAMPLE_RATE)
        )
        for turns in (exact, fast)
    ]
    assert rates[1] <= rates[0] + 0.003, rates
    assert len({turn.speaker for turn in fast}) == len({turn.speaker for turn in exact})
