"""Recordings in which nobody speaks: hold music, a game's music and effects, animals, things, what `sounds.py` makes.

Sounds that somebody's voice may have made (laughter, cries, faces) are left out.
"""

from __future__ import annotations

import random
import wave
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from tests.real.packages import FILLETS, STAMPS
from tests.real.sounds import MADE
from turnscribe.inputs.decode import decode_audio
from turnscribe.waveform import SAMPLE_RATE, to_wav

PACKAGES = (
    "asterisk-moh-opsound-wav",
    "alsa-utils",
    "asterisk-core-sounds-en-wav",
    "fillets-ng-data",
    "tuxpaint-stamps-default",
)
MUSIC_SECONDS = 30
TUNES = ("kufrik", "menu", "rybky01", "rybky05", "rybky09", "rybky15")  # of the game's, slow and fast
BEEPS = ("ascending-2tone", "beeperr", "confbridge-leave", "silence/10")
STAMPED = (
    "animals/birds/blackbird",
    "animals/birds/rooster",
    "animals/insects/bee",
    "animals/mammals/cats/tiger",
    "animals/mammals/dogs/dog",
    "animals/mammals/equines/horse",
    "hobbies/music/percussion/drumkit",
    "hobbies/music/string/cello",
    "hobbies/music/wind/bassoon",
    "household/Washing-machine",
    "household/kettle",
    "household/vacuum_cleaner",
    "vehicles/emergency/firetruck",
)


def sounds(
    hold: Path, alsa: Path, asterisk: Path, game: Path, stamps: Path
) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A name, which begins with the kind, and how to get the audio; out of the folders of `PACKAGES`.

    Of each piece of hold music there are three, from places that its name determines.
    """
    for path in sorted(hold.rglob("*.wav")):
        with wave.open(str(path)) as file:
            last = file.getnframes() // file.getframerate() - MUSIC_SECONDS
        for start in random.Random(path.stem).sample(range(last), 3):
            yield f"music/{path.stem}/{start}", partial(piece, path, start)
    for name in BEEPS:
        yield f"noise/{name}", next(asterisk.glob(f"usr/share/asterisk/sounds/*/{name}.wav")).read_bytes
    yield "noise/Noise", next(alsa.rglob("Noise.wav")).read_bytes
    yield "effect/monkeys", next(asterisk.rglob("tt-monkeys.wav")).read_bytes
    for name in TUNES:
        yield f"tune/{name}", partial(_beginning, game / FILLETS / "music" / f"{name}.ogg")
    for path in sorted((game / FILLETS / "sound/share").glob("*_00.ogg")):
        yield f"effect/{path.stem}", path.read_bytes
    for name in STAMPED:
        yield f"effect/{name.rpartition('/')[2]}", (stamps / STAMPS / f"{name}.ogg").read_bytes
    for kind, made in MADE.items():
        for name, make in made.items():
            yield f"{kind}/{name}", partial(_wav, make)


def piece(path: Path, start: int) -> bytes:
    """`MUSIC_SECONDS` of a wav file from a second on."""
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        file.setpos(start * rate)
        samples = np.frombuffer(file.readframes(MUSIC_SECONDS * rate), "<i2")
    return to_wav(samples.astype(np.float32) / 2**15, sample_rate=rate)


def _beginning(path: Path) -> bytes:
    return to_wav(decode_audio(path.read_bytes()).mono[: MUSIC_SECONDS * SAMPLE_RATE])


def _wav(make: Callable[[], np.ndarray]) -> bytes:
    return to_wav(make())
