"""The dialogues of a game, Fish Fillets: two actors, the subtitles as text, and the scripts' order.

A level's script tells which fish says which line, in an order that a player would hear. Joined in this order, with
short pauses, the lines are a conversation whose turns are known. Only levels with an even number are heard here: what
is tuned on such dialogues has the others.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.real.packages import FILLETS, PACKAGES
from tests.real.recordings import folder_of
from turnscribe.inputs.decode import decode_audio
from turnscribe.transcript import SpeakerText, Turn
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_wav

LANGUAGES = ("cs", "nl")
SPEAKERS = {"m": "small", "v": "big"}  # addm, addv: the small fish is a woman, the big one a man
DIALOGUE_SECONDS = 100.0
PAUSES = (0.2, 0.8)  # seconds between two lines
SHORTEST_PAUSE = 0.3  # seconds of silence in a line that part it into two turns
SILENT_BELOW = 0.03  # of the loudest 10 ms: 30 dB; what is below is the room's echo


@dataclass(frozen=True)
class Line:
    """What one fish says, in one file."""

    level: str
    speaker: str
    text: str
    path: Path


def levels(unpacked: Path) -> list[str]:
    """Those with an even number, counted from 1 by name, among the levels with Czech and Dutch sound."""
    sounds = [
        folder_of(PACKAGES[f"fillets-ng-data-{language}"], unpacked) / FILLETS / "sound" for language in LANGUAGES
    ]
    voiced = [
        {path.parent.name for path in root.glob(f"*/{lang}")} for root, lang in zip(sounds, LANGUAGES, strict=True)
    ]
    return sorted(set.intersection(*voiced))[1::2]


def lines(unpacked: Path, language: str) -> Iterator[Line]:
    """The fishes' lines in the scripts' order, each once: those with a subtitle and a sound."""
    scripts = folder_of(PACKAGES["fillets-ng-data"], unpacked) / FILLETS / "script"
    sounds = folder_of(PACKAGES[f"fillets-ng-data-{language}"], unpacked) / FILLETS / "sound"
    for level in levels(unpacked):
        texts = subtitles((scripts / level / f"dialogs_{language}.lua").read_text())
        calls = re.findall(r'add([mv])\([^"\n]*"([\w-]+)"\)', (scripts / level / "code.lua").read_text())
        for fish, name in dict.fromkeys(calls):
            path = sounds / level / language / f"{name}.ogg"
            if name in texts and path.is_file() and seconds_of(path):
                yield Line(level, SPEAKERS[fish], texts[name], path)


def subtitles(lua: str) -> dict[str, str]:
    r"""By the line's name.

    >>> subtitles('dialogId("a-m-ja", "font_small", "Yes.")\ndialogStr("\\"Ja.\\"")')
    {'a-m-ja': '"Ja."'}
    """
    string = r'"((?:[^"\\]|\\.)*)"'
    found = re.findall(rf'dialogId\("([\w-]+)"[^\n]*\)\s*dialogStr\({string}\)', lua)
    return {name: re.sub(r"\\(.)", r"\1", text) for name, text in found}


def dialogues(unpacked: Path, language: str) -> Iterator[tuple[str, list[Line]]]:
    """Lines of neighbouring levels up to `DIALOGUE_SECONDS`, by both fish; each line is in one dialogue at most."""
    chosen: list[Line] = []
    seconds = 0.0
    for line in lines(unpacked, language):
        chosen.append(line)
        seconds += seconds_of(line.path) + sum(PAUSES) / 2
        if seconds >= DIALOGUE_SECONDS:
            yield f"{chosen[0].level}-{chosen[-1].level}", chosen
            chosen, seconds = [], 0.0


def joined(name: str, chosen: list[Line]) -> tuple[bytes, list[SpeakerText], list[Turn]]:
    """The lines after one another with pauses between, which the name determines, who says what when, and the turns:
    a turn ends where the speaker is silent."""
    rng = random.Random(name)
    pieces, passages, turns, position = [], [], [], 0
    for line in chosen:
        sound = decode_audio(line.path.read_bytes()).mono
        pause = np.zeros(round(rng.uniform(*PAUSES) * SAMPLE_RATE), np.float32)
        start = position / SAMPLE_RATE
        heard = loud(sound)
        passages.append(SpeakerText(line.speaker, line.text, start + heard[0][0], start + heard[-1][1]))
        turns += [Turn(line.speaker, start + first, start + last) for first, last in heard]
        pieces += [sound, pause]
        position += len(sound) + len(pause)
    return to_wav(np.concatenate(pieces)), passages, turns


def loud(sound: Waveform, *, below: float = SILENT_BELOW) -> list[tuple[float, float]]:
    """Seconds between which a voice without noise is not silent; pauses below `SHORTEST_PAUSE` are part of it."""
    stretches: list[tuple[float, float]] = []
    for index in np.flatnonzero(loud_frames(sound, below=below)):
        start, end = index / 100, (index + 1) / 100
        if stretches and start - stretches[-1][1] < SHORTEST_PAUSE:
            start, _ = stretches.pop()
        stretches.append((float(start), float(end)))
    return stretches


def loud_frames(sound: Waveform, *, below: float = SILENT_BELOW) -> NDArray[np.bool_]:
    """For each whole 10 ms, whether it is less than so much below the loudest."""
    frame = SAMPLE_RATE // 100
    level = np.sqrt(np.square(sound[: len(sound) // frame * frame].reshape(-1, frame)).mean(axis=1))  # [10 ms]
    return np.asarray(level > level.max() * below)


@cache
def seconds_of(path: Path) -> float:
    """An Ogg Vorbis file's, from its last page: the number of samples, by the rate in its first."""
    data = path.read_bytes()
    last, identification = data.rfind(b"OggS"), data.find(b"\x01vorbis")
    if last < 0 or identification < 0:
        return 0.0
    rate = int.from_bytes(data[identification + 12 : identification + 16], "little")
    return int.from_bytes(data[last + 6 : last + 14], "little") / rate
