"""Short recordings of one voice, cut where its sound begins and ends and laid between silence; and what makes them
harder to hear: a telephone's band, a low level, noise.

What the tests judge, by itself or as a part of something, is not among them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.real.choice import TESTED, choice
from tests.real.fillets import LANGUAGES, loud, loud_frames
from tests.real.packages import PACKAGES
from tests.real.placed import FAINT
from tests.real.recording import Recording
from tests.real.recordings import folder_of
from tests.real.sounds import noise
from tests.real.sources import CAPTIONS, PROMPTS
from turnscribe.inputs.decode import decode_audio
from turnscribe.waveform import SAMPLE_RATE, Waveform

PROMPT, CAPTION, LINE, ALONE = "telephone prompts", "captions", "actors' lines", "single digits and letters"
DRAWN = {  # so many of a group
    PROMPT: {f"prompt {language}": 10 for language in PROMPTS},
    CAPTION: {f"caption {language}": 4 for language in CAPTIONS},
    LINE: {f"line {language}": 20 for language in LANGUAGES},
}
AROUND = (1.4, 2.6)  # seconds of silence before and after
TELEPHONE = (300, 3400)  # Hz
QUIET = -50  # dB of full scale
NOISE = 15  # dB below the voice


@dataclass(frozen=True)
class Clip:
    """A voice that begins at `start` and ends at `end`; `loud` says for each 10 ms whether it is."""

    name: str
    sound: Waveform
    start: float
    end: float
    loud: NDArray[np.bool_]

    @property
    def voice(self) -> Waveform:
        return self.sound[round(self.start * SAMPLE_RATE) : round(self.end * SAMPLE_RATE)]


def clips(every: Sequence[Recording], unpacked: Path) -> dict[str, list[Clip]]:
    """Drawn with a seed from all recordings; all digits and letters."""
    judged = choice(every, TESTED)
    names = {one.name for one in judged}
    parts = {passage.text for one in judged for passage in one.load().passages}
    found = {}
    for kind, counts in DRAWN.items():
        others = [one for one in every if one.group in counts and one.name not in names]
        chosen = choice([one for one in others if one.load().text not in parts], counts)
        found[kind] = [_clip(one.name, one.load().audio) for one in chosen]
    found[ALONE] = [_clip(name, path.read_bytes()) for name, path in _alone(unpacked)]
    return found


def _alone(unpacked: Path) -> Iterator[tuple[str, Path]]:
    for language in PROMPTS:
        sounds = folder_of(PACKAGES[f"asterisk-core-sounds-{language}-wav"], unpacked)
        for pattern in ("digits/[0-9].wav", "letters/[a-z].wav"):
            for path in sorted(sounds.rglob(pattern)):
                yield f"alone/{language}/{path.stem}", path


def _clip(name: str, audio: bytes) -> Clip:
    """The name determines how long the silence is."""
    whole = decode_audio(audio).mono
    stretches = loud(whole, below=FAINT)
    voice = whole[round(stretches[0][0] * SAMPLE_RATE) : round(stretches[-1][1] * SAMPLE_RATE)]
    rng = random.Random(name)
    before, after = (round(rng.uniform(*AROUND), 2) for _ in range(2))
    sound = np.pad(voice, (round(before * SAMPLE_RATE), round(after * SAMPLE_RATE)))
    return Clip(name, sound, before, before + len(voice) / SAMPLE_RATE, loud_frames(sound))


def _telephone(clip: Clip) -> Waveform:
    """What is outside `TELEPHONE` falls by 24 dB an octave below and 48 above, without a shift in time."""
    spectrum = np.fft.rfft(clip.sound)
    frequencies = np.maximum(np.fft.rfftfreq(len(clip.sound), 1 / SAMPLE_RATE), 1.0)
    low, high = TELEPHONE
    gain = 1 / np.sqrt((1 + (low / frequencies) ** 8) * (1 + (frequencies / high) ** 16))
    return np.asarray(np.fft.irfft(spectrum * gain, len(clip.sound)), np.float32)


def _quiet(clip: Clip) -> Waveform:
    return np.asarray(clip.sound * 10 ** (QUIET / 20) / np.abs(clip.sound).max(), np.float32)


def _noisy(clip: Clip) -> Waveform:
    """With pink noise."""
    level = 10 * np.log10(np.square(clip.voice).mean()) - NOISE
    return clip.sound + noise(level, 1.0, seed=clip.name, seconds=len(clip.sound) / SAMPLE_RATE)


WAYS: Mapping[str, Callable[[Clip], Waveform]] = {
    "clean": lambda clip: clip.sound,
    "300 to 3,400 Hz": _telephone,
    f"peak at {QUIET} dB": _quiet,
    f"noise at {NOISE} dB": _noisy,
}
