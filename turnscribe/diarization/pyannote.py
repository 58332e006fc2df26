"""Who speaks when: a pyannote.audio pipeline, loaded and run."""

from __future__ import annotations

import contextlib
import io
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from turnscribe.checkpoints.hub import HUB, display_name, loading
from turnscribe.checkpoints.hub_cache import models_of_pipeline
from turnscribe.checkpoints.pickled_weights import pickled_of_pipeline, warn_of
from turnscribe.devices import Device, device_of
from turnscribe.diarization import pyannote_versions as compat
from turnscribe.diarization.diarizer import Effort
from turnscribe.diarization.gpu_windows import windows_that_fit
from turnscribe.errors import SettingsError
from turnscribe.listener import Listener
from turnscribe.request import Request
from turnscribe.threads import follow_load
from turnscribe.transcript import Turn
from turnscribe.waveform import SAMPLE_RATE, Waveform

BATCH_SIZE = 32  # windows at a time; pyannote's own default is 1
# Bytes of a window of 10 s there, and the most windows worth a batch; reckoned, not measured on a GPU. The widest
# layers' outputs count, in float32, as many as live at once. PyanNet's first has 80 channels x 15,975 frames (5 MB,
# four of them); its LSTM takes 589 steps in turn, so wide batches pay. ResNet34's has 32 channels x 80 mel bins x 998
# frames (10 MB, six with a convolution's workspace). So 16 GB: 100 and 32 windows; 140 GB: 512 and 128.
WINDOW_BYTES = {"segmentation_batch_size": (20e6, 512), "embedding_batch_size": (64e6, 128)}

COMMUNITY = "pyannote/speaker-diarization-community-1"  # 4.x takes its PLDA from here, whatever it loads
ALSO_GATED = {
    "pyannote/speaker-diarization-3.0": "pyannote/segmentation-3.0",
    "pyannote/speaker-diarization-3.1": "pyannote/segmentation-3.0",
}


SEGMENTATION_SHARE = 0.3  # of a diarization's time, for progress; the embeddings take the rest


@dataclass(frozen=True)
class PyannoteDiarizer:
    """A loaded pyannote pipeline: callable with `{"waveform": [1, N], "sample_rate": 16000}` and a hook."""

    pipeline: Any

    speaker_similarity: ClassVar[float] = 0.5  # measured with the demo's embedding

    def turns(self, waveform: Waveform, request: Request, listener: Listener) -> list[Turn]:
        """As `Diarizer.turns`."""
        done = 0.0

        def hook(step: str, artefact: Any = None, *, total: int = 0, completed: int = 0, **_: Any) -> None:
            nonlocal done
            listener.stop_if_asked()
            follow_load()
            if not total:
                return
            share = min(completed / total, 1.0)
            first, width = (
                (0.0, SEGMENTATION_SHARE) if step == "segmentation" else (SEGMENTATION_SHARE, 1 - SEGMENTATION_SHARE)
            )
            done = max(done, first + width * share)
            listener.on_progress(done)

        with compat.tf32_kept():
            output = self.pipeline(
                {"uri": "recording", "speech": request.decoding.speech, **compat.in_memory(waveform)},
                hook=compat.one_speaker_at_a_time(hook),
                **request.speaker_counts,
            )
        duration = len(waveform) / SAMPLE_RATE
        annotation = compat.exclusive_annotation(output)
        return [
            Turn(str(speaker), round(max(segment.start, 0.0), 3), round(min(segment.end, duration), 3))
            for segment, _, speaker in annotation.itertracks(yield_label=True)
        ]

    def embed(self, waveform: Waveform) -> NDArray[np.float32]:
        """What the pipeline's embedding model makes of one voice: `[D]`."""
        model = self.pipeline._embedding  # public in neither version
        shortest = int(model.min_num_samples)
        samples = compat.in_memory(np.pad(waveform, (0, max(shortest - len(waveform), 0))))["waveform"]  # [1, N]
        with compat.tf32_kept():
            return np.asarray(model(samples[None])[0], dtype=np.float32)


def load_pyannote(
    model: str,
    resolved: str,
    *,
    token: str | None = None,
    device: str | Device = "cpu",
    effort: Effort | Literal["stock"] = "exact",
) -> PyannoteDiarizer:
    """Load the pipeline `model`, which `resolved` names: a folder, or an id on the Hugging Face Hub.

    Imports pyannote, which takes seconds. Works with pyannote.audio 3.4 and 4.x; a folder holds a `config.yaml` and
    what it calls `$model/...`. Checkpoints are unpickled with a list of harmless types, so a model cannot bring code
    (`pyannote_versions.CHECKPOINT_TYPES`). A stock pipeline is made to give the same answer sooner
    (`turnscribe.diarization.pyannote_fast`), or nearly the same with the effort "fast"; "stock" leaves it as it is.
    Raises `SettingsError`, one sentence that names the page whose conditions to accept and the variable to set.
    """
    folder = Path(resolved)
    with loading("DIARIZATION_MODEL", model), contextlib.redirect_stdout(io.StringIO()) as printed:
        compat.silence_pyannote()
        warn_of(f"DIARIZATION_MODEL {display_name(model)}", _pickled(folder))
        try:
            with compat.restricted_unpickling():
                pipeline = _load(folder, model, token)
        except Exception as error:
            sentence = _explained(error, model, folder, printed.getvalue())
            if sentence is None:
                raise
            raise SettingsError(sentence) from error
        if pipeline is None:  # 3.4's way to say it
            raise SettingsError(_gated(model, folder, printed.getvalue()))
        for name, size in _batch_sizes(device).items():
            if getattr(pipeline, name, size) < size:
                setattr(pipeline, name, size)
        pipeline.to(device_of(device).torch_device)
        if effort != "stock":
            from turnscribe.diarization.pyannote_fast import accelerate  # imports pyannote, as loading has by now

            pipeline = accelerate(pipeline, effort)
    return PyannoteDiarizer(pipeline)


def _pickled(folder: Path) -> list[Path]:
    """The files that loading unpickles: those of a folder, and those that are fetched."""
    if folder.suffix == ".yaml":
        folder = folder.parent
    fetched = models_of_pipeline(folder) if folder.exists() else [str(folder)]
    return [*pickled_of_pipeline(folder), *(Path(model, "pytorch_model.bin") for model in fetched)]


def _load(folder: Path, model: str, token: str | None) -> Any:
    if folder.suffix == ".yaml":
        folder = folder.parent
    if not folder.exists():
        return compat.hub_pipeline(model, token=token)
    if not (folder / "config.yaml").is_file():
        raise SettingsError(
            f"DIARIZATION_MODEL {folder.name} is a folder without a config.yaml: name a pyannote pipeline's folder."
        )
    return compat.folder_pipeline(folder, token=token)


def _batch_sizes(device: str | Device) -> dict[str, int]:
    """Windows at a time, by pyannote's names for it: constant on a CPU, by its memory on a GPU."""
    gpu = device_of(device)
    if gpu.kind != "cuda":
        return {"segmentation_batch_size": BATCH_SIZE, "embedding_batch_size": BATCH_SIZE}
    return {
        name: windows_that_fit(gpu, bytes_each, fewest=BATCH_SIZE, most=most)
        for name, (bytes_each, most) in WINDOW_BYTES.items()
    }


def _explained(error: Exception, model: str, folder: Path, printed: str) -> str | None:
    """The sentence for an error of `_load`, where more is known here than `checkpoints.hub.explain` knows."""
    from huggingface_hub.errors import GatedRepoError

    if isinstance(error, GatedRepoError):
        return _gated(model, folder, f"{printed} {error}")
    if isinstance(error, AttributeError) and "Could not download" in printed:  # 3.4 goes on with None
        return _gated(model, folder, printed)
    if isinstance(error, pickle.UnpicklingError):
        unknown = re.search(r"GLOBAL (\S+)", str(error))
        return (
            f"DIARIZATION_MODEL {folder.name} holds {unknown[1] if unknown else 'objects'} beside its weights, which "
            "could run code: name a model as pyannote.audio itself saves it."
        )
    if isinstance(error, ValueError) and ("$model" in str(error) or "clustering must be" in str(error)):
        return (
            f"DIARIZATION_MODEL {folder.name} is made for pyannote.audio 4, and {compat.pyannote_major()}.x is "
            "installed: install 4, or name pyannote/speaker-diarization-3.1."
        )
    return None


def _gated(model: str, folder: Path, said: str) -> str:
    """One sentence with every page to accept: the model's, those it builds on, and those that `said` names."""
    refused = re.findall(r"https://(?:huggingface|hf)\.co/([\w-]+/[\w.-]*\w)", said)
    names = [] if folder.exists() else [model, ALSO_GATED.get(model, model)]
    names += [name for name in refused if name.split("/")[0] not in ("api", "docs", "settings")]
    if compat.pyannote_major() >= 4:
        names.append(COMMUNITY)
    pages = " and ".join(f"{HUB}/{name}" for name in dict.fromkeys(names))
    return (
        f"DIARIZATION_MODEL {folder.name if folder.exists() else model} is gated or missing: check the name, accept "
        f"the conditions at {pages}, and set HF_TOKEN to a token of the account that did; "
        "DIARIZATION_MODEL=open needs no account."
    )
