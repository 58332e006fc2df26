"""The open diarizer's slow twin: stock pyannote's `SpeakerDiarization` with the same two networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyannote.audio import Model
from pyannote.audio.pipelines.speaker_diarization import SpeakerDiarization
from torch import Tensor

from tests.conftest import REPOSITORY
from turnscribe.diarization import pyannote_versions
from turnscribe.diarization.campplus import SHORTEST_VOICE, CamPlus
from turnscribe.diarization.diarizer import OPEN_SEGMENTATION
from turnscribe.diarization.open_diarizer import OpenDiarizer
from turnscribe.diarization.pyannote import PyannoteDiarizer
from turnscribe.transcript import Turn


class CamPlusModel(Model):  # type: ignore[misc]
    """CAM++ as pyannote wants an embedding model: one speaker's mask `[B, F]` a pass."""

    def __init__(self, network: CamPlus) -> None:
        super().__init__(sample_rate=16_000, num_channels=1)
        self.network = network

    @property
    def dimension(self) -> int:
        return self.network.dims.embedding

    def forward(self, waveforms: Tensor, weights: Tensor | None = None) -> Tensor:
        if waveforms.shape[2] < SHORTEST_VOICE:
            raise ValueError("pyannote searches for the shortest waveform in this way")
        if weights is None:
            return self.network(waveforms[:, 0])
        return self.network(waveforms[:, 0], weights[:, None])[:, 0]


def stock_segmentation(folder: Path) -> Any:
    with pyannote_versions.restricted_unpickling():
        return Model.from_pretrained(folder / OPEN_SEGMENTATION).eval()


def stock_twin(diarizer: OpenDiarizer, folder: Path) -> PyannoteDiarizer:
    """With pyannote's own segmentation network, read from the folder."""
    four = pyannote_versions.pyannote_major() >= 4
    pipeline = SpeakerDiarization(
        segmentation=stock_segmentation(folder),
        segmentation_step=diarizer.step,
        embedding=CamPlusModel(diarizer.embedding).eval(),
        embedding_exclude_overlap=True,
        clustering="AgglomerativeClustering",
        embedding_batch_size=6,
        segmentation_batch_size=32,
        **({"plda": str(REPOSITORY / "demo" / "diarizer" / "plda")} if four else {}),  # loaded, not used
    )
    clustering = diarizer.clustering
    pipeline.instantiate(
        {
            "segmentation": {"min_duration_off": diarizer.shortest_pause},
            "clustering": {
                "method": "centroid",
                "threshold": clustering.threshold,
                "min_cluster_size": clustering.min_cluster_size,
            },
        }
    )
    return PyannoteDiarizer(pipeline)


def renamed(turns: Sequence[Turn]) -> list[tuple[int, float, float]]:
    """With speakers numbered in the order in which they first speak."""
    numbers: dict[str, int] = {}
    return [(numbers.setdefault(turn.speaker, len(numbers)), turn.start, turn.end) for turn in turns]
