"""A pyannote pipeline of the true shapes with random weights: PyanNet and WeSpeaker's ResNet34."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# As pyannote/speaker-diarization-3.1 but for the threshold, which gives random embeddings a few speakers.
DIARIZER_CONFIG = """\
dependencies:
  pyannote.audio: 3.4.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    segmentation: $model/segmentation
    segmentation_step: 0.1
    segmentation_batch_size: 32
    embedding: $model/embedding
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    plda: $model/plda
params:
  clustering:
    method: centroid
    min_cluster_size: 12
    threshold: 0.9
  segmentation:
    min_duration_off: 0.0
"""
RECURRENT_GAIN, FORGET_BIAS = 2.0, 4.0  # torch's own LSTMs hardly react; the bias gives them a memory of a second
CLASS_BIAS = (0.0, 0.4, 0.4, 0.4, -0.4, -0.4, -0.4)  # nobody, one of three, two of three: on top of unit variance


def write_diarizer(folder: Path, seed: int) -> None:
    """Checkpoints, PLDA and `config.yaml` into an empty folder."""
    import numpy as np

    from tools.train_demo_models.diarizer_folder import save_model, save_plda

    save_model(_random_segmentation(seed), folder / "segmentation" / "pytorch_model.bin")
    save_model(_random_embedding(seed), folder / "embedding" / "pytorch_model.bin")
    # Loaded by 4.x always, used by no clustering that is named here.
    voices = np.arange(64) % 8
    save_plda(folder / "plda", np.random.default_rng(seed).normal(size=(64, 256)), voices)
    (folder / "config.yaml").write_text(DIARIZER_CONFIG)


def _random_segmentation(seed: int) -> Any:
    """segmentation-3.0's PyanNet, 1.5 M parameters: up to three speakers in 10 s, two at once."""
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(seed)
    lstm = {"hidden_size": 128, "num_layers": 4, "bidirectional": True, "monolithic": True, "dropout": 0.5}
    model = PyanNet(sincnet={"stride": 10}, lstm=lstm, linear={"hidden_size": 128, "num_layers": 2})
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=10.0,
        classes=["speaker#1", "speaker#2", "speaker#3"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.build()
    with torch.no_grad():
        for name, parameter in model.lstm.named_parameters():
            if "weight" in name:
                parameter.mul_(RECURRENT_GAIN)
            elif "bias_ih" in name:
                parameter[128:256] += FORGET_BIAS  # torch orders the gates: input, forget, cell, output
        features = _inputs_of(model.classifier, _as_saved(model), seconds=10.0).flatten(0, 1)  # [frames, 128]
        mixed = torch.randn(7, 128) / features.std(dim=0)
        logits = features @ mixed.T
        model.classifier.weight.copy_(mixed / logits.std(dim=0)[:, None])
        model.classifier.bias.copy_(torch.tensor(CLASS_BIAS) - logits.mean(dim=0) / logits.std(dim=0))
    return model


def _random_embedding(seed: int) -> Any:
    """WeSpeaker's ResNet34 as pyannote wraps it, 6.6 M parameters, 256 numbers an embedding."""
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34

    torch.manual_seed(seed)
    model = WeSpeakerResNet34()
    model.specifications = Specifications(problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=10.0)
    with torch.no_grad():
        last = model.resnet.seg_1
        features = _inputs_of(last, _as_saved(model), seconds=2.0)  # [windows, 5120]
        last.bias.copy_(-last.weight @ features.mean(dim=0))  # or all embeddings point the same way
    return model


def _as_saved(model: Any) -> Any:
    """`model` with the precision that `save_model` leaves it, so that what is measured holds after loading."""
    for parameter in model.parameters():
        if parameter.numel() >= 1000:
            parameter.copy_(parameter.bfloat16().float())
    return model.eval()


def _inputs_of(layer: Any, model: Any, *, seconds: float) -> Tensor:
    """What reaches `layer` when `model` hears 40 s of speech in windows of `seconds`."""
    import torch

    from tools.benchmarks.audio import SAMPLE_RATE, speech

    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(torch.from_numpy(speech(40.0)).reshape(-1, 1, round(seconds * SAMPLE_RATE)))
    hook.remove()
    return seen[0]
