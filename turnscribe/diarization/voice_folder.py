"""A folder of voices that are known: of each person a name and an embedding, and no audio.

A file is one person's, JSON. It holds, beside the name and the embedding, what the same diarizer made of a sound that
is made here: another diarizer makes something else of it, and by that a voice that it cannot compare is known.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnscribe.diarization.known_speakers import Embed, check_names, unit
from turnscribe.errors import BadParameters, SettingsError
from turnscribe.files import write_whole
from turnscribe.waveform import SAMPLE_RATE, Waveform

SUFFIX = ".voice.json"
SAME = 0.99  # least cosine of two embeddings of the same sound by the same weights, whatever the device
PROBE_SECONDS = 3


@dataclass(frozen=True)
class KnownVoice:
    """`embedding` and `probe` are of length 1: of the person's clips together, and of the sound that is made here."""

    name: str
    embedding: tuple[float, ...]
    probe: tuple[float, ...]
    clips: int
    seconds: float  # of them together


def known_voice(name: str, clips: Sequence[Waveform], embed: Embed) -> KnownVoice:
    """A person's voice from clips `[samples]` of it. Raises `BadParameters` for a name that cannot be one."""
    check_names([name])
    mean = np.mean([unit(embed(clip)) for clip in clips], axis=0)
    seconds = sum(len(clip) for clip in clips) / SAMPLE_RATE
    return KnownVoice(name, _plain(mean), _plain(embed(probe_sound())), len(clips), round(seconds, 2))


class VoiceFolder:
    """The voices in a folder, which may change while it is in use. Any thread may call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[int, KnownVoice]] = {}  # with the file's time, in nanoseconds
        self._probe: NDArray[np.float32] | None = None

    def voices(self) -> list[KnownVoice]:
        """All of them, by name. Raises `SettingsError` for a folder or a file that cannot be read."""
        with self._lock:
            try:
                times = {path: path.stat().st_mtime_ns for path in sorted(self.path.iterdir()) if _is_voice(path)}
            except OSError as error:
                raise SettingsError(
                    f"VOICES_FOLDER {self.path} cannot be read ({error.strerror}): name a folder of "
                    "`turnscribe voices add`."
                ) from None
            known = {path: held for path, held in self._read.items() if times.get(path) == held[0]}
            self._read = {path: known.get(path) or (time, _read_voice(path)) for path, time in times.items()}
            return sorted((voice for _, voice in self._read.values()), key=lambda voice: voice.name)

    def people(self, embed: Embed) -> dict[str, NDArray[np.float32]]:
        """The embeddings `[D]` of those whom the diarizer with this `embed` can compare, by name."""
        return {
            voice.name: np.array(voice.embedding, np.float32) for voice in self.voices() if self.is_of(voice, embed)
        }

    def is_of(self, voice: KnownVoice, embed: Embed) -> bool:
        """Whether a voice was made with the weights behind `embed`; the same folder is asked for one diarizer."""
        if self._probe is None:
            self._probe = unit(embed(probe_sound()))
        made = np.array(voice.probe, np.float32)
        return made.shape == self._probe.shape and float(made @ self._probe) >= SAME

    def add(self, voice: KnownVoice) -> Path:
        """Writes a person's file, which takes the place of one of that name. Raises `OSError`."""
        path = self._path(voice.name)
        write_whole(path, json.dumps(asdict(voice), ensure_ascii=False) + "\n")
        return path

    def remove(self, name: str) -> None:
        """Raises `BadParameters` where nobody has that name."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise BadParameters(f"Nobody is called {name!r} in {self.path}: see `turnscribe voices list`.") from None

    def _path(self, name: str) -> Path:
        """Readable where the name is, and another for every name."""
        readable = re.sub(r"[^\w-]+", "-", name).strip("-")[:40]
        return self.path / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}{SUFFIX}"


def probe_sound() -> Waveform:
    """Noise and tones `[samples]`, the same each time."""
    random = np.random.default_rng(0)
    time = np.arange(PROBE_SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * pitch * time) for pitch in (120, 240, 730, 1090, 2440))
    sound: Waveform = (
        0.05 * tones * (1 + np.sin(2 * np.pi * 4 * time)) + 0.02 * random.normal(size=len(time))
    ).astype(np.float32)
    return sound


def _plain(vector: NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(round(float(value), 7) for value in unit(vector))


def _is_voice(path: Path) -> bool:
    return path.name.endswith(SUFFIX) and not path.name.startswith(".")


def _read_voice(path: Path) -> KnownVoice:
    """Raises `SettingsError`."""
    try:
        values = json.loads(path.read_text("utf-8"))
        voice = KnownVoice(
            str(values["name"]),
            _numbers(values, "embedding"),
            _numbers(values, "probe"),
            int(values["clips"]),
            float(values["seconds"]),
        )
        check_names([voice.name])
    except (OSError, ValueError, KeyError, TypeError, BadParameters):
        raise SettingsError(
            f"{path.name} in VOICES_FOLDER is no voice: remove it, and add the person with `turnscribe voices add`."
        ) from None
    return voice


def _numbers(values: Mapping[str, object], name: str) -> tuple[float, ...]:
    numbers = np.array(values[name], np.float32)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError(name)
    return tuple(numbers.tolist())
