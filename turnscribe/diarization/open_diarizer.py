"""The open diarizer: who speaks when, with two networks that anybody may fetch, and without pyannote.audio.

1. PyanNet (`pyannet.py`) hears who speaks when in windows of 10 s, one each second; up to three people a window.
2. CAM++ (`campplus.py`) makes an embedding of each of them, where they speak alone if that is enough. It hears each
   from the frames that are theirs, and nobody else's: what that is worth is said there.
3. Voices that sound alike are one person (`clustering.py`).
4. The windows together say who speaks in each frame (`frames.py`).

The steps are those of pyannote's `SpeakerDiarization`. With the effort "exact" it gives the same turns with the same
networks. With "fast" the networks compute once what windows have in common (`segmenter.py`, `voices.py`): windows of
10 s, one a second, would pass them ten times.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from turnscribe.checkpoints.torch_files import read_torch_file
from turnscribe.devices import Device, device_of
from turnscribe.diarization import segmenter
from turnscribe.diarization.campplus import SHORTEST_VOICE, CamPlus, campplus_from
from turnscribe.diarization.campplus_trunk import CamPlusTrunk
from turnscribe.diarization.clustering import Clustering
from turnscribe.diarization.diarizer import OPEN_EMBEDDING, OPEN_SEGMENTATION, Effort
from turnscribe.diarization.frames import NOBODY, Frames, Layout, frames_to_embed, reconstruct, speaker_count, spoken
from turnscribe.diarization.gpu_windows import windows_that_fit
from turnscribe.diarization.pyannet import NOT_OF_THE_NETWORK, PyanNet, pyannet_from
from turnscribe.diarization.pyannote_versions import SAVED_TYPES
from turnscribe.diarization.segmenter import Segmenter
from turnscribe.diarization.voices import Masks, voices
from turnscribe.errors import SettingsError
from turnscribe.listener import Listener
from turnscribe.request import Request
from turnscribe.threads import follow_load
from turnscribe.transcript import Turn
from turnscribe.waveform import SAMPLE_RATE, Waveform

# Chosen by the error rate on 38 minutes of real voices: dialogues of the actors of Fish Fillets, Czech and Dutch, in
# the levels with an odd number, and mixtures of them with Asterisk's prompts, Tux Paint's captions and LibriVox
# (docs/open-diarizer.md). Nothing that the diarizer is judged by was among them.
CLUSTERINGS: dict[Effort, Clustering] = {
    "exact": Clustering(threshold=0.7, min_cluster_size=8),
    "fast": Clustering(threshold=0.76, min_cluster_size=10, blocks=True, apart=0.3),
}
SHORTEST_PAUSE = 0.0  # seconds between two turns of one speaker; more fills pauses, with what others say in them too
STEP = 0.1  # of a window, from one to the next: 0.2 halves the time and costs 2 points of the error rate

# Windows a pass on a CPU: a longer LSTM's batch pays, larger outputs of CAM++'s first layers do not.
SEGMENTATION_SHARE = {"exact": 0.2, "fast": 0.63}  # of the time; measured on one core
EMBEDDED = 0.96  # of the time; clustering is the rest
CPU_WINDOWS = {"segmentation": 32, "embedding": 2, "segmenter": segmenter.CPU_WINDOWS, "trunk": 1}
# Bytes of a window of 10 s there and the most windows worth a pass; reckoned, not measured on a GPU, in float32.
# PyanNet's widest outputs have 80 channels x 15,975 values (5 MB, four live at once). CAM++'s have 32 channels x 80
# mel bins x 998 frames (10 MB, four with a convolution's workspace).
GPU_WINDOWS = {"segmentation": (20e6, 512), "embedding": (40e6, 256), "segmenter": (20e6, 512), "trunk": (44e6, 64)}


@dataclass(frozen=True)
class OpenDiarizer:
    """The two networks on one device; `window` is the length of a window in seconds."""

    segmentation: PyanNet
    embedding: CamPlus
    window: float = 10.0
    device: str | Device = "cpu"
    clustering: Clustering = CLUSTERINGS["exact"]
    shortest_pause: float = SHORTEST_PAUSE
    step: float = STEP
    effort: Effort = "exact"

    speaker_similarity: ClassVar[float] = 0.55  # measured on real voices: docs/open-diarizer.md

    @functools.cached_property
    def fast(self) -> OpenDiarizer:
        """With the same networks, each second heard once as far as can be."""
        return replace(self, clustering=CLUSTERINGS["fast"], effort="fast")

    def turns(self, waveform: Waveform, request: Request, listener: Listener) -> list[Turn]:
        """As `Diarizer.turns`; speakers are numbered in the order in which they first speak."""
        counts = request.speaker_counts
        frames = self.segmentation.frames
        with torch.inference_mode():
            speech = self._speech(waveform, request, _part(listener, 0.0, self._segmenting))  # [W, F, S]
            windows = Frames(self.window, self.step * self.window)
            layout = Layout.of(windows, len(speech), frames)
            count = speaker_count(speech, layout)  # [T]
            if not count.any():
                return []
            if counts.get("num_speakers", counts.get("max_speakers")) == 1:
                clusters = np.zeros((len(speech), speech.shape[2]), np.int16)
            else:
                embeddings = self._embeddings(waveform, speech, _part(listener, self._segmenting, EMBEDDED))
                listener.stop_if_asked()
                clusters = self.clustering.clusters(embeddings, speech, counts)
        clusters[speech.sum(axis=1) == 0] = NOBODY
        speaking = reconstruct(speech, clusters, np.minimum(count, 1), layout)  # [T, K]
        listener.on_progress(1.0)
        return _named(spoken(speaking, frames, self.shortest_pause), len(waveform) / SAMPLE_RATE)

    def embed(self, waveform: Waveform) -> NDArray[np.float32]:
        """As `Diarizer.embed`: `[192]`."""
        with torch.inference_mode():
            samples = torch.from_numpy(np.ascontiguousarray(waveform, np.float32)).to(self._torch_device)
            samples = F.pad(samples, (0, max(SHORTEST_VOICE - len(samples), 0)))
            embedding: NDArray[np.float32] = self.embedding(samples[None])[0].cpu().numpy()
            return embedding

    def _speech(self, waveform: Waveform, request: Request, listener: Listener) -> NDArray[np.float32]:
        """Who speaks in each window `[W, F, S]`, zeros and ones; the last window ends with zeros."""
        if self.effort == "exact":
            return self._exact_speech(waveform, listener)
        return self._segmenter.speech(waveform, listener, request.decoding.speech)

    def _exact_speech(self, waveform: Waveform, listener: Listener) -> NDArray[np.float32]:
        count = 1 + max(math.ceil((len(waveform) - self._length) / self._hop), 0)
        batches = list(self._batches(np.arange(count), "segmentation"))
        speech = []
        for done, batch in enumerate(batches, 1):
            listener.stop_if_asked()
            follow_load()
            speech.append(self.segmentation.speech(self._windows(waveform, batch)).cpu().numpy())
            listener.on_progress(done / len(batches))
        return np.concatenate(speech)

    def _embeddings(self, waveform: Waveform, speech: NDArray[np.float32], listener: Listener) -> NDArray[np.float32]:
        """The embeddings `[W, S, D]` of each window's speakers; where nobody speaks, zeros."""
        fewest = math.ceil(speech.shape[1] * SHORTEST_VOICE / self._length)
        if self.effort == "exact":
            return self._exact_embeddings(waveform, speech, fewest, listener)
        starts = self.step * self.window * np.arange(len(speech))
        masks = Masks(frames_to_embed(speech, fewest), starts, self.segmentation.frames)
        return voices(self._trunk, waveform, masks, listener, batch=self._batch_size("trunk"))

    def _exact_embeddings(
        self, waveform: Waveform, speech: NDArray[np.float32], fewest: int, listener: Listener
    ) -> NDArray[np.float32]:
        embeddings = np.zeros((len(speech), speech.shape[2], self.embedding.dims.embedding), np.float32)
        batches = list(self._batches(np.flatnonzero(speech.any(axis=(1, 2))), "embedding"))
        for done, batch in enumerate(batches, 1):
            listener.stop_if_asked()
            follow_load()
            masks = torch.from_numpy(frames_to_embed(speech[batch], fewest))  # [B, S, F]
            embeddings[batch] = self.embedding(self._windows(waveform, batch), masks).cpu().numpy()
            listener.on_progress(done / len(batches))
        return embeddings

    @property
    def _segmenting(self) -> float:
        return SEGMENTATION_SHARE[self.effort]

    @property
    def _torch_device(self) -> torch.device:
        return device_of(self.device).torch_device

    @property
    def _length(self) -> int:
        return round(self.window * SAMPLE_RATE)

    @property
    def _hop(self) -> int:
        return round(self.step * self.window * SAMPLE_RATE)

    def _windows(self, waveform: Waveform, numbers: NDArray[np.int64]) -> Tensor:
        """Windows `[B, samples]` on the device; the stretch they lie in goes there once, as they share most of it."""
        first = int(numbers[0]) * self._hop
        stretch = waveform[first : int(numbers[-1]) * self._hop + self._length]
        samples = torch.from_numpy(np.ascontiguousarray(stretch, np.float32)).to(self._torch_device)
        samples = F.pad(samples, (0, int(numbers[-1]) * self._hop + self._length - first - len(samples)))
        starts = [int(number) * self._hop - first for number in numbers]
        return torch.stack([samples[start : start + self._length] for start in starts])

    def _batches(self, numbers: NDArray[np.int64], network: str) -> Iterator[NDArray[np.int64]]:
        size = self._batch_size(network)
        for first in range(0, len(numbers), size):
            yield numbers[first : first + size]

    def _batch_size(self, network: str) -> int:
        size = CPU_WINDOWS[network]
        device = device_of(self.device)
        if device.kind == "cuda":
            bytes_each, most = GPU_WINDOWS[network]
            size = windows_that_fit(device, bytes_each, fewest=size, most=most)
        return size

    @functools.cached_property
    def _segmenter(self) -> Segmenter:
        return Segmenter(self.segmentation, self._length, self._hop, batch=self._batch_size("segmenter"))

    @functools.cached_property
    def _trunk(self) -> CamPlusTrunk:
        return CamPlusTrunk(self.embedding)


def load_open(folder: Path, *, device: str | Device = "cpu", effort: Effort = "fast") -> OpenDiarizer:
    """The open diarizer in `folder`: `segmentation-3.0/pytorch_model.bin` and `campplus/campplus_cn_en_common.pt`.

    Raises `SettingsError`, one sentence, if either is missing, damaged or something else; nothing of them is run.
    """
    names = [f"DIARIZATION_MODEL {folder.name}: its {file.name}" for file in (OPEN_SEGMENTATION, OPEN_EMBEDDING)]
    for file in (OPEN_SEGMENTATION, OPEN_EMBEDDING):
        if not (folder / file).is_file():
            raise SettingsError(f"DIARIZATION_MODEL {folder.name} lacks {file}: fetch or copy the whole model again.")
    checkpoint = read_torch_file(
        folder / OPEN_SEGMENTATION, names[0], publisher="pyannote.audio", stand_ins=SAVED_TYPES
    )
    state = read_torch_file(folder / OPEN_EMBEDDING, names[1], publisher="3D-Speaker")
    try:
        segmentation, window = pyannet_from(checkpoint)
    except NOT_OF_THE_NETWORK as error:
        raise SettingsError(f"{names[0]} is not a segmentation model of pyannote.audio: copy it again.") from error
    try:
        embedding = campplus_from(state)
    except NOT_OF_THE_NETWORK as error:
        raise SettingsError(f"{names[1]} is not a CAM++ of 3D-Speaker: copy it again.") from error
    to = device_of(device).torch_device
    return OpenDiarizer(
        segmentation.to(to),
        embedding.to(to),
        window=window,
        device=device,
        clustering=CLUSTERINGS[effort],
        effort=effort,
    )


def _part(listener: Listener, first: float, last: float) -> Listener:
    """The listener, for whom a step's progress is that from `first` to `last`."""
    return replace(listener, on_progress=lambda share: listener.on_progress(first + (last - first) * share))


def _named(stretches: list[tuple[float, float, int]], duration: float) -> list[Turn]:
    """The turns of stretches in order of time, clipped to the recording."""
    turns, names = [], dict[int, str]()
    for start, end, cluster in stretches:
        start, end = round(max(start, 0.0), 3), round(min(end, duration), 3)
        if end > start:
            turns.append(Turn(names.setdefault(cluster, f"SPEAKER_{len(names):02d}"), start, end))
    return turns
