"""The fast diarization against its slow twin, stock pyannote: equal answers, from the demo models and random ones.

Random models of the real architectures are scaled until their answer is a varied one, which the tests check: several
speakers, overlap, windows in which nobody speaks.
"""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diarization_utils import diarize, load_diarizer
from tests.conftest import REPOSITORY
from turnscribe.devices import Device
from turnscribe.diarization import pyannote_versions
from turnscribe.diarization.pyannote import PyannoteDiarizer

pyannote_versions.silence_pyannote()

from pyannote.audio.core.task import Problem, Resolution, Specifications  # noqa: E402
from pyannote.audio.models.embedding import WeSpeakerResNet34, XVectorMFCC, XVectorSincNet  # noqa: E402
from pyannote.audio.models.segmentation import PyanNet  # noqa: E402
from pyannote.audio.pipelines.speaker_diarization import SpeakerDiarization  # noqa: E402
from pyannote.core import Segment, SlidingWindow, SlidingWindowFeature  # noqa: E402

from turnscribe.diarization.pyannote_fast import (  # noqa: E402
    CPU_WINDOWS,
    FastSpeakerDiarization,
    HeardOnce,
    accelerate,
    windows_in_a_pass,
)

pytestmark = pytest.mark.slow

FOUR = pyannote_versions.pyannote_major() >= 4
RATE = 16_000
FRAMES = SlidingWindow(start=0.0, duration=991 / RATE, step=270 / RATE)  # PyanNet's
AGGLOMERATIVE = {"method": "centroid", "min_cluster_size": 2, "threshold": 0.3}


@pytest.fixture(autouse=True)
def _no_expected_warnings() -> Iterator[None]:
    """pytest drops the filters that loading sets."""
    with warnings.catch_warnings():
        pyannote_versions.silence_pyannote()
        yield


# Equal answers ---------------------------------------------------------------------------------------


def answer(pipeline: Any, waveform: NDArray[np.float32], **limits: int) -> tuple[list[Any], NDArray[np.float32]]:
    """All annotations as lists of tracks, and the speakers' embeddings."""
    file = {"uri": "recording", **pyannote_versions.in_memory(waveform)}
    if FOUR:
        output = pipeline(file, **limits)
        annotations = [output.speaker_diarization, output.exclusive_speaker_diarization]
        embeddings = output.speaker_embeddings
    else:
        seen: dict[str, Any] = {}
        annotation, embeddings = pipeline(
            file, return_embeddings=True, hook=lambda step, artefact, **_: seen.update({step: artefact}), **limits
        )
        again = copy.copy(pipeline)
        again.get_embeddings = lambda *_, **__: seen[
            "embeddings"
        ].copy()  # the count of speakers does not matter to them
        exclusive = again(file, hook=pyannote_versions.one_speaker_at_a_time(lambda *_, **__: None), **limits)
        annotations = [annotation, exclusive]
    return [list(annotation.itertracks(yield_label=True)) for annotation in annotations], embeddings


def assert_equal_answers(slow: Any, fast: Any, waveform: NDArray[np.float32], **limits: int) -> list[Any]:
    assert type(slow) is SpeakerDiarization
    assert type(fast) is FastSpeakerDiarization
    expected, expected_embeddings = answer(slow, waveform, **limits)
    got, embeddings = answer(fast, waveform, **limits)
    assert got == expected
    np.testing.assert_allclose(embeddings, expected_embeddings, rtol=1e-5, atol=1e-6)
    return got


def fast_twin(slow: Any) -> Any:
    return accelerate(copy.copy(slow))  # of the same models


@pytest.fixture(scope="module")
def demo_twins() -> tuple[Any, Any]:
    slow = load_diarizer("demo/diarizer", root=REPOSITORY, effort="stock")
    return slow.pipeline, load_diarizer("demo/diarizer", root=REPOSITORY).pipeline


@pytest.fixture
def with_silence(conversation_waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """12 s of the demo recording with 13 s of nothing in the middle: some of the windows are all silence."""
    first, second = conversation_waveform[2 * RATE : 8 * RATE], conversation_waveform[22 * RATE : 28 * RATE]
    return np.concatenate([first, np.zeros(13 * RATE, np.float32), second])


@pytest.mark.models
@pytest.mark.parametrize(
    ("samples", "exclude_overlap"),
    [(20 * RATE, True), (12 * RATE + 4567, False), (10 * RATE, True), (10 * RATE + 1, False), (3 * RATE - 7, True)],
)
def test_demo_answers_are_stocks(
    samples: int, exclude_overlap: bool, demo_twins: Any, conversation_waveform: NDArray[np.float32]
) -> None:
    slow, fast = map(copy.copy, demo_twins)
    slow.embedding_exclude_overlap = fast.embedding_exclude_overlap = exclude_overlap
    annotation, _ = assert_equal_answers(slow, fast, conversation_waveform[5 * RATE :][:samples])
    assert annotation


@pytest.mark.models
@pytest.mark.parametrize("limits", [{"num_speakers": 2}, {"min_speakers": 3}, {"max_speakers": 1}], ids=str)
def test_demo_answers_are_stocks_with_silence_and_counts(
    limits: dict[str, int], demo_twins: Any, with_silence: Any
) -> None:
    assert_equal_answers(*demo_twins, with_silence, **limits)


@pytest.mark.models
def test_demo_turns_are_stocks(demo_twins: Any, with_silence: Any) -> None:
    slow, fast = (diarize(PyannoteDiarizer(pipeline), with_silence) for pipeline in demo_twins)
    assert len({turn.speaker for turn in fast}) > 1
    assert fast == slow


@pytest.mark.models
@pytest.mark.skipif(not FOUR, reason="3.4 has no VBx clustering")
def test_vbx_clustering_gives_stocks_answer(demo_twins: Any, with_silence: Any) -> None:
    demo = demo_twins[0]
    slow = SpeakerDiarization(
        segmentation=demo._segmentation.model,
        segmentation_step=0.25,
        embedding=demo._embedding.model_,
        plda=str(REPOSITORY / "demo" / "diarizer" / "plda"),
        embedding_exclude_overlap=True,
        embedding_batch_size=32,
        segmentation_batch_size=32,
    )
    slow.instantiate(slow.default_parameters())
    annotation, _ = assert_equal_answers(slow, fast_twin(slow), with_silence)
    assert len({speaker for *_, speaker in annotation}) > 1


def segmentation_model(speakers: int, powerset: int | None) -> PyanNet:
    """A random PyanNet over windows of 1 s."""
    model = PyanNet(lstm={"hidden_size": 16, "num_layers": 1}, linear={"num_layers": 0})
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION if powerset else Problem.MULTI_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=1.0,
        classes=[f"speaker#{n}" for n in range(speakers)],
        powerset_max_classes=powerset,
        permutation_invariant=True,
    )
    model.build()
    return model.eval()


def decide(model: PyanNet, waveform: NDArray[np.float32]) -> None:
    """Scale the random classifier: every class comes up in the waveform, nobody speaks in digital silence."""
    features: list[torch.Tensor] = []
    handle = model.classifier.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    with torch.inference_mode():
        model(torch.from_numpy(waveform[: len(waveform) // RATE * RATE]).reshape(-1, 1, RATE))
        model(torch.zeros(1, 1, RATE))
    handle.remove()
    speech, silence = features[0].flatten(0, 1), features[1].flatten(0, 1)  # [frames, H]
    with torch.no_grad():
        scores = speech @ model.classifier.weight.T
        model.classifier.weight /= scores.std(dim=0)[:, None] / 4
        model.classifier.bias.copy_(-(speech @ model.classifier.weight.T).mean(dim=0))
        quiet = (silence - speech.mean(dim=0)).mean(dim=0)
        wanted = torch.full_like(model.classifier.bias, -8.0)
        if model.specifications.powerset:
            wanted[0] = 8.0
        # Steer by the direction in which silence lies from speech, which leaves speech's mean score at zero.
        model.classifier.weight += torch.outer(wanted - model.classifier.weight @ quiet, quiet) / (quiet @ quiet)
        model.classifier.bias.copy_(-(speech @ model.classifier.weight.T).mean(dim=0))


@pytest.fixture(scope="module")
def varied(conversation_waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """5.7 s of speech with 1.6 s of silence in the middle."""
    first, second = conversation_waveform[2 * RATE : 5 * RATE], conversation_waveform[22 * RATE : 24 * RATE + 11_111]
    return np.concatenate([first, np.zeros(RATE * 16 // 10, np.float32), second])


def random_pipeline(varied: NDArray[np.float32], *, powerset: int | None, **parameters: Any) -> Any:
    torch.manual_seed(0)
    segmentation = segmentation_model(3, powerset)
    decide(segmentation, varied)
    if FOUR:
        parameters["plda"] = str(REPOSITORY / "demo" / "diarizer" / "plda")  # loaded, not used
    pipeline = SpeakerDiarization(
        segmentation=segmentation,
        segmentation_step=0.4,
        embedding=WeSpeakerResNet34().eval(),
        clustering="AgglomerativeClustering",
        embedding_batch_size=8,
        segmentation_batch_size=8,
        **parameters,
    )
    threshold = {} if powerset else {"threshold": 0.5}
    return pipeline.instantiate({"segmentation": {"min_duration_off": 0.0, **threshold}, "clustering": AGGLOMERATIVE})


@pytest.mark.parametrize("exclude_overlap", [True, False])
@pytest.mark.parametrize("powerset", [2, None], ids=["powerset", "soft scores"])
def test_random_models_answer_as_in_stock(
    powerset: int | None, exclude_overlap: bool, varied: NDArray[np.float32]
) -> None:
    slow = random_pipeline(varied, powerset=powerset, embedding_exclude_overlap=exclude_overlap)
    fast = fast_twin(slow)
    segmentations = fast.get_segmentations(pyannote_versions.in_memory(varied)).data  # [W, F, S]
    speaking = (segmentations > 0.5).sum(axis=2)  # [W, F]
    assert set(speaking.ravel().tolist()) >= {0, 1, 2}
    assert not speaking.any(axis=1).all()
    assert (segmentations > 0.5).any(axis=(0, 1)).all()
    annotation, _ = assert_equal_answers(slow, fast, varied)
    assert len({speaker for *_, speaker in annotation}) > 1
    assert len(annotation) > 5


# The effort "fast" -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def efforts(varied: NDArray[np.float32]) -> tuple[Any, Any]:
    """Of the same random models: exact and fast."""
    slow = random_pipeline(varied, powerset=2)
    return accelerate(copy.copy(slow)), accelerate(copy.copy(slow), "fast")


def test_each_second_heard_once_gives_nearly_the_same_segmentation(
    efforts: tuple[Any, Any], varied: NDArray[np.float32]
) -> None:
    exact, fast = efforts
    assert type(fast) is HeardOnce
    assert fast._segmenter is not None
    file, seen = pyannote_versions.in_memory(varied), []
    expected = exact.get_segmentations(file)
    got = fast.get_segmentations(file, hook=lambda *_, total, completed: seen.append((completed, total)))
    assert got.data.shape == expected.data.shape
    assert got.sliding_window.step == pytest.approx(expected.sliding_window.step)
    assert got.sliding_window.duration == pytest.approx(expected.sliding_window.duration)
    assert expected.data.any()
    assert float((got.data != expected.data).mean()) < 0.005
    assert seen == sorted(seen)
    assert seen[-1] == (len(got), len(got))


def test_each_second_heard_once_gives_nearly_the_same_voices(
    efforts: tuple[Any, Any], conversation_waveform: NDArray[np.float32]
) -> None:
    exact, fast = efforts
    speaking = np.zeros((6, 589, 3), np.float32)  # of 10 s
    speaking[:, :300, 0] = speaking[:, 300:, 1] = 1
    windows = SlidingWindowFeature(speaking, SlidingWindow(start=0, duration=10, step=4))
    file, seen = pyannote_versions.in_memory(conversation_waveform[: 30 * RATE]), []
    hook = lambda *_, total, completed: seen.append((completed, total))  # noqa: E731
    expected, got = exact.get_embeddings(file, windows), fast.get_embeddings(file, windows, hook=hook)
    cosines = (expected * got).sum(axis=2) / np.linalg.norm(expected, axis=2) / np.linalg.norm(got, axis=2)  # [W, S]
    assert cosines.min() > 0.99
    assert np.array_equal(got[:, 2], expected[:, 2])  # who does not speak
    voices = expected[:, :2].reshape(12, -1)
    assert np.corrcoef(voices).min() < 0.95  # they differ
    assert seen == sorted(seen)
    assert seen[-1] == (6, 6)


def test_who_asks_to_stop_is_heard_in_either_step(efforts: tuple[Any, Any], varied: NDArray[np.float32]) -> None:
    _, fast = efforts
    file = pyannote_versions.in_memory(varied)
    segmentations = fast.get_segmentations(file)

    def stop(*_: Any, **__: Any) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        fast.get_segmentations(file, hook=stop)
    with pytest.raises(InterruptedError):
        fast.get_embeddings(file, segmentations, hook=stop)


def test_a_step_that_was_changed_since_is_pyannotes(varied: NDArray[np.float32]) -> None:
    slow = random_pipeline(varied, powerset=2)
    fast = accelerate(copy.deepcopy(slow), "fast")
    slow._segmentation.step = fast._segmentation.step = 0.8
    file = pyannote_versions.in_memory(varied)
    expected, got = slow.get_segmentations(file), fast.get_segmentations(file)
    assert got.sliding_window.step == pytest.approx(0.8)
    assert np.array_equal(got.data, expected.data)


# Embeddings ------------------------------------------------------------------------------------------


def spoken(shape: tuple[int, int, int], *, seed: int = 0) -> SlidingWindowFeature:
    """Random zeros and ones `[W, F, S]` in windows of 1 s; in windows 2 and 3 nobody speaks, in 5 only one does."""
    rng = np.random.default_rng(seed)
    data = (rng.random(shape) < rng.random((shape[0], 1, shape[2]))).astype(np.float32)
    data[2:4] = 0
    data[5, :, 1:] = 0
    data[6, :-1] = 0  # one frame: a deviation of nothing
    return SlidingWindowFeature(data, SlidingWindow(start=0.0, duration=1.0, step=0.25))


MFCC = {"n_mfcc": 24, "melkwargs": {"n_fft": 512, "hop_length": 320, "n_mels": 40}}
MODELS = {
    "WeSpeakerResNet34": WeSpeakerResNet34,
    "XVectorMFCC": lambda: XVectorMFCC(dimension=32, mfcc=MFCC),
    "XVectorSincNet": lambda: XVectorSincNet(dimension=32),
}


@pytest.fixture(scope="module", params=list(MODELS))
def embedding_twins(request: Any) -> tuple[Any, Any]:
    """Stock and fast pipelines with a random embedding model."""
    torch.manual_seed(1)
    plda = {"plda": str(REPOSITORY / "demo" / "diarizer" / "plda")} if FOUR else {}
    slow = SpeakerDiarization(
        segmentation=segmentation_model(3, 2),
        embedding=MODELS[request.param]().eval(),
        clustering="AgglomerativeClustering",
        embedding_batch_size=4,
        **plda,
    )
    return slow, fast_twin(slow)


@pytest.fixture(scope="module")
def noise() -> dict[str, Any]:
    return pyannote_versions.in_memory(np.random.default_rng(0).normal(0, 0.1, 3 * RATE + 123).astype(np.float32))


@pytest.mark.parametrize("exclude_overlap", [True, False])
def test_embeddings_of_one_pass_are_those_of_one_pass_a_speaker(
    exclude_overlap: bool, embedding_twins: tuple[Any, Any], noise: dict[str, Any]
) -> None:
    """Of the last window too, the end of which lies after the recording's."""
    given = spoken((10, 59, 3))
    expected, got = (twin.get_embeddings(noise, given, exclude_overlap=exclude_overlap) for twin in embedding_twins)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_embeddings_of_silent_windows_are_stocks_to_the_bit(
    embedding_twins: tuple[Any, Any], noise: dict[str, Any]
) -> None:
    given = spoken((10, 59, 3))
    expected, got = (twin.get_embeddings(noise, given) for twin in embedding_twins)
    silent = given.data.sum(axis=1) == 0  # [W, S]
    assert silent.sum() >= 8
    np.testing.assert_array_equal(got[silent], expected[silent])


def test_unknown_scores_are_no_speech(embedding_twins: tuple[Any, Any], noise: dict[str, Any]) -> None:
    given = spoken((10, 59, 3))
    given.data[0, 10:20, 0] = given.data[3, :, 1] = np.nan
    expected, got = (twin.get_embeddings(noise, given, exclude_overlap=True) for twin in embedding_twins)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_one_pass_a_batch_of_windows_with_speech(embedding_twins: tuple[Any, Any], noise: dict[str, Any]) -> None:
    """And a word to the hook after each, by which progress and cancelling go."""
    passes: list[int] = []
    told: list[tuple[int, int]] = []

    def hook(step: str, _: Any, *, total: int, completed: int) -> None:
        assert step == "embeddings"
        told.append((completed, total))

    fast = embedding_twins[1]
    handle = fast._embedding.model_.register_forward_hook(lambda _, given, __: passes.append(len(given[0])))
    fast.get_embeddings(noise, spoken((10, 59, 3)), hook=hook)
    handle.remove()
    assert passes == [CPU_WINDOWS] * 4  # 8 of 10 windows have speech
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_on_a_gpu_a_pass_takes_the_whole_batch(gpu: Device) -> None:
    assert [windows_in_a_pass(size, gpu) for size in (1, 128)] == [1, 128]
    assert [windows_in_a_pass(size, "cpu") for size in (1, 128)] == [1, CPU_WINDOWS]


@pytest.mark.parametrize("duration", [1.0, 0.7, 1.3])
@pytest.mark.parametrize("step", [0.1, 0.07, 1 / 3, 0.123456])
def test_windows_hold_the_samples_that_stock_cuts(
    step: float, duration: float, embedding_twins: tuple[Any, Any]
) -> None:
    fast = embedding_twins[1]
    file = pyannote_versions.in_memory(np.arange(5 * RATE + 77, dtype=np.float32))
    windows = SlidingWindow(start=0.0, duration=duration, step=step)
    count = int((file["waveform"].shape[1] / RATE - duration) / step) + 2  # the last one reaches over the end
    starts, length = fast._samples(windows, count)
    fixed = {} if FOUR else {"duration": duration}
    expected = [fast._audio.crop(file, windows[w], mode="pad", **fixed)[0] for w in range(count)]
    if length is None:
        assert len({waveform.shape[1] for waveform in expected}) > 1
        return
    picked = [w for w in range(count) if w % 3]
    got = fast._waveforms(file["waveform"], starts[picked], length)
    assert torch.equal(got, torch.stack([expected[w] for w in picked]))


class Custom(XVectorMFCC):
    """A model that may do anything."""


@pytest.mark.parametrize("case", ["another model", "training", "two channels", "another rate"])
def test_stock_answers_for_what_the_fast_way_does_not_know(case: str, noise: dict[str, Any]) -> None:
    torch.manual_seed(1)
    plda = {"plda": str(REPOSITORY / "demo" / "diarizer" / "plda")} if FOUR else {}
    model = (Custom if case == "another model" else XVectorMFCC)(dimension=32, mfcc=MFCC).eval()
    slow = SpeakerDiarization(
        segmentation=segmentation_model(3, 2), embedding=model, clustering="AgglomerativeClustering", **plda
    )
    fast = fast_twin(slow)
    slow.training = fast.training = case == "training"
    waveform, rate = noise["waveform"], RATE
    if case == "two channels":
        waveform = torch.cat([waveform, waveform.flip(1)])
    if case == "another rate":
        rate = RATE // 2
    given = spoken((10, 59, 3))
    got, expected = (
        twin.get_embeddings({"waveform": waveform, "sample_rate": rate}, given, exclude_overlap=True)
        for twin in (fast, slow)
    )
    np.testing.assert_array_equal(got, expected)


def test_only_the_stock_class_is_made_fast() -> None:
    class Own(SpeakerDiarization):
        pass

    own = Own.__new__(Own)
    other = object()
    assert type(accelerate(own)) is Own
    assert accelerate(other) is other


# Counting and reconstruction -------------------------------------------------------------------------


def scores(seed: int, *, soft: bool, step: float, unknown: bool) -> tuple[SlidingWindowFeature, NDArray[np.int8]]:
    """Random scores `[W, F, S]` of windows of 10 s, and clusters `[W, S]`: some twice in a window, some nobody's."""
    rng = np.random.default_rng(seed)
    data = rng.random((25, 589, 4), dtype=np.float32)
    if not soft:
        data = (data < rng.random((25, 1, 4))).astype(np.float32)
    if unknown:
        data[rng.random(data.shape) < 0.2] = np.nan
        data[:, 300:310] = np.nan
    clusters = rng.integers(0, 5, (25, 4)).astype(np.int8)
    clusters[rng.random(clusters.shape) < 0.3] = -2
    clusters[0, 0] = 4
    return SlidingWindowFeature(data, SlidingWindow(start=0.0, duration=10.0, step=step)), clusters


cases = pytest.mark.parametrize(
    ("seed", "soft", "step", "unknown"),
    [
        (seed, *case)
        for seed, case in enumerate(itertools.product([False, True], [1.0, 2.5, 10.0, 0.37], [False, True]))
    ],
)


def copied(feature: SlidingWindowFeature) -> SlidingWindowFeature:
    return SlidingWindowFeature(feature.data.copy(), feature.sliding_window)


@cases
@pytest.mark.parametrize("warm_up", [(0.0, 0.0), (0.1, 0.2)])
def test_count_is_stocks(seed: int, soft: bool, step: float, unknown: bool, warm_up: Any) -> None:
    given, _ = scores(seed, soft=soft, step=step, unknown=unknown)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a warm-up that leaves gaps
        expected = SpeakerDiarization.speaker_count(copied(given), FRAMES, warm_up=warm_up)
        got = FastSpeakerDiarization.speaker_count(given, FRAMES, warm_up=warm_up)
    assert len(set(expected.data.ravel().tolist())) > 2
    assert_same_frames(got, expected)


@cases
@pytest.mark.parametrize("most", [7, 1, 0], ids=lambda most: f"at most {most} at once")
def test_reconstruction_and_annotation_are_stocks(
    seed: int, soft: bool, step: float, unknown: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, clusters = scores(seed, soft=soft, step=step, unknown=unknown)
    length = len(SpeakerDiarization.speaker_count(copied(given), FRAMES, warm_up=(0.0, 0.0)))
    rng = np.random.default_rng(seed)
    counted = np.repeat(rng.integers(0, most + 1, length // 20 + 1), 20)[:length, None].astype(np.int8)  # up to 7 > 5
    count = SlidingWindowFeature(counted, FRAMES)
    slow, fast = (cls.__new__(cls) for cls in (SpeakerDiarization, FastSpeakerDiarization))
    expected = slow.reconstruct(copied(given), clusters, count)
    monkeypatch.setattr(SpeakerDiarization, "reconstruct", None)  # the fast one has to do it itself
    got = fast.reconstruct(given, clusters, count)
    assert_same_frames(got, expected)
    for gap in (0.0, 0.3):
        turns = [list(twin.to_annotation(got, 0.0, gap).itertracks(yield_label=True)) for twin in (slow, fast)]
        assert turns[0] == turns[1]
        assert bool(turns[0]) == bool(most)


def test_count_on_other_frames_is_left_to_stock() -> None:
    given, clusters = scores(0, soft=True, step=1.0, unknown=False)
    count = SlidingWindowFeature(np.ones((1000, 1), np.int8), FRAMES)
    slow, fast = (cls.__new__(cls) for cls in (SpeakerDiarization, FastSpeakerDiarization))
    assert_same_frames(fast.reconstruct(copied(given), clusters, count), slow.reconstruct(given, clusters, count))


def test_a_turn_of_the_first_or_last_frame_is_kept() -> None:
    data = np.zeros((50, 3), np.float32)
    data[0, 0] = data[-1, 1] = data[-2:, 2] = data[10:20, 2] = 1
    frames = SlidingWindowFeature(data, FRAMES)
    slow, fast = (
        list(c.to_annotation(frames).itertracks(yield_label=True))
        for c in (SpeakerDiarization, FastSpeakerDiarization)
    )
    assert fast == slow
    assert fast[0][0] == Segment(FRAMES[0].middle, FRAMES[1].middle)


def assert_same_frames(got: SlidingWindowFeature, expected: SlidingWindowFeature) -> None:
    np.testing.assert_array_equal(got.data, expected.data)
    assert got.data.dtype == expected.data.dtype
    ours, stocks = got.sliding_window, expected.sliding_window
    assert (ours.start, ours.duration, ours.step) == (stocks.start, stocks.duration, stocks.step)
