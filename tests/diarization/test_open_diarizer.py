"""The open diarizer against its slow twin, stock pyannote with the same networks, and its networks against theirs.

The networks are tiny and random; tests/real has the real ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.conftest import REPOSITORY
from tests.diarization.open_models import campplus_state, segmentation_checkpoint, slow_campplus, write_open_folder
from tests.diarization.stock_twin import renamed, stock_segmentation, stock_twin
from turnscribe.diarization import pyannote_versions
from turnscribe.diarization.campplus import campplus_from
from turnscribe.diarization.clustering import Clustering
from turnscribe.diarization.diarizer import OPEN_EMBEDDING, OPEN_SEGMENTATION, diarize, embed, load_diarizer
from turnscribe.diarization.filter_bank import filter_bank
from turnscribe.diarization.open_diarizer import OpenDiarizer
from turnscribe.diarization.pyannet import pyannet_from
from turnscribe.errors import Cancelled, SettingsError
from turnscribe.listener import Listener
from turnscribe.request import Request

pytestmark = pytest.mark.slow

RATE = 16_000
UNWANTED = (
    *("pyannote.audio", "pyannote.core", "asteroid_filterbanks", "lightning", "pytorch_lightning", "torchaudio"),
    *("sklearn", "optuna", "opentelemetry", "einops", "transformers"),
)
FOUR = pyannote_versions.pyannote_major() >= 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_open_folder(tmp_path_factory.mktemp("models") / "open-diarizer")


@pytest.fixture(scope="module")
def diarizer(folder: Path) -> OpenDiarizer:
    loaded = load_diarizer(str(folder), effort="exact")
    assert isinstance(loaded, OpenDiarizer)
    return loaded


@pytest.fixture(autouse=True)
def _no_expected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        pyannote_versions.silence_pyannote()
        yield


def noise(samples: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(seed)) / 20


# The networks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [400, 559, 560, 16_000, 31_999])
def test_filter_bank_is_kaldis(samples: int) -> None:
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    waveforms = noise(samples)
    waveforms[1, samples // 2 :] = 0  # digital silence
    expected = torch.stack([kaldi.fbank(one[None], num_mel_bins=80, sample_frequency=16_000) for one in waveforms])
    expected -= expected.mean(dim=1, keepdim=True)
    torch.testing.assert_close(filter_bank(waveforms), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("samples", [1_200, 47_999])
def test_campplus_is_the_papers(samples: int) -> None:
    state = campplus_state()
    network, features = campplus_from(state), filter_bank(noise(samples))
    torch.testing.assert_close(network.embed(features), slow_campplus(state, features), rtol=0, atol=1e-4)


def test_each_speaker_is_heard_from_its_own_frames_alone() -> None:
    """Of masks with fewer frames than the features, cut to whole fifths of a second."""
    network, features = campplus_from(campplus_state()), filter_bank(noise(32_000))  # [2, 198, 80]
    masks = torch.zeros(2, 3, 99)
    masks[0, 0, 10:60] = masks[1, 0, :30] = masks[1, 0, 50:76] = 1
    masks[0, 1, 5:7] = masks[1, 2] = 1
    embeddings = network.embed_speakers(features, masks)
    chosen = {
        (0, 0): list(range(20, 120)),
        (1, 0): [*range(60), *range(100, 152)][:100],
        (0, 1): [10, 11, 12, 13] * 5,  # too few: repeated
        (1, 2): list(range(180)),
    }
    for (b, s), frames in chosen.items():
        own = features[b, frames] - features[b, frames].mean(dim=0)
        torch.testing.assert_close(embeddings[b, s], network.embed(own[None])[0], rtol=1e-4, atol=1e-4)
    assert not embeddings[0, 2].any()


def test_segmentation_is_pyannotes(folder: Path, conversation_waveform: Any) -> None:
    stock, (network, seconds) = stock_segmentation(folder), pyannet_from(segmentation_checkpoint())
    waveforms = torch.from_numpy(conversation_waveform[: 20 * RATE]).reshape(2, -1)
    with torch.inference_mode():
        torch.testing.assert_close(network(waveforms), stock(waveforms[:, None]), rtol=0, atol=1e-5)
        assert len(set(network(waveforms).argmax(dim=-1).flatten().tolist())) > 3
    assert seconds == stock.specifications.duration
    assert (network.frames.duration, network.frames.step) == (
        stock.receptive_field.duration,
        stock.receptive_field.step,
    )


def test_classes_are_the_sets_of_people_in_pyannotes_order() -> None:
    from pyannote.audio.utils.powerset import Powerset

    network, _ = pyannet_from(segmentation_checkpoint())
    torch.testing.assert_close(network.get_buffer("members"), Powerset(3, 2).mapping)


# Turns -----------------------------------------------------------------------------------------------


def as_installed(diarizer: OpenDiarizer, **clustering: Any) -> OpenDiarizer:
    """With the rule of the installed pyannote.audio for the voices that form clusters."""
    rule = {} if FOUR else {"least_alone": None}
    return replace(diarizer, clustering=replace(diarizer.clustering, **clustering, **rule))


@pytest.mark.parametrize(
    ("samples", "counts"),
    [
        (8 * RATE + 77, {}),
        (2 * RATE, {}),
        (RATE // 10, {}),
        (6 * RATE, {"num_speakers": 3}),
        (6 * RATE, {"min_speakers": 3}),
        (6 * RATE, {"max_speakers": 2}),
        (6 * RATE, {"max_speakers": 1}),
        (6 * RATE, {"num_speakers": 9}),
    ],
)
@pytest.mark.filterwarnings(r"ignore:\s*The detected number of speakers")
def test_turns_are_stocks(
    samples: int, counts: dict[str, int], diarizer: OpenDiarizer, folder: Path, conversation_waveform: Any
) -> None:
    ours = replace(as_installed(diarizer, threshold=0.01, min_cluster_size=3), shortest_pause=0.05)
    waveform = conversation_waveform[RATE:][:samples]
    turns = diarize(ours, waveform, Request(**counts))
    assert renamed(turns) == renamed(diarize(stock_twin(ours, folder), waveform, Request(**counts)))
    if not counts and samples > 6 * RATE:
        assert len(turns) > 5
        assert len({turn.speaker for turn in turns}) > 1


def random_voices(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings `[W, S, D]` around five centres, some unknown, and who speaks when `[W, F, S]`."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(5, 8))
    voices = centres[rng.integers(0, 5, (60, 3))] + rng.normal(0, 0.5, (60, 3, 8))
    voices[rng.random((60, 3)) < 0.05] = np.nan
    speech = (rng.random((60, 50, 3)) < rng.random((60, 1, 3))).astype(np.float32)
    speech[:5] = 0
    return voices.astype(np.float32), speech


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "counts",
    [{}, {"num_speakers": 2}, {"num_speakers": 7}, {"min_speakers": 6}, {"max_speakers": 2}, {"num_speakers": 1}],
    ids=str,
)
def test_clusters_are_stocks(seed: int, counts: dict[str, int], capsys: Any) -> None:
    from pyannote.audio.pipelines.clustering import AgglomerativeClustering
    from pyannote.core import SlidingWindow, SlidingWindowFeature

    voices, speech = random_voices(seed)
    stock = AgglomerativeClustering(metric="cosine")
    size, threshold = (4, 0.9) if seed % 2 else (12, 0.7)
    stock.instantiate({"method": "centroid", "min_cluster_size": size, "threshold": threshold})
    expected, *_ = stock(
        embeddings=voices.copy(),
        segmentations=SlidingWindowFeature(speech, SlidingWindow(duration=10.0, step=1.0)),
        **{name.replace("speakers", "clusters"): count for name, count in counts.items()},
    )
    ours = Clustering(threshold, size, least_alone=0.2 if FOUR else None)
    np.testing.assert_array_equal(ours.clusters(voices, speech, counts), expected)


def test_nobody_speaks_in_silence(diarizer: OpenDiarizer) -> None:
    assert diarize(diarizer, np.zeros(12 * RATE, np.float32)) == []


def test_progress_grows_to_the_end_and_a_request_can_be_stopped(
    diarizer: OpenDiarizer, conversation_waveform: Any
) -> None:
    seen: list[float] = []
    diarize(diarizer, conversation_waveform[: 10 * RATE], listener=Listener(on_progress=seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 2
    answers = iter([False, False, True])
    with pytest.raises(Cancelled):
        diarize(diarizer, conversation_waveform[: 10 * RATE], listener=Listener(should_stop=lambda: next(answers)))


@pytest.mark.parametrize("samples", [1, 399, 400, 2 * RATE])
def test_voice_of_any_length_has_an_embedding(samples: int, diarizer: OpenDiarizer) -> None:
    embedding = embed(diarizer, noise(samples)[0].numpy())
    assert embedding.shape == (24,)
    assert np.isfinite(embedding).all()


# Loading ---------------------------------------------------------------------------------------------


def test_neither_pyannote_nor_what_it_brings_is_imported(folder: Path) -> None:
    """Nor scipy before somebody is told apart."""
    code = f"""
import sys
import numpy as np
from turnscribe.diarization.diarizer import diarize, load_diarizer
diarizer = load_diarizer({str(folder)!r})
early = "scipy" in sys.modules
waveform = np.random.default_rng(0).normal(0, 0.1, 200_000).astype(np.float32)
diarize(diarizer, waveform)
print(early, [name for name in {UNWANTED!r} if name in sys.modules])
"""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False []"


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    for file in (OPEN_SEGMENTATION, OPEN_EMBEDDING):
        (tmp_path / "voices" / file).parent.mkdir(parents=True)
        (tmp_path / "voices" / file).write_bytes((folder / file).read_bytes())
    return tmp_path / "voices"


def refusal(folder: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load_diarizer(folder.name, root=folder.parent)
    sentence = str(caught.value)
    assert sentence.startswith("DIARIZATION_MODEL voices")
    assert str(folder.parent) not in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("file", [OPEN_SEGMENTATION, OPEN_EMBEDDING], ids=str)
def test_damage_of_either_file_is_one_sentence(file: Path, damaged: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    whole = (damaged / file).read_bytes()
    (damaged / file).write_bytes(whole[: len(whole) // 2])
    assert f"{file.name} is not a whole file" in refusal(damaged)
    torch.save({"state_dict": Payload()}, damaged / file)
    assert "nothing of it was run" in refusal(damaged)
    assert not (tmp_path / "ran").exists()
    torch.save({"state_dict": {"a": torch.ones(3)}}, damaged / file)
    assert f"{file.name} is not a" in refusal(damaged)
    torch.save([1, 2], damaged / file)
    assert f"{file.name} is not a" in refusal(damaged)
    (damaged / file).unlink()
    assert f"lacks {file}" in refusal(damaged)


def test_weights_of_another_shape_are_refused(damaged: Path) -> None:
    state = campplus_state()
    state["xvector.block2.tdnnd1.linear1.weight"] = torch.ones(3, 3, 1)
    torch.save(state, damaged / OPEN_EMBEDDING)
    assert "is not a CAM++" in refusal(damaged)
