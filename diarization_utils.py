"""Who speaks when, and whose words are whose.

`load_diarizer` and `diarize` wrap a pyannote.audio pipeline; `assign_speakers` and `group_turns` merge its turns
with recognised text, and know no model. No text is lost on the way: not in silence, not after the last turn.
"""

from __future__ import annotations

import bisect
import contextlib
import io
import itertools
import pickle
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnscribe.checkpoints.hub import HUB, loading, resolve_model
from turnscribe.diarization import pyannote_versions as compat
from turnscribe.errors import Cancelled, SettingsError
from turnscribe.transcript import Chunk, SpeakerText, Turn, Word
from turnscribe.whisper.windows import is_silent

SAMPLE_RATE = 16_000
SHORTEST = SAMPLE_RATE // 10  # samples: in less than 0.1 s nobody says anything
BATCH_SIZE = 32  # windows at a time; pyannote's own default is 1
GPU_SHARE = 1 / 8  # of a GPU's memory for a batch; the recogniser lives there too
# Bytes of a window of 10 s there, and the most windows worth a batch; reckoned, not measured on a GPU. The widest
# layers' outputs count, in float32, as many as live at once. PyanNet's first has 80 channels x 15,975 frames (5 MB,
# four of them); its LSTM takes 589 steps in turn, so wide batches pay. ResNet34's has 32 channels x 80 mel bins x 998
# frames (10 MB, six with a convolution's workspace). So 16 GB: 100 and 32 windows; 140 GB: 512 and 128.
WINDOW_BYTES = {"segmentation_batch_size": (20e6, 512), "embedding_batch_size": (64e6, 128)}
SEGMENTATION_SHARE = 0.3  # of a diarization's time, for progress; the embeddings take the rest

COMMUNITY = "pyannote/speaker-diarization-community-1"  # 4.x takes its PLDA from here, whatever it loads
ALSO_GATED = {
    "pyannote/speaker-diarization-3.0": "pyannote/segmentation-3.0",
    "pyannote/speaker-diarization-3.1": "pyannote/segmentation-3.0",
}


@dataclass(frozen=True)
class Diarizer:
    """A loaded pyannote pipeline: callable with `{"waveform": [1, N], "sample_rate": 16000}` and a hook."""

    pipeline: Any


def load_diarizer(
    model: str, *, token: str | None = None, device: str = "cpu", root: Path = Path("."), fast: bool = True
) -> Diarizer:
    """Load the pipeline in the folder `model` (relative to `root`), or of that name on the Hugging Face Hub.

    Imports pyannote, which takes seconds. Works with pyannote.audio 3.4 and 4.x; a folder holds a `config.yaml` and
    what it calls `$model/...`. Checkpoints are unpickled with a list of harmless types, so a model cannot bring code
    (`pyannote_versions.CHECKPOINT_TYPES`). A stock pipeline is made to give the same answer sooner
    (`turnscribe.diarization.pyannote_fast`); with `fast=False` it is left as it is. Raises `SettingsError`, one
    sentence that
    names the page whose conditions to accept and the variable to set.
    """
    folder = Path(resolve_model(model, root))
    with loading("DIARIZATION_MODEL", model), contextlib.redirect_stdout(io.StringIO()) as printed:
        compat.silence_pyannote()
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
        _to(pipeline, device)
        if fast:
            from turnscribe.diarization.pyannote_fast import accelerated  # imports pyannote, as loading has by now

            pipeline = accelerated(pipeline)
    return Diarizer(pipeline)


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


def _batch_sizes(device: str) -> dict[str, int]:
    """Windows at a time, by pyannote's names for it: constant on a CPU, by its memory on a GPU."""
    import torch

    if torch.device(device).type != "cuda":
        return {"segmentation_batch_size": BATCH_SIZE, "embedding_batch_size": BATCH_SIZE}
    share = torch.cuda.get_device_properties(torch.device(device)).total_memory * GPU_SHARE
    return {name: int(min(max(share // window, BATCH_SIZE), most)) for name, (window, most) in WINDOW_BYTES.items()}


def _to(pipeline: Any, device: str) -> None:
    import torch

    pipeline.to(torch.device(device))


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
        f"the conditions at {pages}, and set HF_TOKEN to a token of the account that did."
    )


# Diarization -----------------------------------------------------------------------------------------


def diarize(
    diarizer: Diarizer,
    waveform: NDArray[np.float32],
    *,
    num_speakers: int | None = None,
    min_speakers: int | None = None,
    max_speakers: int | None = None,
    on_progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Turn]:
    """The turns in a waveform `[samples]`, mono, 16 kHz: by time, one speaker at a time.

    Empty for silence and for less than 0.1 s. Where people speak at once, the more active one has the turn
    (pyannote's exclusive diarization). `on_progress` is told the share done, 0 to 1. Raises `Cancelled` when
    `should_stop` answers true; it is asked between batches.
    """
    if len(waveform) < SHORTEST or is_silent(waveform):
        return []
    done = 0.0

    def hook(step: str, artefact: Any = None, *, total: int = 0, completed: int = 0, **_: Any) -> None:
        nonlocal done
        if should_stop is not None and should_stop():
            raise Cancelled("The request was cancelled.")
        if on_progress is None or not total:
            return
        share = min(completed / total, 1.0)
        first, width = (0.0, SEGMENTATION_SHARE) if step == "segmentation" else (SEGMENTATION_SHARE, 0.7)
        done = max(done, first + width * share)
        on_progress(done)

    limits = {"num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
    with compat.tf32_kept():
        output = diarizer.pipeline(
            {"uri": "recording", **compat.in_memory(waveform)},
            hook=compat.one_speaker_at_a_time(hook),
            **{name: value for name, value in limits.items() if value is not None},
        )
    duration = len(waveform) / SAMPLE_RATE
    annotation = compat.exclusive_annotation(output)
    turns = [
        Turn(str(speaker), round(max(segment.start, 0.0), 3), round(min(segment.end, duration), 3))
        for segment, _, speaker in annotation.itertracks(yield_label=True)
    ]
    return sorted((turn for turn in turns if turn.end > turn.start), key=lambda turn: (turn.start, turn.end))


def embed(diarizer: Diarizer, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the pipeline's embedding model makes of one voice `[samples]`, mono, 16 kHz: `[D]`."""
    model = diarizer.pipeline._embedding  # public in neither version
    shortest = int(model.min_num_samples)
    samples = compat.in_memory(np.pad(waveform, (0, max(shortest - len(waveform), 0))))["waveform"]  # [1, N]
    with compat.tf32_kept():
        return np.asarray(model(samples[None])[0], dtype=np.float32)


# Merging ---------------------------------------------------------------------------------------------


def assign_speakers(chunks: Sequence[Chunk], turns: Sequence[Turn]) -> tuple[Chunk, ...]:
    """The chunks with their speakers, split where the speaker changes between two words.

    A word takes the speaker whose turns overlap it most in sum; with no overlap, the speaker of the nearest turn
    (in a tie of either, who spoke first in the recording); with no turns at all, nobody. A chunk without words
    is judged as a whole and never split. A single word that differs from both its neighbours, which agree, goes
    to their speaker unless more than half of it lies inside its own speaker's turns: a backchannel stays.

    Every chunk comes out once and in order, whole or in pieces; the pieces' texts, joined, are its text. The
    outer times of a chunk stay; inside it, pieces start and end with their words.
    """
    speakers = _speeches(turns)
    if not speakers:
        return tuple(chunks)
    owners = iter(_smoothed([word for chunk in chunks for word in chunk.words], speakers))
    pieces: list[Chunk] = []
    for chunk in chunks:
        words = tuple(replace(word, speaker=next(owners)) for word in chunk.words)
        if not words:
            pieces.append(replace(chunk, speaker=_speaker_of(chunk, speakers)))
        else:
            pieces += _split(chunk, words)
    return tuple(pieces)


def group_turns(chunks: Sequence[Chunk]) -> tuple[SpeakerText, ...]:
    """What each speaker said in one go: consecutive chunks of one speaker as one text.

    Chunks without a speaker are in nobody's text and end a group; groups without text are left out.
    """
    groups = []
    for speaker, group in itertools.groupby(chunks, key=lambda chunk: chunk.speaker):
        members = list(group)
        text = "".join(chunk.text for chunk in members).strip()
        if speaker is not None and text:
            end = max(chunk.end for chunk in members)
            groups.append(SpeakerText(speaker, text, members[0].start, end))
    return tuple(groups)


@dataclass(frozen=True)
class _Speech:
    """Everything one speaker says: when it starts and ends, by time, without overlaps of its own."""

    speaker: str
    starts: list[float]
    ends: list[float]

    def overlap(self, start: float, end: float) -> float:
        """Seconds of `start`..`end` this speaker speaks in."""
        first, last = bisect.bisect_right(self.ends, start), bisect.bisect_left(self.starts, end)
        spans = zip(self.starts[first:last], self.ends[first:last], strict=True)
        return sum(min(e, end) - max(s, start) for s, e in spans)

    def distance(self, start: float, end: float) -> float:
        """Seconds from `start`..`end` to this speaker's nearest speech."""
        after = bisect.bisect_right(self.starts, end)
        near = range(max(after - 1, 0), min(after + 1, len(self.starts)))
        return min(max(0.0, self.starts[index] - end, start - self.ends[index]) for index in near)


def _speeches(turns: Iterable[Turn]) -> list[_Speech]:
    """By speaker, in the order in which they first speak."""
    speeches: dict[str, _Speech] = {}
    for turn in sorted(turns, key=lambda turn: (turn.start, turn.end)):
        speech = speeches.setdefault(turn.speaker, _Speech(turn.speaker, [], []))
        if speech.ends and turn.start <= speech.ends[-1]:
            speech.ends[-1] = max(speech.ends[-1], turn.end)
        else:
            speech.starts.append(turn.start)
            speech.ends.append(turn.end)
    return list(speeches.values())


def _speaker_of(span: Word | Chunk, speakers: list[_Speech]) -> str:
    overlaps = [speech.overlap(span.start, span.end) for speech in speakers]
    most = max(overlaps)
    if most > 0:
        return speakers[overlaps.index(most)].speaker
    return min(speakers, key=lambda speech: speech.distance(span.start, span.end)).speaker


def _smoothed(words: Sequence[Word], speakers: list[_Speech]) -> list[str]:
    """Each word's speaker, without isolated flips; from left to right, so that a flip is no flank of the next."""
    by_name = {speech.speaker: speech for speech in speakers}
    owners = [_speaker_of(word, speakers) for word in words]
    for index in range(1, len(words) - 1):
        before, own, after = owners[index - 1 : index + 2]
        if before == after != own:
            word = words[index]
            inside = by_name[own].overlap(word.start, word.end)
            if 2 * inside <= word.end - word.start:
                owners[index] = before
    return owners


def _split(chunk: Chunk, words: tuple[Word, ...]) -> list[Chunk]:
    """The chunk in pieces of one speaker each, or whole where its words cannot be found in its text."""
    runs = [tuple(run) for _, run in itertools.groupby(words, key=lambda word: word.speaker)]
    texts = _cut(chunk.text, runs)
    if len(runs) == 1 or texts is None:
        seconds: dict[str | None, float] = {}
        for word in words:
            seconds[word.speaker] = seconds.get(word.speaker, 0.0) + max(word.end - word.start, 0.0)
        return [replace(chunk, words=words, speaker=max(seconds, key=lambda speaker: seconds[speaker]))]
    bounds = [(run[0].start, run[-1].end) for run in runs]
    bounds[0] = (chunk.start, bounds[0][1])
    bounds[-1] = (bounds[-1][0], chunk.end)
    return [
        replace(chunk, text=text, start=start, end=end, words=run, speaker=run[0].speaker)
        for text, (start, end), run in zip(texts, bounds, runs, strict=True)
    ]


def _cut(text: str, runs: Sequence[Sequence[Word]]) -> list[str] | None:
    """`text` in as many parts as there are runs of words; `None` where the words are not all in it, in order.

    A part starts with the space before its first word, as the words of Whisper do.
    """
    cuts, position = [], 0
    for run in runs:
        for index, word in enumerate(run):
            found = text.find(word.text.strip(), position)
            if found < 0:
                return None
            if not index:
                cuts.append(len(text[:found].rstrip()) if position else 0)
            position = found + len(word.text.strip())
    return [text[start:end] for start, end in itertools.pairwise([*cuts, len(text)])]
