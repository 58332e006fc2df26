"""The demo diarizer's folder: checkpoints, PLDA and configuration; how it is tuned and measured.

Written so that pyannote.audio 3.4 and 4.x load it.
"""

from __future__ import annotations

import io
import itertools
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tools.train_demo_models.scenes import speech_spans
from turnscribe.cli.evaluation.synthetic_speech import Dialogue, random_dialogue

# Versions written into the files, not those that run: 3.4 complains of newer ones, 4.x takes any below 4.
PYANNOTE_FORMAT, TORCH_FORMAT = "3.4.0", "2.5.0"
CONFIG = """\
dependencies:
  pyannote.audio: {version}
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    segmentation: $model/segmentation
    segmentation_step: 0.25
    segmentation_batch_size: 32
    embedding: $model/embedding
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    plda: $model/plda
params:
  clustering:
    method: average
    min_cluster_size: {min_cluster_size}
    threshold: {threshold}
  segmentation:
    min_duration_off: 0.0
"""


TUNING_DIALOGUES = [(2000 + index, (12, 20, 30)[index % 3]) for index in range(9)]  # seed, noise in dB below
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # cosine distances
CLUSTER_SIZES = (4,)  # windows, which start every 2.5 s; with fewer, 3.4 miscounts when the number is given


def save_model(model: Any, file: Path) -> None:
    """Write what `Model.from_pretrained` of pyannote.audio 3.4 and 4.x reads.

    The large matrices as bfloat16 and the archive deflated, which torch reads as well: 4 MB instead of 12.
    """
    import lightning

    large = {name for name, parameter in model.named_parameters() if parameter.numel() >= 1000}
    weights = {
        name: value.detach().cpu().to(torch.bfloat16 if name in large else value.dtype)
        for name, value in model.state_dict().items()
    }
    contents = {
        "state_dict": weights,
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": lightning.__version__,
        "pyannote.audio": {
            "versions": {"torch": TORCH_FORMAT, "pyannote.audio": PYANNOTE_FORMAT},
            "architecture": {"module": type(model).__module__, "class": type(model).__name__},
            "specifications": model.specifications,
        },
    }
    stored = io.BytesIO()
    torch.save(contents, stored)
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED, 9)


def write_config(out: Path, *, threshold: float, min_cluster_size: int) -> None:
    values = {"threshold": threshold, "min_cluster_size": min_cluster_size, "version": PYANNOTE_FORMAT}
    (out / "config.yaml").write_text(CONFIG.format(**values))


def save_plda(folder: Path, embeddings: NDArray, voices: NDArray) -> None:
    """Write what `pyannote.audio.utils.vbx.vbx_setup` reads, from embeddings `[N, D]` and their voices `[N]`.

    LDA to as many dimensions as the voices can span (7), then the two-covariance PLDA by simultaneous diagonalisation
    of the within- and between-voice covariances (Ioffe 2006), estimated from moments. Only `VBxClustering` uses
    it, and the configuration names another; pyannote 4.x loads it always.
    """
    from scipy.linalg import eigh

    def covariances(rows: NDArray) -> tuple[NDArray, NDArray]:
        means = np.stack([rows[voices == voice].mean(axis=0) for voice in np.unique(voices)])
        centred = rows - means[np.searchsorted(np.unique(voices), voices)]
        ridge = 1e-4 * np.trace(np.cov(rows.T)) / rows.shape[1] * np.eye(rows.shape[1])
        return np.cov(centred.T) + ridge, np.cov(means.T) + ridge

    def scaled(rows: NDArray) -> NDArray:
        return np.sqrt(rows.shape[1]) * rows / np.linalg.norm(rows, axis=1, keepdims=True)

    mean1 = embeddings.mean(axis=0)
    rows = scaled(embeddings - mean1)
    within, between = covariances(rows)
    lda = eigh(between, within)[1][:, ::-1][:, : len(np.unique(voices)) - 1]
    mean2 = (rows @ lda).mean(axis=0)
    rows = scaled(rows @ lda - mean2)
    within, between = covariances(rows)
    psi, vectors = eigh(between, within)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "xvec_transform.npz", mean1=mean1, mean2=mean2, lda=lda)
    np.savez_compressed(folder / "plda.npz", mu=rows.mean(axis=0), tr=vectors.T, psi=psi)


# Tuning and measuring --------------------------------------------------------------------------------


def tune_clustering(folder: Path) -> dict[str, Any]:
    """The `threshold` and `min_cluster_size` with the lowest error on dialogues of their own, no count given.

    Of equals, the middle one: far from both cliffs.
    """
    from turnscribe.diarization import pyannote_versions as compat

    compat.silence_pyannote()
    pipeline = compat.folder_pipeline(folder, token=None)
    pipeline.training = True  # keeps segmentations and embeddings in the file's mapping
    dialogues = [random_dialogue(seed, noise_db=noise) for seed, noise in TUNING_DIALOGUES]
    files = [{"uri": "tuning", **compat.in_memory(dialogue.waveform)} for dialogue in dialogues]
    errors = {}
    for threshold, size in itertools.product(THRESHOLDS, CLUSTER_SIZES):
        clustering = {"method": "average", "threshold": threshold, "min_cluster_size": size}
        pipeline.instantiate({"clustering": clustering, "segmentation": {"min_duration_off": 0.0}})
        metric = _error_rate()
        for dialogue, file in zip(dialogues, files, strict=True):
            metric(reference(dialogue), compat.exclusive_annotation(pipeline.apply(file)), uem=extent(dialogue))
        errors[threshold, size] = round(abs(metric), 4)
        print(
            f"threshold {threshold} min_cluster_size {size} DER {100 * errors[threshold, size]:.2f} %",
            flush=True,
        )
    best = [key for key, error in errors.items() if error <= min(errors.values()) + 0.0005]
    threshold, size = best[len(best) // 2]
    return {"threshold": threshold, "min_cluster_size": size}


def measure(folder: Path, seeds: Iterable[int], *, noise_db: float = 20.0) -> dict[str, float]:
    """Shares on new 60 s dialogues, number of speakers not given: `der` without a collar, its three parts, and
    `words`, the share of words whose speaker is right at the word's midpoint."""
    from pyannote.core import Annotation, Segment

    from turnscribe.diarization.diarizer import diarize, load_diarizer

    diarizer, metric = load_diarizer(str(folder.resolve())), _error_rate()
    right = words = 0
    for seed in seeds:
        dialogue = random_dialogue(seed, noise_db=noise_db)
        turns, truth = diarize(diarizer, dialogue.waveform), reference(dialogue)
        found = Annotation()
        for turn in turns:
            found[Segment(turn.start, turn.end)] = turn.speaker
        error = metric(truth, found, uem=extent(dialogue))
        names = metric.optimal_mapping(truth, found)
        for placed in dialogue.utterances:
            for word in placed.words:
                middle = (word.start + word.end) / 2
                words += 1
                right += placed.speaker in {names.get(t.speaker) for t in turns if t.start <= middle < t.end}
        speakers = f"{len(found.labels())} of {len(truth.labels())} speakers"
        print(f"seed {seed} DER {100 * error:.2f} % {speakers} words {right}/{words}", flush=True)
    parts = {name: metric[name] / metric["total"] for name in ("confusion", "missed detection", "false alarm")}
    return {"der": abs(metric), **parts, "words": right / words}


def reference(dialogue: Dialogue) -> Any:
    """The truth as a pyannote `Annotation`: who speaks when, over pauses up to `MERGED_GAP`."""
    from pyannote.core import Annotation, Segment

    annotation = Annotation()
    for track, placed in enumerate(dialogue.utterances):
        for start, end in speech_spans(placed.words):
            annotation[Segment(start, min(end, dialogue.duration)), track] = placed.speaker
    return annotation


def extent(dialogue: Dialogue) -> Any:
    from pyannote.core import Segment, Timeline

    return Timeline([Segment(0, dialogue.duration)])


def _error_rate() -> Any:
    """Errors over speech, without a collar, overlapped speech included."""
    from pyannote.metrics.diarization import DiarizationErrorRate

    return DiarizationErrorRate(collar=0.0, skip_overlap=False)
