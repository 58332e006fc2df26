"""Where versions of pyannote.audio differ: 3.4 (Python 3.11 with torch 2.5) and 4.x (everything newer).

| | 3.4 | 4.x |
|---|---|---|
| token | `use_auth_token=` | `token=` |
| a folder, `$model/...` in its configuration, `plda` | unknown | known |
| a gated or missing model | printed, then `None` | an exception |
| the answer | an `Annotation` | a `DiarizeOutput`, which holds an exclusive one too |
| `torch.load` | whatever torch's default is | `weights_only=False` |

Nothing is imported until a function is called. `pyannote.py` says what the errors of loading mean.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from turnscribe.waveform import SAMPLE_RATE, Waveform

log = logging.getLogger("turnscribe")

# What the checkpoints that pyannote.audio 2.1 and later saved itself hold beside tensors and plain values.
SAVED_TYPES = (
    "torch.torch_version.TorchVersion",
    "pyannote.audio.core.task.Specifications",
    "pyannote.audio.core.task.Problem",
    "pyannote.audio.core.task.Resolution",
    "pyannote.audio.core.model.Introspection",
)
CHECKPOINT_TYPES = (  # those that are let in; the callbacks name the entries of Lightning's own state
    *SAVED_TYPES,
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
)

# What pyannote.audio says that no caller can act on: the message's start and the module that says it.
_NUMPY = r"numpy\._?core\.(fromnumeric|_methods)"
EXPECTED_WARNINGS = (
    (r"\s*torchcodec is not installed correctly", r"pyannote\.audio\.core\.io"),  # waveforms come in memory
    (r"\s*TensorFloat-32 \(TF32\) has been disabled", r"pyannote\.audio\.utils\.reproducibility"),
    (r"std\(\): degrees of freedom is <= 0", r"pyannote\.audio\.models\.blocks\.pooling"),  # one frame of speech
    (r"Mean of empty slice", _NUMPY),  # in 4.x, of recordings with less than 2 s of speech
    (r"invalid value encountered in divide", _NUMPY),  # the same
    (r"\s*The detected number of speakers", r"pyannote\.audio\.pipelines\.speaker_diarization"),
)


def pyannote_major() -> int:
    """3 or 4: the installed pyannote.audio's first number, without importing it."""
    return int(importlib.metadata.version("pyannote.audio").split(".")[0])


def silence_pyannote() -> None:
    """Import pyannote.audio with telemetry off, `EXPECTED_WARNINGS` hidden and its `print` going to the log.

    The filters stay: `warnings.catch_warnings` around each call would not be safe beside other threads, and nor
    would catching what is printed, which must not get into a transcript on standard output.
    """
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    for message, module in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=message, module=module)
    from pyannote.audio.pipelines import clustering

    vars(clustering)["print"] = lambda *words: log.info("pyannote: %s", " ".join(map(str, words)))


def hub_pipeline(model: str, *, token: str | None) -> Any:
    """The pipeline `model` of the Hugging Face Hub; `None` is 3.4's way to say gated or missing."""
    from pyannote.audio import Pipeline

    return Pipeline.from_pretrained(model, **{"token" if pyannote_major() >= 4 else "use_auth_token": token})


def folder_pipeline(folder: Path, *, token: str | None) -> Any:
    """The pipeline in `folder`: a `config.yaml` and what it calls `$model/...`."""
    from pyannote.audio import Pipeline

    if pyannote_major() >= 4:
        return Pipeline.from_pretrained(folder, token=token)
    return _folder_pipeline_3(folder, token=token)


def _folder_pipeline_3(folder: Path, *, token: str | None) -> Any:
    """3.4 is handed loaded models: its own search by name picks other loaders for some paths.

    `plda` is left out: 3.4 has no clustering that uses it.
    """
    import yaml
    from pyannote.audio import Model
    from pyannote.core.utils.helper import get_class_by_name

    config = yaml.safe_load((folder / "config.yaml").read_text())
    params = dict(config["pipeline"].get("params", {}))
    params.pop("plda", None)
    for name in ("segmentation", "embedding"):
        entry = params.get(name)
        if isinstance(entry, str) and entry.startswith("$model/"):
            file = folder / entry.removeprefix("$model/")
            file = file / "pytorch_model.bin" if file.is_dir() else file
            if not file.is_file():
                raise FileNotFoundError(f"{entry} of config.yaml")  # 3.4 would look for it on the Hub
            params[name] = Model.from_pretrained(file)
    pipeline = get_class_by_name(config["pipeline"]["name"])(**params, use_auth_token=token)
    pipeline.instantiate(config.get("params", {}))
    return pipeline


def in_memory(waveform: Waveform) -> dict[str, Any]:
    """The waveform as a file of pyannote's that needs no decoding."""
    import torch

    samples = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))
    return {"waveform": samples[None], "sample_rate": SAMPLE_RATE}  # [1, samples]


def exclusive_annotation(output: Any) -> Any:
    """The `Annotation` in which one speaker at a time speaks.

    4.x computes it beside the other. In 3.4 it is the answer itself, if the hook was `one_speaker_at_a_time`'s.
    """
    return getattr(output, "exclusive_speaker_diarization", output)


def one_speaker_at_a_time(hook: Callable[..., None]) -> Callable[..., None]:
    """A hook that calls `hook` and makes 3.4's diarization the exclusive one of 4.x.

    3.4 passes hooks the number of speakers in each frame `[frames, 1]`, and later gives the frame to as many of the
    most active speakers. This hook cuts the numbers to 1, from which 4.x too computes its exclusive diarization.
    """

    def cut_and_call(step: str, artefact: Any = None, **progress: Any) -> None:
        if step == "speaker_counting" and pyannote_major() < 4:
            artefact.data = np.minimum(artefact.data, 1)
        hook(step, artefact, **progress)

    return cut_and_call


@contextmanager
def restricted_unpickling() -> Iterator[None]:
    """Inside, checkpoints may hold tensors, plain values and `CHECKPOINT_TYPES`: they cannot run code.

    Raises `pickle.UnpicklingError` for others. pyannote.audio 4.x and Lightning ask torch to unpickle anything;
    torch's own variable overrules that. An operator who has set its opposite is left alone. Process-wide, so
    meant for start-up.
    """
    from importlib import import_module

    import torch

    variable = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        yield
        return
    allowed = []
    for path in CHECKPOINT_TYPES:
        module, _, name = path.rpartition(".")
        allowed.append(getattr(import_module(module), name))
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        with torch.serialization.safe_globals(allowed):
            yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


@contextmanager
def tf32_kept() -> Iterator[None]:
    """Put TF32's switches back: on a GPU, every call of a pyannote pipeline turns them off process-wide."""
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        yield
    finally:
        if before != (matmul.allow_tf32, cudnn.allow_tf32):
            matmul.allow_tf32, cudnn.allow_tf32 = before
