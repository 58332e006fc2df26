"""Who speaks when, and how a voice sounds: what a diarizer is, and how one is loaded.

There are two kinds: the open one (`open_diarizer.py`), a folder with two networks, and pipelines of pyannote.audio
(`pyannote.py`). Neither is imported before one of its kind is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from turnscribe.checkpoints.hub import available_model
from turnscribe.devices import Device
from turnscribe.listener import SILENT, Listener
from turnscribe.request import Request
from turnscribe.transcript import Turn
from turnscribe.waveform import SAMPLE_RATE, Waveform, is_silent

Effort: TypeAlias = Literal["fast", "exact"]  # exact: equal to stock pyannote's pipeline with the same networks
ANYBODY = Request()  # any number of speakers
SHORTEST = SAMPLE_RATE // 10  # samples: in less than 0.1 s nobody says anything

# The open diarizer's files in its folder.
OPEN_SEGMENTATION = Path("segmentation-3.0", "pytorch_model.bin")
OPEN_EMBEDDING = Path("campplus", "campplus_cn_en_common.pt")


class Diarizer(Protocol):
    """Loaded models that tell speakers apart. Waveforms are `[samples]`, mono, 16 kHz."""

    @property
    def speaker_similarity(self) -> float:
        """The least cosine of the embeddings of one person's voices, where no setting names another."""

    def turns(self, waveform: Waveform, request: Request, listener: Listener) -> list[Turn]:
        """Who speaks when, one speaker at a time, in any order; `waveform` has at least `SHORTEST` samples.

        The request says how many speakers there are, if it does. Raises `Cancelled`.
        """

    def embed(self, waveform: Waveform) -> NDArray[np.float32]:
        """One voice's embedding `[D]`; of one person's they point the same way."""


@runtime_checkable
class HasFastTwin(Protocol):
    """What a diarizer may be beside a `Diarizer`: one that keeps no state during a call, and has a twin that is."""

    @property
    def fast(self) -> Diarizer:
        """With the same networks, each second heard once as far as can be."""


def load_diarizer(
    model: str,
    *,
    token: str | None = None,
    device: str | Device = "cpu",
    root: Path = Path("."),
    effort: Effort | Literal["stock"] = "exact",
) -> Diarizer:
    """Load the diarizer in the folder `model` (relative to `root`), or of that name on the Hugging Face Hub.

    A folder with the open diarizer's files is that one; everything else is pyannote's, whose import takes seconds.
    With the effort "fast" the networks hear each second once as far as windows have it in common; "exact" gives the
    turns of stock pyannote with the same networks; "stock" leaves a pyannote pipeline as it is, to compare with.
    Raises `SettingsError`, one sentence that names the variable DIARIZATION_MODEL and says what to do.
    """
    resolved = available_model("DIARIZATION_MODEL", model, root)
    if is_open(Path(resolved)):
        from turnscribe.diarization.open_diarizer import load_open

        return load_open(Path(resolved), device=device, effort="fast" if effort == "fast" else "exact")
    from turnscribe.diarization.pyannote import load_pyannote

    return load_pyannote(model, resolved, token=token, device=device, effort=effort)


def is_open(folder: Path) -> bool:
    """Whether a folder is the open diarizer's, perhaps with a file missing, rather than a pyannote pipeline's."""
    parts = (OPEN_SEGMENTATION.parent, OPEN_EMBEDDING.parent)
    return any((folder / part).is_dir() for part in parts) and not (folder / "config.yaml").exists()


def diarize(
    diarizer: Diarizer, waveform: Waveform, request: Request = ANYBODY, listener: Listener = SILENT
) -> list[Turn]:
    """The turns in a waveform `[samples]`, mono, 16 kHz: by time, one speaker at a time.

    The request says how many speakers there are, if it does. Empty for silence and for less than 0.1 s. Where people
    speak at once, the more active one has the turn (pyannote's exclusive diarization). Raises `Cancelled`.
    """
    if len(waveform) < SHORTEST or is_silent(waveform):
        return []
    turns = diarizer.turns(waveform, request, listener)
    return sorted((turn for turn in turns if turn.end > turn.start), key=lambda turn: (turn.start, turn.end))


def count_warnings(request: Request, turns: Sequence[Turn]) -> list[str]:
    """What to say where speakers were found, and not as many as the request asks for."""
    found = len({turn.speaker for turn in turns})
    exactly, fewest, most = request.num_speakers, request.min_speakers, request.max_speakers
    asked = [
        f"{name} is {count}"
        for name, count, met in (
            ("num_speakers", exactly, exactly == found),
            ("min_speakers", fewest, fewest is None or fewest <= found),
            ("max_speakers", most, most is None or found <= most),
        )
        if count is not None and not met
    ]
    if not asked or not found:
        return []
    return [f"{' and '.join(asked)}, and {found} {'speaker was' if found == 1 else 'speakers were'} found."]


def embed(diarizer: Diarizer, waveform: Waveform) -> NDArray[np.float32]:
    """What the diarizer's embedding model makes of one voice `[samples]`, mono, 16 kHz: `[D]`."""
    return diarizer.embed(waveform)
