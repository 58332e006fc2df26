"""What hears each second once against what hears every window from scratch, with tiny random networks."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.diarization.open_models import campplus_state, segmentation_checkpoint, write_open_folder
from turnscribe.diarization import campplus_trunk, clustering, resnet_trunk, segmenter
from turnscribe.diarization.campplus import CamPlus, campplus_from
from turnscribe.diarization.campplus_trunk import CamPlusTrunk
from turnscribe.diarization.clustering import Clustering, weighted_linkage
from turnscribe.diarization.diarizer import diarize, load_diarizer
from turnscribe.diarization.filter_bank import filter_bank
from turnscribe.diarization.frames import Frames
from turnscribe.diarization.pyannet import PyanNet, pyannet_from
from turnscribe.diarization.resnet_trunk import ResNetTrunk
from turnscribe.diarization.segmenter import Segmenter
from turnscribe.diarization.voices import Masks, own_pieces, statistics_of, voices, whole_pieces
from turnscribe.errors import Cancelled
from turnscribe.listener import SILENT, Listener
from turnscribe.request import DecodingOptions, Request

pytestmark = pytest.mark.slow

RATE = 16_000
WINDOW = 2 * RATE  # samples of the tiny networks' windows


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding apart, the fast ways give what the slow ones give."""
    for module in (campplus_trunk, resnet_trunk, segmenter):
        monkeypatch.setattr(module, "fast_type", lambda device: torch.float32)


@pytest.fixture(scope="module")
def pyannet() -> PyanNet:
    return pyannet_from(segmentation_checkpoint())[0]


@pytest.fixture(scope="module")
def campplus() -> CamPlus:
    return campplus_from(campplus_state())


# The segmentation ------------------------------------------------------------------------------------


def slow_classes(network: PyanNet, waveform: Any, hop: int) -> Tensor:
    count = 1 + max(-(-(len(waveform) - WINDOW) // hop), 0)
    windows = [waveform[number * hop :][:WINDOW] for number in range(count)]
    padded = [np.pad(window, (0, WINDOW - len(window))) for window in windows]
    return torch.cat([network(torch.from_numpy(window)[None]) for window in padded])


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("hop", [3_200, 4_800, 10])
@pytest.mark.parametrize("samples", [RATE // 2, WINDOW, WINDOW + 1, WINDOW + 5 * 4_800 + 77])
def test_windows_that_share_their_filters_are_pyannets(
    hop: int, samples: int, pyannet: PyanNet, conversation_waveform: Any
) -> None:
    """Of hops in which the threes of the maxima fall differently, and of one. A constant is heard by some filters."""
    waveform = conversation_waveform[RATE:][: min(samples, WINDOW + 40 * hop)] + np.float32(0.01)
    ours = Segmenter(pyannet, WINDOW, hop, batch=4).classes(waveform)
    expected = slow_classes(pyannet, waveform, hop)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_rounding_hardly_changes_who_speaks(pyannet: PyanNet, conversation_waveform: Any) -> None:
    """In the type that this CPU multiplies fastest."""
    waveform = conversation_waveform[: 12 * RATE]
    ours = Segmenter(pyannet, WINDOW, 3_200, batch=8).classes(waveform).argmax(dim=-1)
    expected = slow_classes(pyannet, waveform, 3_200).argmax(dim=-1)
    assert len(expected.unique()) > 3
    assert (ours == expected).float().mean() > 0.95


def test_windows_without_speech_are_not_heard(pyannet: PyanNet, conversation_waveform: Any) -> None:
    waveform = conversation_waveform[: 20 * RATE]
    ours = Segmenter(pyannet, WINDOW, 3_200, batch=8)
    every = ours.speech(waveform)
    passed: list[int] = []
    handle = pyannet.lstm.register_forward_pre_hook(lambda _, given: passed.append(len(given[0])))
    some = ours.speech(waveform, stretches=[(5.0, 5.5), (11.0, 14.0)])
    handle.remove()
    touching = [
        number
        for number in range(len(every))
        if any(number * 0.2 < end and number * 0.2 + 2 > start for start, end in ((5.0, 5.5), (11.0, 14.0)))
    ]
    assert sum(passed) == len(touching) < len(every) / 2
    np.testing.assert_array_equal(some[touching], every[touching])
    assert not np.delete(some, touching, axis=0).any()
    assert not ours.speech(waveform, stretches=[]).any()


# The trunk -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("frames", [10, 99, 100, 333])
def test_campplus_trunk_is_campplus(frames: int, campplus: CamPlus) -> None:
    trunk = CamPlusTrunk(campplus)
    waveforms = torch.randn(2, (frames - 1) * trunk.step + trunk.length, generator=torch.Generator().manual_seed(0))
    features = torch.stack([trunk.features(waveform) for waveform in waveforms])
    expected = campplus.frames(filter_bank(waveforms)).transpose(1, 2)
    assert features.shape[1] == trunk.rate * frames
    assert expected.shape[1] == frames
    torch.testing.assert_close(trunk.frames(features), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("in_float32")
def test_resnet_trunk_is_pyannotes() -> None:
    from pyannote.audio.models.embedding import WeSpeakerResNet34

    torch.manual_seed(0)
    model = WeSpeakerResNet34().eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 1.5)
    trunk = ResNetTrunk(model)
    waveform = torch.randn(39 * trunk.step + trunk.length) / 10
    expected = model.resnet.forward_frames(model.compute_fbank(waveform[None, None]))
    frames = trunk.frames(trunk.features(waveform)[None])  # [1, T, C]
    assert frames.shape[1] == 40
    torch.testing.assert_close(frames, expected.flatten(1, 2).transpose(1, 2), rtol=1e-3, atol=1e-4)
    weights = (torch.rand(3, 40) > 0.5).float()
    pooled = model.resnet.pool(expected, weights=weights[None])[0]
    torch.testing.assert_close(statistics_of(frames[0], weights), pooled, rtol=1e-3, atol=1e-4)
    stock = model.resnet.forward_embedding(expected, weights=weights[None])[1][0]
    torch.testing.assert_close(trunk.embed(statistics_of(frames[0], weights)), stock, rtol=1e-3, atol=1e-3)


# Voices ----------------------------------------------------------------------------------------------


class CountedTrunk:
    """Frames that hold what sample they begin at; knows how many passed and how many are still kept."""

    step, length, middle, rate, dimension = 320, 560, 200.0, 2, 4
    device = torch.device("cpu")

    def __init__(self, *, hears_one: bool) -> None:
        self.hears_one = hears_one
        self.passed, self.kept, self.most = 0, 0, 0

    def features(self, waveform: Tensor) -> Tensor:
        return waveform.unfold(0, 400, 160)[:, :1]

    def frames(self, features: Tensor) -> Tensor:
        frames = features[:, ::2].repeat(1, 1, 2)
        self.passed += frames.shape[1]
        self.kept += frames.shape[1]
        self.most = max(self.most, self.kept)
        weakref.finalize(frames.untyped_storage(), self._let_go, frames.shape[1])
        return frames

    def _let_go(self, count: int) -> None:
        self.kept -= count

    def embed(self, statistics: Tensor) -> Tensor:
        return statistics


def masks_of(spoken: list[tuple[float, float]], windows: int) -> Masks:
    """Windows of 10 s, one a second, in which one person speaks between these seconds."""
    frames = Frames(0.0619375, 0.016875)
    starts = np.arange(windows, dtype=float)
    middles = starts[:, None] + np.arange(589) * frames.step + frames.duration / 2
    speaking = np.any([(middles >= start) & (middles < end) for start, end in spoken], axis=0)
    return Masks(speaking[:, None].astype(np.float32), starts, frames)


@pytest.mark.parametrize("hears_one", [True, False])
def test_a_voice_is_pooled_from_its_own_frames_of_its_window(hears_one: bool) -> None:
    """The waveform rises from second to second, so means and deviations say where the frames were."""
    waveform = np.arange(40 * RATE, dtype=np.float32) / RATE
    spoken = [(3.0, 4.0), (12.5, 17.0), (24.0, 39.0)]
    trunk = CountedTrunk(hears_one=hears_one)
    found = voices(trunk, waveform, masks_of(spoken, 31), SILENT)[:, 0]  # [W, 4]
    for window, embedding in enumerate(found):
        times = np.arange(window, window + 10, 0.02)
        inside = np.any([(times >= start) & (times < end) for start, end in spoken], axis=0)
        if not inside.any():
            assert not embedding.any()
            continue
        expected = times[inside].mean(), times[inside].std(ddof=1)
        # Two frames at a seam, ten seconds off, of 75.
        np.testing.assert_allclose(embedding[[0, 2]], expected, atol=0.25)


@pytest.mark.parametrize("hears_one", [True, False])
def test_no_second_is_heard_twice_and_silence_never(hears_one: bool) -> None:
    waveform = np.ones(400 * RATE, np.float32)
    trunk = CountedTrunk(hears_one=hears_one)
    voices(trunk, waveform, masks_of([(10.0, 50.0), (300.0, 320.0)], 391), SILENT)
    context = 0 if hears_one else 8  # seconds around the pieces, which are cut where they are longer than 10 s
    assert 60 * 50 - 20 <= trunk.passed <= (60 + context) * 50 + 20
    nobody = CountedTrunk(hears_one=hears_one)
    assert not voices(nobody, waveform, masks_of([(500.0, 501.0)], 391), SILENT).any()
    assert nobody.passed == 0


@pytest.mark.parametrize("hears_one", [True, False])
def test_frames_are_let_go(hears_one: bool) -> None:
    """Of half an hour no more than some windows' are kept."""
    trunk = CountedTrunk(hears_one=hears_one)
    voices(trunk, np.ones(1_800 * RATE, np.float32), masks_of([(0.0, 1_800.0)], 1_791), SILENT)
    gc.collect()
    assert trunk.passed >= 1_780 * 50
    assert trunk.most <= 50 * 50


@pytest.mark.parametrize("hears_one", [True, False])
def test_pieces_cover_every_frame_of_a_mask_once(hears_one: bool) -> None:
    trunk = CountedTrunk(hears_one=hears_one)
    masks = masks_of([(0.0, 31.3), (40.0, 40.2), (55.0, 64.9)], 56)
    pieces = (own_pieces if hears_one else whole_pieces)(trunk, masks)
    numbers = np.concatenate([piece.numbers for piece in pieces])
    assert len(set(numbers.tolist())) == len(numbers)
    wanted = [n for n in range(65 * 50) if any(masks.at(w, np.array([n]), trunk).any() for w in range(56))]
    missing = set(wanted) - set(numbers.tolist())
    assert len(missing) <= 3 * len(pieces)  # at the seams, where the windows' frames end
    assert all(len(piece.heard) <= 12 * 50 for piece in pieces)


@pytest.mark.usefixtures("in_float32")
def test_each_speaker_of_a_window_sounds_as_if_heard_alone(campplus: CamPlus) -> None:
    """In a window that is a piece: what CAM++'s exact way makes of it, which cuts to whole fifths of a second."""
    waveform = torch.randn(2 * RATE, generator=torch.Generator().manual_seed(1)) / 20
    frames = Frames(0.0619375, 0.016875)
    masks = np.zeros((1, 2, 115), np.float32)
    masks[0, 0, 2:50] = masks[0, 1, 60:108] = 1
    found = voices(CamPlusTrunk(campplus), waveform.numpy(), Masks(masks, np.zeros(1), frames), SILENT)[0]
    expected = campplus(waveform[None], torch.from_numpy(masks))[0]
    alike = torch.cosine_similarity(torch.from_numpy(found), expected)
    assert (alike > 0.98).all(), alike
    assert torch.cosine_similarity(expected[:1], expected[1:])[0] < alike.min()


def test_voices_can_be_stopped() -> None:
    answers = iter([False, True])
    stopping = Listener(should_stop=lambda: next(answers))
    with pytest.raises(Cancelled):
        voices(CountedTrunk(hears_one=True), np.ones(40 * RATE, np.float32), masks_of([(0.0, 40.0)], 31), stopping)


# Clusters --------------------------------------------------------------------------------------------


def separable(people: int, count: int, *, seed: int = 0) -> tuple[Any, Any]:
    """Voices `[count, D]` of some people who take turns, and whose they are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 64))
    who = np.repeat(rng.integers(0, people, count // 5 + 1), 5)[:count]
    return (centres[who] + rng.normal(0, 0.35, (count, 64))).astype(np.float32), who


def test_linkage_with_weights_of_one_is_scipys() -> None:
    from scipy.cluster.hierarchy import linkage

    points = separable(5, 120)[0].astype(float)
    tree, weights = weighted_linkage(points, np.ones(len(points)))
    expected = linkage(points, method="centroid")
    np.testing.assert_allclose(tree, expected, atol=1e-9)
    np.testing.assert_array_equal(weights, expected[:, 3])


def test_weights_count_as_points_that_lie_together() -> None:
    from scipy.cluster.hierarchy import linkage

    points, sizes = separable(3, 30)[0].astype(float), np.random.default_rng(1).integers(1, 6, 30)
    tree, weights = weighted_linkage(points, sizes.astype(float))
    expected = linkage(np.repeat(points, sizes, axis=0), method="centroid")[-29:]
    np.testing.assert_allclose(tree[:, 2], expected[:, 2], atol=1e-6)
    np.testing.assert_array_equal(weights, expected[:, 3])


def test_clusters_of_blocks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    given, who = separable(5, 900)
    speech = np.ones((900, 10, 1), np.float32)
    whole = Clustering(0.7, 8).clusters(given[:, None], speech, {})[:, 0]
    monkeypatch.setattr(clustering, "MOST_AT_ONCE", 300)
    monkeypatch.setattr(clustering, "BLOCK", 150)
    in_blocks = Clustering(0.7, 8, blocks=True)
    blocks = in_blocks.clusters(given[:, None], speech, {})[:, 0]
    assert len(set(whole.tolist())) == len(set(blocks.tolist())) == 5
    assert len(set(zip(whole.tolist(), blocks.tolist(), who.tolist(), strict=True))) == 5
    for name, count in (("num_speakers", 3), ("max_speakers", 2), ("min_speakers", 7)):
        assert in_blocks.clusters(given[:, None], speech, {name: count}).max() + 1 == count


def test_no_matrix_of_all_voices_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four hours would take 1.6 GB of distances."""
    sizes: list[int] = []
    linkage = clustering._linkage
    monkeypatch.setattr(clustering, "_linkage", lambda units: sizes.append(len(units)) or linkage(units))
    weighted = clustering.weighted_linkage
    monkeypatch.setattr(
        clustering, "weighted_linkage", lambda points, weights: sizes.append(len(points)) or weighted(points, weights)
    )
    given, _ = separable(4, 3_000)
    Clustering(0.7, 8, blocks=True).clusters(given[:, None], np.ones((3_000, 2, 1), np.float32), {})
    assert max(sizes) <= clustering.BLOCK


def test_who_is_heard_apart_in_many_windows_is_two_people() -> None:
    """Their voices are so alike that the threshold makes one person of them."""
    rng = np.random.default_rng(0)
    given = rng.normal(0, 0.02, (40, 2, 16)) + np.ones(16)
    given[:, 1, 0] += 1.5
    speech = np.zeros((40, 20, 2), np.float32)
    speech[:, :10, 0] = speech[:16, 10:, 1] = 1
    one = Clustering(0.7, 4).clusters(given, speech, {})
    two = Clustering(0.7, 4, apart=0.3).clusters(given, speech, {})
    fewer = Clustering(0.7, 4, apart=0.5).clusters(given, speech, {})
    assert not one.any()
    assert not fewer.any()
    assert (two[:16, 0] != two[:16, 1]).all()
    assert not Clustering(0.7, 4, apart=0.3).clusters(given, speech, {"max_speakers": 1}).any()


# Turns -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_open_folder(tmp_path_factory.mktemp("models") / "open-diarizer")


def test_where_nobody_speaks_nothing_is_heard(folder: Path, conversation_waveform: Any) -> None:
    diarizer: Any = load_diarizer(str(folder), effort="fast")
    waveform = conversation_waveform[: 10 * RATE]
    seen: list[float] = []
    turns = diarize(diarizer, waveform, listener=Listener(on_progress=seen.append))
    assert turns
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    nowhere = Request(decoding=DecodingOptions(speech=()))
    passes: list[int] = []
    for network in (diarizer.segmentation.lstm, diarizer.embedding.dense):
        network.register_forward_pre_hook(lambda *_: passes.append(1))
    assert diarize(diarizer, waveform, nowhere) == []
    assert not passes
