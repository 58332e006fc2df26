"""Trains the demo diarizer: a pyannote pipeline folder that pyannote.audio 3.4 and 4.x both load.

`config.yaml`, `segmentation/` (a PyanNet), `embedding/` (an x-vector), `plda/`; plain PyTorch loops over
windows composed out of the bank, without a database protocol. It knows the eight voices of `scripts.speech` and
no others: both models see the voices' names in training (the segmentation through a second head that is thrown
away), which is why minutes on one core are enough.

What makes it cheap: SincNet's first layer (251 taps at 16 kHz) keeps its initial mel-spaced filters, so nothing
is propagated back through it; short windows come first; the x-vector reads a frame every 20 ms and embeds
all speakers of a window in one pass, as `weights` `[B, speakers, frames]`.
"""

from __future__ import annotations

import io
import itertools
import math
import random
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from scripts.speech import VOICES, Dialogue, random_dialogue
from scripts.train_demo_models.bank import Bank
from scripts.train_demo_models.scenes import Stage, make_batch, speech_spans

WINDOW_SECONDS = 10.0
SPEAKERS = 3  # in a window; at most two of them at a time
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


SEGMENTATION_STAGES = (Stage(4, 16, 400), Stage(10, 8, 800))
EMBEDDING_STAGES = (Stage(4, 16, 260),)
TUNING_SEEDS = range(2000, 2008)
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # cosine distances
CLUSTER_SIZES = (4, 8, 12)  # windows, which start every second


def train_diarizer(bank: Bank, folder: Path, out: Path, *, seed: int, device: str = "cpu") -> None:
    """Train both models (or go on from the checkpoints in `folder`) and write the pipeline to `out`."""
    segmentation = train_segmentation(bank, folder, seed=seed, device=device)
    embedding = train_embedding(bank, folder, seed=seed, device=device)
    (out / "plda").mkdir(parents=True, exist_ok=True)
    save_model(segmentation, out / "segmentation" / "pytorch_model.bin")
    save_model(embedding, out / "embedding" / "pytorch_model.bin")
    transform, plda = estimate_plda(*voice_embeddings(embedding, bank, seed=seed, device=device))
    np.savez_compressed(out / "plda" / "xvec_transform.npz", **transform)
    np.savez_compressed(out / "plda" / "plda.npz", **plda)
    write_config(out, threshold=0.6, min_cluster_size=6)
    write_config(out, **tune_clustering(out))


# Segmentation ----------------------------------------------------------------------------------------


def new_segmentation() -> Any:
    """A small untrained PyanNet with powerset classes: none, three speakers, three pairs."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    lstm = {"hidden_size": 64, "num_layers": 2, "bidirectional": True, "monolithic": True, "dropout": 0.0}
    model = PyanNet(sincnet={"stride": 10}, lstm=lstm, linear={"hidden_size": 64, "num_layers": 1})
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=WINDOW_SECONDS,
        classes=[f"speaker#{index + 1}" for index in range(SPEAKERS)],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.build()
    return model


def train_segmentation(bank: Bank, folder: Path, *, seed: int, device: str) -> Any:
    torch.manual_seed(seed)
    model = new_segmentation().to(device)
    for part in (model.sincnet.wav_norm1d, model.sincnet.conv1d[0]):
        part.requires_grad_(False)
    heads = nn.ModuleDict({"model": model, "voices": nn.Linear(128, len(VOICES)).to(device)})
    loss = PowersetLoss().to(device)

    def losses(waveforms: Tensor, activity: Tensor) -> tuple[Tensor, str]:
        hidden, _ = model.lstm(model.sincnet(waveforms).transpose(1, 2))  # [B, T, 128]
        outputs = hidden
        for linear in model.linear:
            outputs = F.leaky_relu(linear(outputs))
        log_probabilities = model.activation(model.classifier(outputs))  # [B, T, 7]
        powerset, wrong = loss(log_probabilities, speaker_slots(activity))
        voices = F.binary_cross_entropy_with_logits(heads["voices"](hidden), activity.transpose(1, 2))
        report = f"powerset {powerset.item():.3f} voices {voices.item():.3f} wrong frames {wrong:.3f}"
        return powerset + 3.0 * voices, report

    fit(heads, losses, bank, folder / "diarizer-segmentation.pt", SEGMENTATION_STAGES, seed, device, 3e-3)
    return model


def speaker_slots(activity: Tensor) -> Tensor:
    """[B, voices, T] -> [B, T, SPEAKERS]: the window's speakers, in any order, absent ones silent."""
    order = activity.sum(-1).argsort(dim=1, descending=True)[:, :SPEAKERS]  # [B, SPEAKERS]
    return activity.gather(1, order[..., None].expand(-1, -1, activity.shape[-1])).transpose(1, 2)


class PowersetLoss(nn.Module):
    """Cross-entropy over sets of speakers under the best of the orders of the speakers, window by window."""

    def __init__(self) -> None:
        super().__init__()
        from pyannote.audio.utils.powerset import Powerset

        bits = 2 ** torch.arange(SPEAKERS)
        classes = torch.zeros(2**SPEAKERS, dtype=torch.long)
        classes[(Powerset(SPEAKERS, 2).mapping.long() * bits).sum(-1)] = torch.arange(7)
        self.register_buffer("classes", classes)  # class by bit set
        self.register_buffer("bits", bits[torch.tensor(list(itertools.permutations(range(SPEAKERS))))])

    def forward(self, log_probabilities: Tensor, active: Tensor) -> tuple[Tensor, float]:
        """The loss of log-probabilities `[B, T, 7]` for speakers `[B, T, 3]`, and the share of wrong frames."""
        sets = torch.einsum("bts,ps->pbt", active.long(), self.bits)
        targets = self.classes[sets]  # [P, B, T]
        scores = log_probabilities.expand(len(targets), -1, -1, -1).gather(-1, targets[..., None])[..., 0]
        best = scores.mean(-1).max(dim=0)  # [B]
        chosen = targets[best.indices, torch.arange(active.shape[0], device=targets.device)]
        wrong = (log_probabilities.argmax(-1) != chosen).float().mean().item()
        return -best.values.mean(), wrong


# Embedding -------------------------------------------------------------------------------------------


def new_embedding() -> Any:
    """An untrained x-vector over 24 MFCCs every 20 ms; pyannote fixes the widths of its five layers."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import XVectorMFCC

    mels = {"n_fft": 512, "hop_length": 320, "n_mels": 40}
    model = XVectorMFCC(mfcc={"n_mfcc": 24, "melkwargs": mels}, dimension=32)
    model.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=WINDOW_SECONDS
    )
    return model


def train_embedding(bank: Bank, folder: Path, *, seed: int, device: str) -> Any:
    """By the voices' names: softmax over cosines x 15, the right one less 0.2 (the AM-softmax of 1801.05599)."""
    torch.manual_seed(seed)
    model, voices = new_embedding().to(device), nn.Linear(32, len(VOICES), bias=False).to(device)

    def losses(waveforms: Tensor, activity: Tensor) -> tuple[Tensor, str]:
        embeddings, labels = embed(model, waveforms, activity)
        cosines = F.normalize(embeddings, dim=-1) @ F.normalize(voices.weight, dim=-1).T
        margin = 0.2 * F.one_hot(labels, len(VOICES))
        loss = F.cross_entropy(15 * (cosines - margin), labels)
        right = (cosines.argmax(-1) == labels).float().mean().item()
        return loss, f"margin {loss.item():.3f} right {right:.3f} of {len(labels)}"

    heads = nn.ModuleDict({"model": model, "voices": voices})
    fit(heads, losses, bank, folder / "diarizer-embedding.pt", EMBEDDING_STAGES, seed, device, 1e-3)
    return model


def embed(model: Any, waveforms: Tensor, activity: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings `[N, 32]` and voice numbers `[N]` of everyone heard for 0.3 s (18 frames) alone or more.

    As in the pipeline with `embedding_exclude_overlap`, the weights leave out the frames of two speakers.
    """
    weights = activity * (activity.sum(1, keepdim=True) < 2)
    slots = weights.sum(-1).argsort(dim=1, descending=True)[:, :SPEAKERS]  # [B, SPEAKERS]: voice numbers
    weights = weights.gather(1, slots[..., None].expand(-1, -1, weights.shape[-1]))
    heard = weights.sum(-1) >= 18
    weights = torch.where(heard[..., None], weights, 1.0)  # the root of no variance has no gradient
    return model(waveforms, weights=weights)[heard], slots[heard]


def voice_embeddings(model: Any, bank: Bank, *, seed: int, device: str) -> tuple[NDArray, NDArray]:
    """Embeddings `[N, 32]` of new windows and their voices `[N]`."""
    model.eval()
    grid, rng = new_segmentation(), random.Random(f"{seed}-plda")
    with torch.inference_mode():
        batches = [make_batch(bank, rng, Stage(10, 16, 1), grid) for _ in range(12)]
        parts = [embed(model, waveforms.to(device), active.to(device)) for waveforms, active in batches]
    return tuple(torch.cat(part).cpu().numpy().astype(np.float64) for part in zip(*parts, strict=True))  # type: ignore[return-value]


def estimate_plda(embeddings: NDArray, voices: NDArray) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """What `pyannote.audio.utils.vbx.vbx_setup` reads: `mean1, lda, mean2` and `mu, tr, psi`.

    LDA to as many dimensions as voices can span (7), then the two-covariance PLDA by simultaneous
    diagonalisation of the within- and between-voice covariances (Ioffe 2006), estimated from moments.
    Only `VBxClustering` uses it; pyannote 4.x loads it always.
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
    transform = {"mean1": mean1, "mean2": mean2, "lda": lda}
    return transform, {"mu": rows.mean(axis=0), "tr": vectors.T, "psi": psi}


# Training and files ----------------------------------------------------------------------------------


def fit(
    heads: nn.ModuleDict,
    losses: Callable[[Tensor, Tensor], tuple[Tensor, str]],
    bank: Bank,
    checkpoint: Path,
    stages: tuple[Stage, ...],
    seed: int,
    device: str,
    peak: float,
) -> None:
    """Train in place, resuming at `checkpoint`; it is written, and progress printed, every 50 steps."""
    grid = new_segmentation()
    parameters = [parameter for parameter in heads.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=0.01)
    plan = [stage for stage in stages for _ in range(stage.steps)]
    step, began = 0, time.monotonic()
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        heads.load_state_dict(saved["heads"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    heads.train()
    while step < len(plan):
        warm = min((step + 1) / 50, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = peak * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / len(plan))))
        batch = make_batch(bank, random.Random(f"{seed}-{checkpoint.stem}-{step}"), plan[step], grid)
        loss, report = losses(batch[0].to(device), batch[1].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 25 == 0:
            seconds = time.monotonic() - began
            print(f"{checkpoint.stem} {step}/{len(plan)} {report} {seconds:.0f}s", flush=True)
        if step % 50 == 0 or step == len(plan):
            saved = {"heads": heads.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(saved, checkpoint.with_suffix(".partial"))
            checkpoint.with_suffix(".partial").rename(checkpoint)
    heads.eval()


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


# Tuning and measuring --------------------------------------------------------------------------------


def tune_clustering(folder: Path) -> dict[str, Any]:
    """The `threshold` and `min_cluster_size` with the lowest error on dialogues of their own, no count given.

    Of equals, the middle one: far from both cliffs.
    """
    from pyannote.metrics.diarization import DiarizationErrorRate

    from turnscribe import pyannote_compat as compat

    compat.silence_pyannote()
    pipeline = compat.folder_pipeline(folder, token=None)
    pipeline.training = True  # keeps segmentations and embeddings in the file's mapping
    dialogues = [random_dialogue(seed, noise_db=noise) for seed, noise in zip(TUNING_SEEDS, (12, 20, 30) * 9)]
    files = [{"uri": "tuning", **compat.in_memory(dialogue.waveform)} for dialogue in dialogues]
    errors = {}
    for threshold, size in itertools.product(THRESHOLDS, CLUSTER_SIZES):
        clustering = {"method": "average", "threshold": threshold, "min_cluster_size": size}
        pipeline.instantiate({"clustering": clustering, "segmentation": {"min_duration_off": 0.0}})
        metric = DiarizationErrorRate()
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
    from pyannote.metrics.diarization import DiarizationErrorRate

    from diarization_utils import diarize, load_diarizer

    diarizer, metric = load_diarizer(str(folder.resolve())), DiarizationErrorRate()
    right = words = 0
    for seed in seeds:
        dialogue = random_dialogue(seed, noise_db=noise_db)
        turns, truth = diarize(diarizer, dialogue.waveform), reference(dialogue)
        heard = Annotation()
        for turn in turns:
            heard[Segment(turn.start, turn.end)] = turn.speaker
        error = metric(truth, heard, uem=extent(dialogue))
        names = metric.optimal_mapping(truth, heard)
        for placed in dialogue.utterances:
            for word in placed.words:
                middle = (word.start + word.end) / 2
                words += 1
                right += placed.speaker in {names.get(t.speaker) for t in turns if t.start <= middle < t.end}
        found = f"{len(heard.labels())} of {len(truth.labels())} speakers"
        print(f"seed {seed} DER {100 * error:.2f} % {found} words {right}/{words}", flush=True)
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
