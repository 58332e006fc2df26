"""Recordings that are put together, so that it is known when somebody speaks.

Telephone prompts in a studio voice are cut where their sound begins and ends, and laid behind silence, faint noise,
music or a ring-back tone. In synthetic sentences every word has a time.

A prompt is taken where its beginning and its end are clear: 30 and 40 dB below its loudest, they are the same.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tests.real.fillets import SILENT_BELOW, loud
from tests.real.nobody import piece
from tests.real.recording import Recording, Spoken
from tests.real.recordings import Unavailable
from tests.real.sounds import noise, tones
from turnscribe.cli.evaluation.references import SpokenWord
from turnscribe.cli.evaluation.synthetic_speech import UnalignedSpeech, Utterance, place, synthesize
from turnscribe.inputs.decode import decode_audio
from turnscribe.transcript import SpeakerText
from turnscribe.waveform import SAMPLE_RATE, Waveform, to_wav

LEADS = (0, 1, 3, 6, 10, 15, 20)  # seconds before the first word
TAILS = (0, 1, 3, 6, 10)  # and after the last
PAUSE = 8.0
BEHIND = 20.0  # seconds of music or tone
BREAK = 0.5  # seconds between two prompts of a message
FILLERS = {"silence": None, "noise": -60.0}  # dB of full scale, or nothing at all
LANGUAGES = ("en", "es", "fr")
CLEAR = (0.03, 0.05)  # seconds that the two measures of the beginning may differ, and those of the end
FAINT = 0.01  # of the loudest 10 ms: 40 dB
LENGTHS = (2.5, 8.0)  # seconds of a prompt
MESSAGE_SECONDS = 10.0
VOICES = ("awb", "rms", "slt", "kal16")
SYNTHETIC = 6
SENTENCES = 6  # in each of them


@dataclass(frozen=True)
class Prompt:
    """A prompt without the silence around it."""

    text: str
    sound: Waveform

    @property
    def seconds(self) -> float:
        return len(self.sound) / SAMPLE_RATE


def clear_prompts(prompts: Sequence[Recording], language: str, count: int) -> list[Prompt]:
    """So many of a language's prompts whose beginning and end are clear, drawn with a seed."""
    of_language = [prompt for prompt in prompts if prompt.language == language]
    random.Random(f"placed {language}").shuffle(of_language)
    found: list[Prompt] = []
    for prompt in of_language:
        said = prompt.load()
        sound = decode_audio(said.audio).mono
        stretches, louder = (loud(sound, below=below) for below in (FAINT, SILENT_BELOW))
        first, last = stretches[0][0], stretches[-1][1]
        clear = louder[0][0] - first <= CLEAR[0] and last - louder[-1][1] <= CLEAR[1]
        if clear and LENGTHS[0] <= last - first <= LENGTHS[1]:
            found.append(Prompt(said.text or "", sound[round(first * SAMPLE_RATE) : round(last * SAMPLE_RATE)]))
        if len(found) == count:
            break
    return found


def placed(prompts: Sequence[Recording], hold_music: Path) -> Iterator[Recording]:
    """All of them, from a list of prompts and the folder of the hold music. Raises `Unavailable` without flite."""
    if shutil.which("flite") is None:
        raise Unavailable(
            "flite is not on this machine, which speaks sentences with known times: apt-get install flite."
        )
    voices = {language: clear_prompts(prompts, language, 12) for language in ("en", "es", "fr", "it", "ru")}
    for language in LANGUAGES:
        for number, lead in enumerate(LEADS):
            for filler in FILLERS:
                name = f"onset/{language}/{filler}-{lead}"
                chosen = [voices[language][number % len(voices[language])]]
                yield Recording(name, "onset", language, partial(_apart, name, chosen, filler, float(lead)))
        for filler in FILLERS:
            name = f"pause/{language}/{filler}"
            chosen = random.Random(name).sample(voices[language], 2)
            yield Recording(name, "pause", language, partial(_apart, name, chosen, filler, 1.0))
    track = sorted(hold_music.rglob("*.wav"))
    for index, (language, own) in enumerate(voices.items()):
        for sort in ("music", "ring-back"):
            name = f"behind/{language}/{sort}"
            load = partial(_behind, name, own, track[index % len(track)] if sort == "music" else None)
            yield Recording(name, "behind", language, load)
        for number in range(3):
            name = f"message/{language}/{number}"
            yield Recording(name, "message", language, partial(_message, name, own))
    english = [prompt for prompt in prompts if prompt.language == "en"]
    for number in range(SYNTHETIC):
        name = f"synthetic/{number}"
        yield Recording(name, "synthetic", "en", partial(_synthetic, name, english))


def _apart(name: str, chosen: Sequence[Prompt], filler: str, lead: float) -> Spoken:
    """Prompts with `lead` seconds before them, `PAUSE` between, and some after them."""
    tail = random.Random(name).choice(TAILS)
    sound, passages = _laid_out(chosen, lead, PAUSE, float(tail))
    level = FILLERS[filler]
    if level is not None:
        sound = sound + noise(level, 1.0, seed=name, seconds=len(sound) / SAMPLE_RATE)
    return _spoken(sound, passages)


def _behind(name: str, own: Sequence[Prompt], track: Path | None) -> Spoken:
    """Prompts behind `BEHIND` seconds of a piece of music, or of a ring-back tone."""
    if track is None:
        before = tones((440, 480), (2, 4), seconds=BEHIND)
    else:
        before = decode_audio(piece(track, 30)).mono[: round(BEHIND * SAMPLE_RATE)]
    sound, passages = _laid_out(_some(name, own), BEHIND, BREAK, 0.5)
    sound[: len(before)] += before
    return _spoken(sound, passages)


def _message(name: str, own: Sequence[Prompt]) -> Spoken:
    return _spoken(*_laid_out(_some(name, own), 0.3, BREAK, 0.3))


def _some(name: str, own: Sequence[Prompt]) -> list[Prompt]:
    """In an order that the name determines, until they last `MESSAGE_SECONDS`."""
    order, chosen = random.Random(name).sample(list(own), len(own)), []
    while sum(prompt.seconds for prompt in chosen) < MESSAGE_SECONDS:
        chosen.append(order[len(chosen)])
    return chosen


def _laid_out(
    chosen: Sequence[Prompt], lead: float, pause: float, tail: float
) -> tuple[Waveform, tuple[SpeakerText, ...]]:
    passages, time = [], lead
    for prompt in chosen:
        passages.append(SpeakerText("", prompt.text, time, time + prompt.seconds))
        time = passages[-1].end + pause
    sound = np.zeros(round((passages[-1].end + tail) * SAMPLE_RATE) + 1, np.float32)
    for prompt, passage in zip(chosen, passages, strict=True):
        first = round(passage.start * SAMPLE_RATE)
        sound[first : first + len(prompt.sound)] = prompt.sound[: len(sound) - first]
    return sound, tuple(passages)


def _spoken(sound: Waveform, passages: Sequence[SpeakerText]) -> Spoken:
    return Spoken(to_wav(sound), " ".join(passage.text for passage in passages), tuple(passages))


def _synthetic(name: str, english: Sequence[Recording]) -> Spoken:
    """Prompts' sentences in two voices in turn, with pauses; when each word is said is the synthesizer's."""
    rng = random.Random(name)
    voices = rng.sample(VOICES, 2)
    turns: list[tuple[Utterance, float]] = []
    time = 0.5
    while len(turns) < SENTENCES:
        words = re.findall(r"[a-z']+", (rng.choice(english).load().text or "").lower())[:14]
        try:
            utterance = synthesize(words, voices[len(turns) % 2])
        except UnalignedSpeech:
            continue
        turns.append((utterance, time))
        time += utterance.duration + rng.uniform(0.3, 1.5)
    made = place(turns, duration=time, noise_db=30.0, rng=rng)
    timed = [word for utterance in made.utterances for word in utterance.words]
    words_ = [SpokenWord(word.text, (word.start, word.end)) for word in timed]
    return Spoken(to_wav(made.waveform), " ".join(word.text for word in timed), words=tuple(words_))
