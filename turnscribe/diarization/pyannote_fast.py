"""pyannote's speaker diarization, the same answer sooner: `accelerate(pipeline)`.

`FastSpeakerDiarization` is the effort "exact", and what follows is about it. `HeardOnce`, the effort "fast", answers
nearly the same much sooner. Every method here has a slow twin in the stock pipeline, to which it falls back. What
differs:

- `get_embeddings`: one pass of the embedding model per window, with the weights of all speakers `[W, S, F]`, instead
  of one per speaker slot (3 in most models, 8 in the demo's); windows in which nobody speaks take no pass.
- `speaker_count`, `reconstruct`, `to_annotation`: without Python loops over frames. Measured on one core with 60 min
  of audio in steps of 1 s and 4 speakers, stock and this: counting 0.13 and 0.05 s, reconstruction 0.6 and 0.07 s,
  annotation 0.2 s (1.0 s in 3.4) and 0.02 s; 4.x does the latter two twice. Left alone: clustering (4.5 s, of which
  scipy's linkage takes nearly all) and pyannote's segmentation, which is one pass per window already.

Embeddings may differ from stock's in the last bit, as stock's own do with its batch size: a matrix product's kernel
depends on the number of rows. The rest is exact, NaN scores (unknown) included.

The stock methods answer for files other than mono waveforms in memory at the model's rate, for embedding models
outside `OUTPUT_BIAS` and in pyannote's training mode. This module imports pyannote, so import it late.
Works with pyannote.audio 3.4 and 4.x.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pyannote.audio import Inference
from pyannote.audio.models import embedding as models
from pyannote.audio.pipelines.speaker_diarization import SpeakerDiarization
from pyannote.audio.pipelines.speaker_verification import PyannoteAudioPretrainedSpeakerEmbedding
from pyannote.core import Annotation, SlidingWindow, SlidingWindowFeature

from turnscribe.devices import Device, device_of
from turnscribe.diarization import frames as arrays
from turnscribe.diarization.diarizer import Effort
from turnscribe.diarization.pyannet import NOT_OF_THE_NETWORK, pyannet_from
from turnscribe.diarization.pyannote_versions import pyannote_major
from turnscribe.diarization.resnet_trunk import ResNetTrunk
from turnscribe.diarization.segmenter import CPU_WINDOWS as SEGMENTER_WINDOWS
from turnscribe.diarization.segmenter import Segmenter
from turnscribe.diarization.voices import Masks, voices
from turnscribe.listener import Listener
from turnscribe.waveform import SAMPLE_RATE

# The models that pool weighted frames and end with one linear layer, and where its bias is. A speaker whose weights
# are all zero has mean 0 / 1e-8 and deviation sqrt(0 / 2e-8), so the layer sees zeros and the bias is the embedding.
OUTPUT_BIAS = {
    models.WeSpeakerResNet34: "resnet.seg_1.bias",
    models.WeSpeakerResNet152: "resnet.seg_1.bias",
    models.WeSpeakerResNet221: "resnet.seg_1.bias",
    models.WeSpeakerResNet293: "resnet.seg_1.bias",
    models.XVectorMFCC: "embedding.bias",
    models.XVectorSincNet: "embedding.bias",
}
# Windows a pass on a CPU. More are slower there, it seems as the outputs of the first layers (10 MB a window in
# ResNet34) get too large for malloc to keep, so each is made of fresh pages. CPU time of 10 s windows on one core:
# ResNet34 484 ms each by 2 (and by 1), 663 by 4, 762 by 8; the demo's XVectorMFCC 44 by 2, 90 by 32.
CPU_WINDOWS = 2


def accelerate(pipeline: Any, effort: Effort = "exact") -> Any:
    """Make a stock pipeline a `FastSpeakerDiarization`, on the device where it lies.

    A pipeline of any other class, subclasses too, stays as it is. With the effort "fast", a ResNet34 is a
    `HeardOnce`: its answer differs from stock's by what `voices.py` says. Other embedding models stay exact.
    """
    if type(pipeline) is SpeakerDiarization:
        pipeline.__class__ = FastSpeakerDiarization
        model = getattr(pipeline._embedding, "model_", None)
        if effort == "fast" and type(model) is models.WeSpeakerResNet34:
            pipeline.__class__ = HeardOnce
            pipeline.make_ready()
    return pipeline


def windows_in_a_pass(batch_size: int, device: str | torch.device | Device) -> int:
    """Of the embedding model, where a batch has `batch_size`."""
    return min(batch_size, CPU_WINDOWS) if device_of(device).kind == "cpu" else batch_size


class FastSpeakerDiarization(SpeakerDiarization):
    """Stock's diarization of the same files with the same parameters.

    `embedding_batch_size` counts windows, of which a pass on a CPU takes `CPU_WINDOWS` at most.
    """

    def get_embeddings(
        self,
        file: Any,
        binary_segmentations: SlidingWindowFeature,
        exclude_overlap: bool = False,
        hook: Callable[..., None] | None = None,
    ) -> NDArray[np.float32]:
        """The embeddings `[W, S, D]` of each window's speakers, from segmentations of zeros and ones `[W, F, S]`.

        With `exclude_overlap`, from the frames in which a speaker is alone, where those are enough for the model.
        """
        stock: Callable[[], NDArray[np.float32]] = functools.partial(
            super().get_embeddings, file, binary_segmentations, exclude_overlap=exclude_overlap, hook=hook
        )
        windows, data = binary_segmentations.sliding_window, binary_segmentations.data  # [W, F, S]
        if self.training or not self._handles(file):
            return stock()
        starts, length = self._samples(windows, len(data))
        if length is None or starts.max() > file["waveform"].shape[1]:
            return stock()

        fewest = self._fewest(binary_segmentations) if exclude_overlap else None
        embeddings = self._silence(data)
        spoken = np.flatnonzero((data > 0).any(axis=(1, 2)))  # [V], windows with speech
        size = windows_in_a_pass(self.embedding_batch_size, self._embedding.device)
        batches = [spoken[first : first + size] for first in range(0, len(spoken), size)]
        hook = hook or _ignore_progress
        hook("embeddings", None, total=len(batches), completed=0)
        for completed, batch in enumerate(batches, 1):
            waveforms = self._waveforms(file["waveform"], starts[batch], length)  # [B, 1, samples]
            weights = torch.from_numpy(arrays.frames_to_embed(data[batch], fewest))  # [B, S, F]
            embeddings[batch] = self._embedding(waveforms, masks=weights)
            hook("embeddings", embeddings[batch], total=len(batches), completed=completed)
        return embeddings

    def _fewest(self, segmentations: SlidingWindowFeature) -> int:
        """So many frames of a window are not enough for the embedding model."""
        samples = segmentations.sliding_window.duration * self._embedding.sample_rate
        fewest: int = math.ceil(segmentations.data.shape[1] * self._embedding.min_num_samples / samples)
        return fewest

    def _silence(self, data: NDArray[Any]) -> NDArray[np.float32]:
        """Embeddings `[W, S, D]` of speakers `[W, F, S]` none of whom speaks."""
        silence = attrgetter(OUTPUT_BIAS[type(self._embedding.model_)])(self._embedding.model_)  # [D]
        return np.tile(silence.detach().cpu().numpy(), (len(data), data.shape[2], 1))

    def _handles(self, file: Any) -> bool:
        """Whether the embedding model is in `OUTPUT_BIAS` and the file a mono waveform at the model's rate."""
        if not isinstance(self._embedding, PyannoteAudioPretrainedSpeakerEmbedding):
            return False
        if type(self._embedding.model_) not in OUTPUT_BIAS or "waveform" not in file:
            return False
        return len(file["waveform"]) == 1 and file["sample_rate"] == self._embedding.sample_rate

    def _samples(self, windows: SlidingWindow, count: int) -> tuple[NDArray[np.int64], int | None]:
        """The first sample of each window `[W]` and their length, rounded as `Audio.crop` of the version does.

        The length is `None` where windows differ in it, which 4.x can bring about with steps of part of a sample.
        """
        to_samples = self._audio.get_num_samples  # 3.4 rounds down, 4.x to the nearest
        starts = np.array([to_samples(windows[w].start) for w in range(count)])
        if pyannote_major() < 4:
            return starts, to_samples(windows.duration)
        lengths = {to_samples(windows[w].end) - start for w, start in enumerate(starts.tolist())}
        return starts, lengths.pop() if len(lengths) == 1 else None

    def _waveforms(self, waveform: torch.Tensor, starts: NDArray[np.int64], length: int) -> torch.Tensor:
        """Windows `[B, 1, length]` of a waveform `[1, samples]`, zeros after its end.

        The stretch they lie in goes to the model's device once, as neighbours share nine tenths of their samples.
        """
        first = int(starts[0])
        stretch = waveform[:, first : int(starts[-1]) + length].to(self._embedding.device)
        stretch = F.pad(stretch, (0, int(starts[-1]) + length - first - stretch.shape[1]))
        return torch.stack([stretch[:, start : start + length] for start in (starts - first).tolist()])

    @staticmethod
    def speaker_count(
        binarized_segmentations: SlidingWindowFeature,
        frames: SlidingWindow,
        warm_up: tuple[float, float] = (0.1, 0.1),
    ) -> SlidingWindowFeature:
        """How many speak at once `[T, 1]`: the windows' average, rounded, from zeros and ones `[W, F, S]`."""
        trimmed = Inference.trim(binarized_segmentations, warm_up=warm_up)
        frames, layout = _layout(trimmed, frames)
        return SlidingWindowFeature(arrays.speaker_count(trimmed.data, layout)[:, None], frames)

    def reconstruct(
        self, segmentations: SlidingWindowFeature, hard_clusters: NDArray[np.int8], count: SlidingWindowFeature
    ) -> SlidingWindowFeature:
        """Who speaks `[T, K]`, zeros and ones: in each frame the `count` `[T, 1]` clusters of the highest scores.

        From scores `[W, F, S]` and their clusters `[W, S]`. A cluster's score is the sum over the windows, in their
        order, as stock's is: float32 sums of soft scores depend on it.
        """
        frames, layout = _layout(segmentations, count.sliding_window)
        if layout.length != len(count) or frames.start != count.sliding_window.start:
            return super().reconstruct(segmentations, hard_clusters, count)
        speaking = arrays.reconstruct(segmentations.data, hard_clusters, count.data[:, 0], layout)
        return SlidingWindowFeature(speaking, frames)

    @staticmethod
    def to_annotation(
        discrete_diarization: SlidingWindowFeature, min_duration_on: float = 0.0, min_duration_off: float = 0.0
    ) -> Annotation:
        """The turns of who speaks `[T, K]`: stock's method sees only the frames in which something changes."""
        data = discrete_diarization.data
        kept = arrays.changes(data)
        return SpeakerDiarization.to_annotation(
            SlidingWindowFeature(data[kept], _ChosenFrames(discrete_diarization.sliding_window, kept)),
            min_duration_on=min_duration_on,
            min_duration_off=min_duration_off,
        )


class HeardOnce(FastSpeakerDiarization):
    """The same steps, but each second passes the networks once as far as windows have it in common.

    The embedding model is a ResNet34, whose trunk hears pieces of the recording (`voices.py`). A segmentation model
    that is a PyanNet with a powerset goes through `segmenter.Segmenter`, any other through pyannote.
    """

    def make_ready(self) -> None:
        """Take the models as they are now: weights, device and step of the windows."""
        self._trunk = ResNetTrunk(self._embedding.model_)
        self._segmenter: Segmenter | None = None
        model, inference = self._segmentation.model, self._segmentation
        hop = round(inference.step * SAMPLE_RATE)
        try:
            network, window = pyannet_from(
                {
                    "state_dict": {name: weight.cpu() for name, weight in model.state_dict().items()},
                    "hyper_parameters": dict(model.hparams),
                    "pyannote.audio": {"specifications": model.specifications},
                }
            )
        except NOT_OF_THE_NETWORK:
            return
        if hop % network.dims.stride or window != inference.duration:
            return
        size = self.segmentation_batch_size
        batch = min(size, SEGMENTER_WINDOWS) if self._trunk.device.type == "cpu" else size
        self._segmenter = Segmenter(network.to(self._trunk.device), round(window * SAMPLE_RATE), hop, batch=batch)

    def get_segmentations(self, file: Any, hook: Callable[..., None] | None = None) -> SlidingWindowFeature:
        """Who speaks in each window `[W, F, S]`, zeros and ones."""
        segmenter = self._segmenter
        if segmenter is None or self.training or not self._handles(file):
            return super().get_segmentations(file, hook=hook)
        if abs(segmenter.hop / SAMPLE_RATE - self._segmentation.step) > 1e-6:  # it was changed since
            return super().get_segmentations(file, hook=hook)
        hook = hook or _ignore_progress
        waveform = file["waveform"][0].cpu().numpy()
        total = segmenter.count(len(waveform))

        def progress(share: float) -> None:
            hook("segmentation", None, total=total, completed=round(share * total))

        with torch.inference_mode():
            speech = segmenter.speech(waveform, Listener(on_progress=progress), file.get("speech"))
        step = segmenter.hop / SAMPLE_RATE
        windows = SlidingWindow(start=0.0, duration=self._segmentation.duration, step=step)
        return SlidingWindowFeature(speech, windows)

    def get_embeddings(
        self,
        file: Any,
        binary_segmentations: SlidingWindowFeature,
        exclude_overlap: bool = False,
        hook: Callable[..., None] | None = None,
    ) -> NDArray[np.float32]:
        """As `FastSpeakerDiarization.get_embeddings`, each second heard once."""
        windows, data = binary_segmentations.sliding_window, binary_segmentations.data  # [W, F, S]
        if self.training or not self._handles(file):
            return super().get_embeddings(file, binary_segmentations, exclude_overlap, hook)
        hook = hook or _ignore_progress
        receptive = self._segmentation.model.receptive_field
        masks = Masks(
            arrays.frames_to_embed(data, self._fewest(binary_segmentations) if exclude_overlap else None),
            windows.start + windows.step * np.arange(len(data)),
            arrays.Frames(receptive.duration, receptive.step),
        )

        def progress(share: float) -> None:
            hook("embeddings", None, total=len(data), completed=round(share * len(data)))

        progress(0.0)
        with torch.inference_mode():
            found = voices(
                self._trunk,
                file["waveform"][0].cpu().numpy(),
                masks,
                Listener(on_progress=progress),
                batch=1 if self._trunk.device.type == "cpu" else self.embedding_batch_size,
            )
        return np.where(masks.data.any(axis=2, keepdims=True), found, self._silence(data))


class _ChosenFrames:
    """Some frames of a sliding window, renumbered: as much of a window as pyannote's `Binarize` needs."""

    def __init__(self, frames: SlidingWindow, kept: NDArray[np.int64]) -> None:
        self.frames, self.kept = frames, kept

    def __getitem__(self, index: int) -> Any:
        return self.frames[int(self.kept[index])]


def _layout(scores: SlidingWindowFeature, frames: SlidingWindow) -> tuple[SlidingWindow, arrays.Layout]:
    """The recording's frames and where those of each window lie, as in `Inference`."""
    windows = scores.sliding_window
    layout = arrays.Layout.of(
        arrays.Frames(windows.duration, windows.step, windows.start),
        len(scores),
        arrays.Frames(frames.duration, frames.step, windows.start),
    )
    return SlidingWindow(start=windows.start, duration=frames.duration, step=frames.step), layout


def _ignore_progress(*_: Any, **__: Any) -> None:
    """The hook of a caller who passes none."""
